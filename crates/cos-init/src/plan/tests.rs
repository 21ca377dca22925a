use super::*;

fn cmdline(mode: &str, further: &str) -> CommandLine {
    let hash = "ab".repeat(32);
    CommandLine::parse(&format!(
        "cos.mode={mode} cos.source=LABEL=X cos.snapshot=1 cos.roothash={hash} {further}"
    ))
    .unwrap()
}

fn facts(mounted: &[&str], directories: &[(&str, DirectoryState)]) -> Facts {
    Facts {
        mounted: mounted.iter().map(PathBuf::from).collect(),
        directories: directories
            .iter()
            .map(|&(path, state)| (path.into(), state))
            .collect(),
    }
}

/// One line a step, as one would write it on paper.
fn lines(plan: &Plan) -> Vec<String> {
    let line = |step: &Step| match step {
        Step::EphemeralStore(OverlaySpec::Tmpfs(size)) => format!("tmpfs {size}"),
        Step::EphemeralStore(OverlaySpec::Device(device)) => format!("store {device}"),
        Step::Overlay { path, store } => format!("{} < {}", path.display(), store.display()),
        Step::Bind { path, store, seed } => {
            let how = if *seed { "seeded" } else { "plain" };
            format!("{} = {} {how}", path.display(), store.display())
        }
    };
    plan.steps.iter().map(line).collect()
}

const IMAGE: [(&str, DirectoryState); 6] = [
    ("/etc", DirectoryState::Populated),
    ("/var", DirectoryState::Populated),
    ("/root", DirectoryState::Populated),
    ("/home", DirectoryState::Empty),
    ("/etc/ssh", DirectoryState::Populated),
    ("/var/lib/docker", DirectoryState::Empty),
];

#[test]
fn by_default_etc_and_var_are_ephemeral_and_some_paths_are_kept() {
    let plan = plan(
        &cmdline("active", ""),
        &Layout::default(),
        &facts(&["/usr/local"], &IMAGE),
    );
    assert!(plan.persistent && plan.warnings.is_empty());
    assert_eq!(
        lines(&plan),
        [
            "tmpfs 20%",
            "/etc < /run/cos/overlay/etc.overlay",
            "/var < /run/cos/overlay/var.overlay",
            "/etc/ssh < /usr/local/.state/etc-ssh.overlay",
            "/etc/systemd = /usr/local/.state/etc-systemd.overlay/upper plain",
            "/home = /usr/local/.state/home.overlay/upper plain",
            "/opt = /usr/local/.state/opt.overlay/upper plain",
            "/root < /usr/local/.state/root.overlay",
            "/srv = /usr/local/.state/srv.overlay/upper plain",
            "/var/lib/docker = /usr/local/.state/var-lib-docker.overlay/upper plain",
            "/var/lib/systemd = /usr/local/.state/var-lib-systemd.overlay/upper plain",
            "/var/log = /usr/local/.state/var-log.overlay/upper plain",
        ]
    );
}

#[test]
fn recovery_keeps_everything_in_memory_whatever_the_layout_says() {
    let layout = Layout::parse("VOLUMES=\"LABEL=COS_PERSISTENT:/usr/local LABEL=D:/d\"");
    let recovery = cmdline("recovery", "rd.cos.mount=LABEL=COS_PERSISTENT:/keep");
    let wanted = wanted_volumes(&recovery, &layout);
    assert_eq!(wanted.len(), 1);
    assert_eq!(wanted[0].target, Path::new("/d"));
    let plan = plan(&recovery, &layout, &facts(&["/d"], &IMAGE));
    assert!(!plan.persistent && plan.warnings.is_empty());
    assert_eq!(
        lines(&plan),
        [
            "tmpfs 20%",
            "/etc < /run/cos/overlay/etc.overlay",
            "/home < /run/cos/overlay/home.overlay",
            "/root < /run/cos/overlay/root.overlay",
            "/var < /run/cos/overlay/var.overlay",
        ]
    );
}

#[test]
fn a_machine_without_its_persistent_partition_boots_and_says_so() {
    let plan = plan(
        &cmdline("active", ""),
        &Layout::default(),
        &facts(&[], &IMAGE),
    );
    assert!(!plan.persistent);
    assert!(plan.warnings[0].contains("/usr/local/.state"));
    assert!(lines(&plan).contains(&"/root < /run/cos/overlay/root.overlay".to_owned()));
}

#[test]
fn debugging_lays_one_overlay_over_everything() {
    let plan = plan(
        &cmdline("passive", "rd.cos.debugrw rd.cos.overlay=LABEL=SCRATCH"),
        &Layout::parse("PERSISTENT_STATE_PATHS=/root"),
        &facts(&["/usr/local"], &IMAGE),
    );
    assert_eq!(
        lines(&plan),
        [
            "store LABEL=SCRATCH",
            "/ < /run/cos/overlay/root-fs.overlay",
            "/root < /usr/local/.state/root.overlay",
        ]
    );
}

#[test]
fn bound_state_is_seeded_and_kept_under_the_familys_names() {
    let layout = Layout::parse(
        "PERSISTENT_STATE_BIND=true\nPERSISTENT_STATE_PATHS=/etc/ssh\nRW_PATHS=/etc /gone",
    );
    let plan = plan(
        &cmdline("active", ""),
        &layout,
        &facts(&["/usr/local"], &IMAGE),
    );
    assert_eq!(
        lines(&plan)[2],
        "/etc/ssh = /usr/local/.state/etc-ssh.bind seeded"
    );
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
}

#[test]
fn volumes_replace_the_defaults_and_merge_unless_told() {
    let active = cmdline("active", "rd.cos.mount=LABEL=X:/x");
    let layout = Layout::parse("VOLUMES=\"LABEL=COS_OEM:/oem LABEL=V:/var\"\nRW_PATHS=/var");
    let targets = |layout: &Layout| -> Vec<PathBuf> {
        wanted_volumes(&active, layout)
            .into_iter()
            .map(|volume| volume.target)
            .collect()
    };
    assert_eq!(targets(&layout), [PathBuf::from("/var"), "/x".into()]);
    assert_eq!(
        targets(&Layout::default()),
        [PathBuf::from("/usr/local"), "/x".into()]
    );
    let alone = Layout {
        merge: false,
        ..layout.clone()
    };
    assert_eq!(targets(&alone), [PathBuf::from("/var")]);
    let plan = plan(&active, &layout, &facts(&["/var"], &IMAGE));
    assert_eq!(
        lines(&plan),
        ["tmpfs 20%"],
        "a volume at /var needs no overlay"
    );
}

#[test]
fn a_path_is_not_kept_below_itself() {
    let layout =
        Layout::parse("PERSISTENT_STATE_TARGET=/data/.state\nPERSISTENT_STATE_PATHS=/data");
    let plan = plan(&cmdline("active", ""), &layout, &facts(&["/data"], &IMAGE));
    assert!(plan.warnings[0].contains("below itself"));
}

use super::*;
use crate::machine::{BootReport, Mode, Places};
use cos_events::Silent;
use fs_err::os::unix::fs::symlink;

fn machine() -> Machine {
    Machine {
        boot: BootReport {
            root_hash: String::new(),
            mode: Mode::Active,
            snapshot: "0123456789ab".parse().unwrap(),
            source: "/dev/null".into(),
            trial: true,
            fallback: false,
            sealed: false,
            encrypted: false,
            persistent: true,
            warnings: Vec::new(),
        },
        places: Places::default(),
    }
}

fn write(root: &Path, path: &str, mode: u32, text: &str) {
    let path = root.join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(&path, text).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn script(root: &Path, path: &str, text: &str) {
    write(root, path, 0o755, &format!("#!/bin/sh\n{text}\n"));
}

fn judge(root: &Path, patience: Patience) -> Assessment {
    run(&find(root).unwrap(), &machine(), patience, &Silent).unwrap()
}

const QUICK: Patience = Patience {
    limit: Duration::from_secs(20),
    tries: 3,
    pause: Duration::from_millis(10),
};

#[test]
fn checks_run_in_the_order_of_their_names_and_the_machines_own_win() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    script(root, "usr/lib/cos/health.d/20-image", "");
    script(root, "usr/lib/cos/health.d/10-both", "");
    script(root, "usr/lib/cos/health.d/30-masked", "exit 1");
    script(root, "usr/lib/cos/health.d/40-disabled", "exit 1");
    script(root, "etc/cos/health.d/10-both", "");
    script(root, "etc/cos/health.d/.hidden", "exit 1");
    write(root, "etc/cos/health.d/README", 0o644, "exit 1\n");
    write(root, "etc/cos/health.d/40-disabled", 0o644, "");
    symlink("/dev/null", root.join("etc/cos/health.d/30-masked")).unwrap();
    script(root, "usr/libexec/elemental-checker/15-theirs", "");
    script(root, "usr/libexec/elemental-checker/20-image", "");
    let found: Vec<String> = find(root)
        .unwrap()
        .iter()
        .map(|check| {
            let path = check.path.strip_prefix(root).unwrap().display();
            format!("{path} {}", check.arguments.join(" "))
        })
        .collect();
    assert_eq!(
        found,
        [
            "etc/cos/health.d/10-both ",
            "usr/libexec/elemental-checker/15-theirs check",
            "usr/lib/cos/health.d/20-image ",
            "usr/libexec/elemental-checker/20-image check",
        ]
    );
}

#[test]
fn a_system_without_checks_is_well() {
    let temp = tempfile::tempdir().unwrap();
    let assessment = judge(temp.path(), QUICK);
    assert!(assessment.healthy && assessment.reason().is_none());
}

#[test]
fn what_settles_in_time_passes_and_what_does_not_says_why() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let flag = root.join("runs");
    let settles = format!(
        "echo >> {0}; [ $(wc -l < {0}) -ge 2 ] || {{ echo not yet; exit 1; }}",
        flag.display()
    );
    script(root, "etc/cos/health.d/1-settles", &settles);
    script(root, "etc/cos/health.d/2-fails", "echo no web >&2; exit 7");
    script(
        root,
        "usr/libexec/elemental-checker/3-told",
        "[ \"$1 $COS_MODE $COS_SNAPSHOT $COS_TRIAL\" = 'check active 0123456789ab 1' ]",
    );
    write(root, "etc/cos/health.d/4-broken", 0o755, "#!/nonexistent\n");
    let assessment = judge(root, QUICK);
    let passed: Vec<(bool, u32)> = assessment
        .checks
        .iter()
        .map(|check| (check.passed, check.tries))
        .collect();
    assert_eq!(passed, [(true, 2), (false, 3), (true, 1), (false, 3)]);
    let reason = assessment.reason().unwrap();
    assert!(
        reason.starts_with(
            "health check 2-fails: exit status: 7: no web; health check 4-broken: it cannot be run"
        ),
        "{reason}"
    );
    let text = assessment.to_string();
    assert!(text.contains("passed  1-settles (run 2 times)\n"), "{text}");
    assert!(text.ends_with("this boot is not well\n"), "{text}");
}

#[test]
fn a_check_that_hangs_fails() {
    let temp = tempfile::tempdir().unwrap();
    script(
        temp.path(),
        "etc/cos/health.d/hangs",
        "echo waiting; sleep 60",
    );
    let patience = Patience {
        limit: Duration::from_millis(200),
        tries: 1,
        ..QUICK
    };
    let reason = judge(temp.path(), patience).reason().unwrap();
    assert_eq!(
        reason,
        "health check hangs: it took longer than 0.2 seconds: waiting"
    );
}

use super::*;

fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let temp = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = temp.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    let root = open_root(temp.path()).unwrap();
    (temp, root)
}

#[test]
fn without_files_everything_has_its_default() {
    let (_temp, root) = root(&[]);
    assert_eq!(Config::load(&root, &[]).unwrap(), Config::default());
}

#[test]
fn what_is_said_later_wins_key_by_key_and_tells_where() {
    let (_temp, root) = root(&[
        (
            "etc/cos/config.yaml",
            "upgrade: {source: a/b:1, keep: 3}\nboot: {tries: 2}\n",
        ),
        (
            "etc/cos/config.d/20-b.yaml",
            "upgrade: {source: \"c/d:2\"}\n",
        ),
        ("etc/cos/config.d/10-a.yaml", "# nothing\n"),
        ("etc/cos/config.d/notes.txt", "not: read\n"),
    ]);
    let environment = [("COS_UPGRADE_VERSION".to_owned(), ">=1.2, <2".to_owned())];
    let config = Config::load(&root, &environment).unwrap();
    assert_eq!(config.upgrade_source.value.as_deref(), Some("c/d:2"));
    assert_eq!(
        config.upgrade_source.origin.to_string(),
        "/etc/cos/config.d/20-b.yaml"
    );
    assert_eq!((config.keep.value, config.tries.value), (3, 2));
    assert_eq!(config.good_tries.origin, Origin::Default);
    assert_eq!(
        config.upgrade_version.origin,
        Origin::Environment("COS_UPGRADE_VERSION")
    );
}

#[test]
fn mistakes_name_file_and_place() {
    let message = |text: &str| {
        let (_temp, root) = root(&[("etc/cos/config.yaml", text)]);
        Config::load(&root, &[]).unwrap_err().to_string()
    };
    let unknown = message("upgrade:\n  sorce: x\n");
    assert!(
        unknown.contains("/etc/cos/config.yaml") && unknown.contains("sorce"),
        "{unknown}"
    );
    assert!(unknown.contains("line 2"), "{unknown}");
    assert_eq!(
        message("upgrade: {keep: 1}\n"),
        "/etc/cos/config.yaml: upgrade.keep is 1; it can be 2 to 10"
    );
    assert_eq!(
        message("upgrade: {version: newest}\n"),
        "/etc/cos/config.yaml: upgrade.version: \"newest\" is no rule for versions"
    );
}

#[test]
fn the_book_shows_every_key_with_its_default() {
    let page = include_str!("../../../docs/src/reference/configuration.md");
    let (_, rest) = page.split_once("```text\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let (_temp, root) = root(&[("etc/cos/config.yaml", text)]);
    let config = Config::load(&root, &[]).unwrap();
    let values = |config: &Config| {
        let Config {
            strict,
            upgrade_source,
            upgrade_version,
            keep,
            tries,
            good_tries,
            insecure,
            mirrors,
            ca_certificates,
            auth_file,
        } = config.clone();
        (
            (
                strict.value,
                upgrade_source.value,
                upgrade_version.value,
                keep.value,
            ),
            (tries.value, good_tries.value, insecure.value, mirrors.value),
            (ca_certificates.value, auth_file.value),
        )
    };
    assert_eq!(values(&config), values(&Config::default()));
    let said = [
        config.strict.origin,
        config.keep.origin,
        config.tries.origin,
        config.good_tries.origin,
        config.insecure.origin,
        config.mirrors.origin,
        config.ca_certificates.origin,
    ];
    assert!(said.iter().all(|origin| *origin != Origin::Default));
    for key in ["source:", "version:", "authFile:"] {
        assert!(text.contains(key), "{key}");
    }
}

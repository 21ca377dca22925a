use super::*;
use crate::machine::{BootReport, Places};
use cos_boot::{
    ATTEMPT_ENVIRONMENT, BOOT_CONFIG, BOOT_ENVIRONMENT, INITRD, KERNEL, METADATA, ROOT_IMAGE, Tries,
};
use cos_store::{Failure, FailureStage};

fn id(digit: char) -> SnapshotId {
    digit.to_string().repeat(12).parse().unwrap()
}

/// A machine that went back from `b` to `a`, as its files say it.
fn machine(run: &Path) -> Machine {
    let places = Places {
        run: run.to_owned(),
        lock: run.join("lock"),
        tpm: run.join("tpm"),
    };
    let store = Store::new(places.source());
    for digit in ['a', 'b'] {
        let directory = store.directory(&id(digit));
        fs_err::create_dir_all(&directory).unwrap();
        for name in [ROOT_IMAGE, KERNEL, INITRD, BOOT_CONFIG, METADATA] {
            fs_err::write(directory.join(name), "x").unwrap();
        }
    }
    let mut state = BootState::first(id('a'));
    state.trial.clear();
    let state = state.deploy(&id('b'), Tries::default()).unwrap();
    let attempts = Attempts {
        generation: state.generation,
        failed: vec![id('b')],
        ..Attempts::default()
    };
    let write = |name: &str, bytes: Vec<u8>| {
        fs_err::write(places.source().join(name), bytes).unwrap();
    };
    write(BOOT_ENVIRONMENT, state.to_bytes().unwrap());
    write(ATTEMPT_ENVIRONMENT, attempts.to_bytes().unwrap());
    Machine {
        boot: BootReport {
            mode: Mode::Passive,
            snapshot: id('a'),
            root_hash: String::new(),
            source: "/dev/none".into(),
            trial: false,
            fallback: true,
            sealed: false,
            encrypted: false,
            persistent: true,
            warnings: Vec::new(),
        },
        places,
    }
}

#[test]
fn a_fallback_is_told_with_its_reason() {
    let temp = tempfile::tempdir().unwrap();
    let machine = machine(temp.path());
    let silent = status(&machine).unwrap();
    assert!(!silent.well);
    assert_eq!(silent.next_boot, "aaaaaaaaaaaa");
    assert_eq!(silent.running.good, Some(true));
    let reason = silent.fallback.unwrap().reason;
    assert!(reason.contains("kernel panic"), "{reason}");

    let failure = Failure {
        stage: FailureStage::Health,
        reason: "health check 10-net: no link".into(),
        time: 1,
        journal: vec!["the last line".into()],
    };
    machine
        .own_store()
        .note_failure(&id('b'), &failure)
        .unwrap();
    let told = status(&machine).unwrap();
    let standings: Vec<Standing> = told.snapshots.iter().map(|it| it.standing).collect();
    assert_eq!(standings, [Standing::Failed, Standing::Good]);
    assert_eq!(told.fallback.as_ref().unwrap().reason, failure.reason);
    let text = told.to_string();
    for wanted in [
        "This machine needs attention.",
        "snapshot bbbbbbbbbbbb failed: health check 10-net: no link",
        "boots next aaaaaaaaaaaa",
        "the last line",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn stages_and_health_checks_that_failed_are_problems() {
    let temp = tempfile::tempdir().unwrap();
    let machine = machine(temp.path());
    let write = |name: &str, text: &str| {
        let path = temp.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    write(
        "stages/boot.json",
        r#"{"stage": "boot", "errors": [], "steps": [
            {"step": "users", "result": "done"},
            {"step": "motd", "result": "failed", "failures": [{"key": "files", "message": "no space"}]}]}"#,
    );
    write(
        ASSESSMENT,
        r#"{"healthy": false, "checks": [{"name": "10-net", "path": "/x", "passed": false, "tries": 5,
            "seconds": 9, "reason": "no link"}]}"#,
    );
    write("stages/broken.json", "{");
    let status = status(&machine).unwrap();
    assert_eq!(status.stages.len(), 1);
    assert_eq!((status.stages[0].done, status.stages[0].failed), (1, 1));
    for wanted in [
        "stage boot: motd: files: no space",
        "health check 10-net: no link",
    ] {
        assert!(
            status.problems.iter().any(|it| it == wanted),
            "{:?}",
            status.problems
        );
    }
}

#[test]
fn the_schema_describes_the_document() {
    let temp = tempfile::tempdir().unwrap();
    let document = serde_json::to_value(status(&machine(temp.path())).unwrap()).unwrap();
    let schema = super::super::schema();
    let known = schema["properties"].as_object().unwrap();
    for key in document.as_object().unwrap().keys() {
        assert!(known.contains_key(key), "{key}");
    }
    for key in schema["required"].as_array().unwrap() {
        assert!(document.get(key.as_str().unwrap()).is_some(), "{key}");
    }
}

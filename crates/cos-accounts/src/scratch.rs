//! A root with a small user database, for tests.

use crate::Database;
use cos_sys::root_path::Root;
use std::path::Path;
use tempfile::TempDir;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# kept\nalice:x:1000:1000:Alice,,,:/home/alice:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\nalice:$6$a$b:19000:1:90:7:5:20000:\n";
const GROUP: &str = "root:x:0:\nshadow:x:42:\nsudo:x:27:root\nusers:x:100:\nalice:x:1000:\n";
const GSHADOW: &str = "root:*::\nshadow:*::\nsudo:*::root\nusers:*::\nalice:!::\n";
const LOGIN_DEFS: &str =
    "ENCRYPT_METHOD SHA512\nPASS_MIN_DAYS 0\nPASS_MAX_DAYS 99999\nPASS_WARN_AGE 7\n";

pub(crate) struct Scratch {
    pub(crate) root: Root,
    pub(crate) temp: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let scratch = Self {
            root: Root::open(temp.path()).unwrap(),
            temp,
        };
        scratch.write("etc/passwd", PASSWD);
        scratch.write("etc/shadow", SHADOW);
        scratch.write("etc/group", GROUP);
        scratch.write("etc/gshadow", GSHADOW);
        scratch.write("etc/login.defs", LOGIN_DEFS);
        scratch
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.temp.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs_err::read_to_string(self.temp.path().join(path)).unwrap()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.exists(Path::new(path))
    }

    /// Edits and saves, on a day that tests can name.
    pub(crate) fn edit<T>(&self, edit: impl FnOnce(&mut Database<'_>) -> T) -> T {
        let mut database = Database::open(&self.root).unwrap();
        database.today = "20500".into();
        let result = edit(&mut database);
        database.save().unwrap();
        result
    }

    /// What changed in the four files: lines gone and new.
    pub(crate) fn changes(&self) -> String {
        let files = [
            ("passwd", PASSWD),
            ("shadow", SHADOW),
            ("group", GROUP),
            ("gshadow", GSHADOW),
        ];
        let mut changes = Vec::new();
        for (file, before) in files {
            let after = self.text(&format!("etc/{file}"));
            for line in before
                .lines()
                .filter(|line| !after.lines().any(|other| other == *line))
            {
                changes.push(format!("{file} -{line}\n"));
            }
            for line in after
                .lines()
                .filter(|line| !before.lines().any(|other| other == *line))
            {
                changes.push(format!("{file} +{line}\n"));
            }
        }
        changes.concat()
    }
}

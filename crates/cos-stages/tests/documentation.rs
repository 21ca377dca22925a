//! The book is true: its reference is made from the types, and every document in it can be used.
#![expect(
    clippy::unwrap_used,
    reason = "a book that cannot be read is a failure"
)]

use cos_stages::explain::{Key, keys};
use cos_stages::schema::inlined_document;
use cos_stages::{Strictness, load};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Keys of a document that are no step's and no `#cloud-config`'s.
const DOCUMENT: [&str; 3] = ["name", "strict", "stages"];

/// Keys that say when a step runs.
const CONDITIONS: [&str; 9] = [
    "name",
    "if",
    "node",
    "only_os",
    "only_os_version",
    "only_arch",
    "only_service_manager",
    "if_files",
    "after",
];

/// Keys that do something, in the order in which they do it.
const ACTIONS: [&str; 22] = [
    "dns",
    "downloads",
    "git",
    "ensure_entities",
    "directories",
    "files",
    "commands",
    "delete_entities",
    "hostname",
    "sysctl",
    "users",
    "authorized_keys",
    "modules",
    "timesyncd",
    "systemctl",
    "environment",
    "systemd_firstboot",
    "datasource",
    "layout",
    "package_pins",
    "packages",
    "unpack_images",
];

const INTRODUCTION: &str = "\
# Cloud-config

Every key there is. Made from the types in `crates/cos-stages/src/schema`; `cos config explain KEY` says
the same on a machine.

A document is a YAML file. It has [steps by stage](#steps), or the keys of
[`#cloud-config`](#cloud-config-keys) when that line is its first, or both. A file that starts with `#!`
is a script, run in stage `network`. Multi-part MIME and gzip of any of these are understood.
[Stages](stages.md) says when each stage runs, and where documents are looked for.

What a key takes:

| | |
|---|---|
| text | a word, a line or a block (`\\|`). Numbers and `true` are texts too where a text is wanted |
| number | decimal; octal with a leading `0` or `0o`, hexadecimal with `0x` |
| file mode | octal: `0644`, `\"0644\"`, `0o644`. `644` is decimal, as in yip, and warned of |
| true or false | also `yes`, `no`, `on`, `off` |
| names and values | a mapping whose names you choose |

*A template* is a text with [`{{ }}`](templates.md) in it.
";

const STEPS: &str = "
## Steps

```yaml
name: Web server
stages:
  network:
    - name: Page
      if_files:
        none: [/srv/www/index.html]
      files:
        - path: /srv/www/index.html
          content: <h1>{{ .Hostname }}</h1>
```

### When a step runs

A condition that does not hold skips the step and is no failure. A condition that is wrong itself, such as
`node` with a broken expression, skips it as well and says so.

";

const ACTIONS_INTRODUCTION: &str = "
### What a step does

The keys below run in this order, wherever they stand in the step. One that fails does not keep the next
from running; the step counts as failed.
";

const CLOUD_CONFIG: &str = "
## Cloud-config keys

They count in documents whose first line is `#cloud-config` (comments may come before it, within the first
ten lines). Each becomes a step of the stage named; a `#cloud-config` document may have `stages` too. They
run at every boot: see [what differs from cloud-init](differences.md#from-cloud-init).

```yaml
#cloud-config
hostname: web-1
users:
  - name: ada
    groups: [sudo]
    ssh_authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDIhz2GK/XCUj4i6Q5yQJNL1MKMa4FKePEvdP3cFkRcp ada@example.org
runcmd:
  - systemctl restart nginx
  - [touch, /run/ready]
```

";

/// What a key takes, in good English.
fn takes(key: &Key) -> String {
    key.takes
        .replace("list of list of", "list of lists of")
        .replace("list of text or list of", "list of texts or of lists of")
        .replace("list of text or mapping", "list of texts or of mapping")
}

fn row(name: &str, key: &Key) -> String {
    let meaning = key.description.replace('|', "\\|");
    format!("| `{name}` | {} | {meaning} |\n", takes(key))
}

/// A table of keys by their paths, each without `prefix`.
fn table<'k>(prefix: &str, keys: impl Iterator<Item = &'k Key>) -> String {
    let rows: String = keys
        .map(|key| row(key.path[prefix.len()..].trim_start_matches("[]."), key))
        .collect();
    format!("| key | takes | meaning |\n|---|---|---|\n{rows}")
}

/// What is below a key: `files[].path` of `files`, `users.NAME.uid` of `users`.
fn below<'k>(all: &'k [Key], path: &str) -> impl Iterator<Item = &'k Key> + use<'k> {
    let (list, mapping) = (format!("{path}[]."), format!("{path}."));
    all.iter()
        .filter(move |key| key.path.starts_with(&list) || key.path.starts_with(&mapping))
}

/// The section of a key that has keys below it, or of one that stands alone.
fn section(all: &[Key], path: &str, name: &str, title: &str) -> String {
    let key = all.iter().find(|key| key.path == path).unwrap();
    let mut text = format!(
        "\n{title}\n\n{} *Takes: {}.*\n",
        key.description,
        takes(key)
    );
    let inner: Vec<&Key> = below(all, path).collect();
    if !inner.is_empty() {
        let prefix = if inner[0].path.starts_with(&format!("{path}[]")) {
            format!("{path}[].")
        } else {
            format!("{path}.")
        };
        text += "\n";
        text += &table(&prefix, inner.into_iter());
    }
    if name == "environment" {
        let file = all
            .iter()
            .find(|key| key.path.ends_with("].environment_file"));
        text += "\n";
        text += &table(&path[..path.len() - name.len()], file.into_iter());
    }
    text
}

fn reference() -> String {
    let all = keys();
    let mut page = INTRODUCTION.to_owned();
    page += "\n## Documents\n\n";
    let document = DOCUMENT
        .iter()
        .filter_map(|name| all.iter().find(|key| key.path == *name));
    page += &table("", document);
    page += STEPS;
    let step = |name: &str| format!("stages.STAGE[].{name}");
    let conditions = CONDITIONS.iter().flat_map(|name| {
        let path = step(name);
        let own = all.iter().filter(move |key| key.path == path);
        own.chain(below(&all, &step(name)))
    });
    page += &table("stages.STAGE[].", conditions);
    page += ACTIONS_INTRODUCTION;
    for name in ACTIONS {
        page += &section(&all, &step(name), name, &format!("#### `{name}`"));
    }
    page += CLOUD_CONFIG;
    let cloud: Vec<&Key> = all
        .iter()
        .filter(|key| !key.path.contains(['.', '[']) && !DOCUMENT.contains(&key.path.as_str()))
        .collect();
    page += &table("", cloud.iter().copied());
    for key in cloud {
        if below(&all, &key.path).next().is_some() {
            page += &section(&all, &key.path, &key.path, &format!("### `{}`", key.path));
        }
    }
    page
}

/// `COS_UPDATE_DOCS=1 cargo test -p cos-stages` writes the page anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is for developers")]
fn the_reference_is_that_of_the_types() {
    let page = reference();
    let path = Path::new(WORKSPACE).join("docs/src/reference/cloud-config.md");
    if std::env::var_os("COS_UPDATE_DOCS").is_some() {
        fs_err::write(&path, &page).unwrap();
    }
    let book = fs_err::read_to_string(&path).unwrap();
    assert_eq!(
        book, page,
        "run: COS_UPDATE_DOCS=1 cargo test -p cos-stages"
    );
}

/// A new key of a step has to be put into one of the lists above, and all of them into the page.
#[test]
fn no_key_is_left_out() {
    let all = keys();
    let of_step: BTreeSet<&str> = all
        .iter()
        .filter_map(|key| key.path.strip_prefix("stages.STAGE[]."))
        .filter(|name| !name.contains(['.', '[']))
        .collect();
    let listed = CONDITIONS
        .iter()
        .chain(&ACTIONS)
        .chain(&["environment_file"]);
    assert_eq!(of_step, listed.copied().collect());
    let page = reference();
    for key in &all {
        let end = key.path.rsplit('.').next().unwrap();
        assert!(page.contains(&format!("{end}`")), "{}", key.path);
        assert!(
            page.contains(&key.description.replace('|', "\\|")),
            "{}",
            key.path
        );
    }
    let schema = inlined_document().to_string();
    let schema = schema.replace("\\n", " ").replace('`', "");
    assert!(
        schema.contains(&ACTIONS.join(", ")),
        "the docstring of Step has another order"
    );
}

fn files_below(directory: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, extensions, found);
        } else if path
            .extension()
            .is_some_and(|extension| extensions.iter().any(|one| extension == *one))
        {
            found.push(path);
        }
    }
}

/// The blocks of a page whose info string is `info`, each with the line it starts on.
fn blocks(page: &str, info: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(bool, usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(said)) => open = Some((said == info, index + 2, String::new())),
            (Some(_), Some(_)) => {
                found.extend(
                    open.take()
                        .filter(|(wanted, ..)| *wanted)
                        .map(|(_, at, text)| (at, text)),
                );
            }
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// What is said of a document that is loaded strictly, and how many steps it has.
fn strictly(name: &str, text: &str) -> (Vec<String>, usize) {
    let loaded = load(name, text.as_bytes(), Strictness::Strict);
    let said = loaded.diagnostics.iter().map(ToString::to_string).collect();
    let stages = loaded
        .documents
        .iter()
        .flat_map(|document| &document.stages);
    (said, stages.map(|stage| stage.steps.len()).sum())
}

/// Every `yaml` block of the book is a document that can be used as it stands; those that are shown
/// because they are wrong are marked `yaml,wrong`.
#[test]
fn every_document_in_the_book_can_be_used() {
    let mut pages = Vec::new();
    files_below(&Path::new(WORKSPACE).join("docs/src"), &["md"], &mut pages);
    let (mut right, mut wrong) = (0, 0);
    for path in pages {
        let page = fs_err::read_to_string(&path).unwrap();
        for (line, text) in blocks(&page, "yaml") {
            let place = format!("{}:{line}", path.display());
            let (said, steps) = strictly(&place, &text);
            assert_eq!(said, Vec::<String>::new(), "{place}");
            assert!(steps > 0, "{place}: no steps");
            right += 1;
        }
        for (line, text) in blocks(&page, "yaml,wrong") {
            let place = format!("{}:{line}", path.display());
            assert_ne!(strictly(&place, &text).0, Vec::<String>::new(), "{place}");
            wrong += 1;
        }
    }
    assert!(right >= 20 && wrong >= 1, "{right} right, {wrong} wrong");
}

/// The same for the documents that `cos init` installs, and for those of the examples.
#[test]
fn every_document_that_is_shipped_can_be_used() {
    let mut documents = Vec::new();
    for directory in ["crates/cos-ops/assets/system-oem", "examples"] {
        files_below(
            &Path::new(WORKSPACE).join(directory),
            &["yaml", "yml"],
            &mut documents,
        );
    }
    for path in &documents {
        let text = fs_err::read_to_string(path).unwrap();
        let (said, steps) = strictly(&path.display().to_string(), &text);
        assert_eq!(said, Vec::<String>::new());
        assert!(steps > 0, "{}: no steps", path.display());
    }
    assert!(documents.len() >= 3, "{documents:?}");
}

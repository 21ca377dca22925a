//! `stages.network[0].commands[0]="…"` on the kernel command line: a document in words.

use crate::diagnostic::{Findings, Position, Severity};
use crate::document::{Loaded, Strictness, load_node};
use crate::yaml::{Entry, Node, Value};

/// What the source is called in plans and findings.
pub const SOURCE: &str = "kernel command line";
/// Largest index of a list.
const MAX_INDEX: usize = 255;
/// Most parts of one word.
const MAX_PARTS: usize = 16;
/// Longest command line read, in bytes: Linux has 4096, some architectures less.
const MAX_BYTES: usize = 64 << 10;

/// The values of `cos.setup=` (and of Elemental's `elemental.setup=`) on a kernel command line: all of
/// what stands behind the first equals sign.
pub fn setup_sources(command_line: &str) -> Vec<String> {
    words(command_line)
        .into_iter()
        .filter_map(|word| {
            let value = word
                .strip_prefix("cos.setup=")
                .or_else(|| word.strip_prefix("elemental.setup="))?;
            (!value.is_empty()).then(|| value.to_owned())
        })
        .collect()
}

/// Reads the words that describe stages; all others are somebody else's.
pub fn load(command_line: &str, strictness: Strictness) -> Loaded {
    let mut top = mapping();
    let mut findings = Findings::new(SOURCE, command_line);
    let mut any = false;
    for word in words(command_line) {
        let Some((key, value)) = word.split_once('=') else {
            continue;
        };
        if !key.starts_with("stages.") && key != "name" {
            continue;
        }
        any |= key != "name";
        if let Err(message) = insert(&mut top, key, value) {
            let short: String = key.chars().take(80).collect();
            findings.add(
                Severity::Error,
                Position::START,
                format!("{short}: {message}"),
                None,
            );
        }
    }
    let mut loaded = Loaded {
        documents: Vec::new(),
        diagnostics: findings.list,
    };
    if any && !loaded.has_errors() {
        loaded.append(load_node(SOURCE, command_line, &top, strictness));
    }
    // Where everything is on one line, the line itself says nothing.
    for finding in &mut loaded.diagnostics {
        finding.excerpt = None;
    }
    loaded
}

/// The words of a command line, quotes resolved. Unbalanced quotes are the rest of the line's loss.
fn words(command_line: &str) -> Vec<String> {
    let end = (0..=command_line.len().min(MAX_BYTES))
        .rev()
        .find(|end| command_line.is_char_boundary(*end))
        .unwrap_or(0);
    shlex::Shlex::new(&command_line[..end]).collect()
}

/// One part of a key.
enum Part<'k> {
    Key(&'k str),
    Index(usize),
}

fn parts(key: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    for piece in key.split('.') {
        let (name, mut rest) = match piece.find('[') {
            Some(at) => piece.split_at(at),
            None => (piece, ""),
        };
        if name.is_empty() {
            return Err("a part has no name".into());
        }
        parts.push(Part::Key(name));
        while !rest.is_empty() {
            let (index, behind) = rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .ok_or("an index is written [0]")?;
            let index: usize = index
                .parse()
                .map_err(|_| format!("{index:?} is no index"))?;
            if index > MAX_INDEX {
                return Err(format!("an index is at most {MAX_INDEX}"));
            }
            parts.push(Part::Index(index));
            rest = behind;
        }
    }
    if parts.len() > MAX_PARTS {
        return Err(format!("more than {MAX_PARTS} parts"));
    }
    Ok(parts)
}

fn mapping() -> Node {
    Node {
        at: Position::START,
        value: Value::Mapping(Vec::new()),
    }
}

fn null() -> Node {
    Node {
        at: Position::START,
        value: Value::Null,
    }
}

fn insert(top: &mut Node, key: &str, value: &str) -> Result<(), String> {
    let mut parts = parts(key)?;
    // A stage's own name may have a dot: `stages.boot.before[0]`.
    let joined;
    if let [
        Part::Key("stages"),
        Part::Key(stage),
        Part::Key(suffix @ ("before" | "after")),
        ..,
    ] = parts[..]
    {
        joined = format!("{stage}.{suffix}");
        parts.splice(1..3, [Part::Key(&joined)]);
    }
    let mut node = top;
    for part in parts {
        node = match part {
            Part::Key(name) => descend_key(node, name)?,
            Part::Index(index) => descend_index(node, index)?,
        };
    }
    if node.value != Value::Null {
        return Err("said twice".into());
    }
    node.value = Value::Scalar {
        text: value.to_owned(),
        plain: true,
    };
    Ok(())
}

fn descend_key<'n>(node: &'n mut Node, name: &str) -> Result<&'n mut Node, String> {
    if node.value == Value::Null {
        node.value = Value::Mapping(Vec::new());
    }
    let Value::Mapping(entries) = &mut node.value else {
        return Err(format!(
            "{name} stands where a list or a value stands already"
        ));
    };
    let place = entries.iter().position(|entry| entry.key == name);
    let place = place.unwrap_or_else(|| {
        entries.push(Entry {
            at: Position::START,
            key: name.to_owned(),
            node: null(),
        });
        entries.len() - 1
    });
    Ok(&mut entries[place].node)
}

fn descend_index(node: &mut Node, index: usize) -> Result<&mut Node, String> {
    if node.value == Value::Null {
        node.value = Value::Sequence(Vec::new());
    }
    let Value::Sequence(items) = &mut node.value else {
        return Err("an index stands where names stand already".into());
    };
    while items.len() <= index {
        items.push(null());
    }
    Ok(&mut items[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_document() {
        let loaded = load(
            "root=x quiet stages.network[0].authorized_keys.root[0]=github:me \
             stages.boot.before[0].commands[0]=\"echo a b\" 'stages.boot.before[0].name=first one'",
            Strictness::Strict,
        );
        assert_eq!(loaded.diagnostics, []);
        let document = &loaded.documents[0];
        let stage = |name: &str| {
            let found = document.stages.iter().find(|stage| stage.name == name);
            &found.unwrap().steps[0].step
        };
        assert_eq!(stage("network").authorized_keys["root"], ["github:me"]);
        assert_eq!(stage("boot.before").commands, ["echo a b"]);
        assert_eq!(stage("boot.before").name.as_deref(), Some("first one"));
    }

    #[test]
    fn mistakes_are_told() {
        for (line, word) in [
            ("stages.a[999].commands[0]=x", "at most"),
            ("stages.a[x].commands[0]=x", "no index"),
            ("stages.a[0].comands[0]=x", "unknown key"),
            ("stages.a[0].name=x stages.a[0].name=y", "twice"),
            ("stages..b=x", "no name"),
        ] {
            let loaded = load(line, Strictness::Strict);
            let text: String = loaded.diagnostics.iter().map(ToString::to_string).collect();
            assert!(text.contains(word), "{line}: {text}");
        }
    }

    #[test]
    fn the_whole_value_of_cos_setup_counts() {
        assert_eq!(
            setup_sources(
                "cos.setup=https://host/x?a=b&c=d elemental.setup=/oem/x.yaml cos.setup="
            ),
            ["https://host/x?a=b&c=d", "/oem/x.yaml"]
        );
    }
}

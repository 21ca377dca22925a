//! YAML as a tree that remembers where everything stood and how it was written.
//!
//! Scalars keep their text: whether `0644` is a mode, a number or a word is for the key that takes it
//! to say. Budgets bound every document before anything is made of it.

use crate::diagnostic::Position;
use base64::Engine as _;
use granit_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of one document source.
pub const MAX_BYTES: u64 = 4 << 20;
/// Deepest nesting.
const MAX_DEPTH: usize = 48;
/// Most nodes, those that aliases repeat counted each time.
const MAX_NODES: usize = 200_000;
/// Most bytes that aliases may repeat.
const MAX_ALIASED_BYTES: usize = 16 << 20;

/// A node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it starts.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A scalar, as written.
    Scalar {
        /// The text, escapes resolved.
        text: String,
        /// Whether it was written without quotes, and so may mean a number or a truth value.
        plain: bool,
    },
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order written.
    Mapping(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where the key starts.
    pub at: Position,
    /// The key.
    pub key: String,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The value of `key`, where this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The items of a sequence, empty ones left out; none where this is something else.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Node> {
        let items: &[Node] = match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        };
        items.iter().filter(|item| item.value != Value::Null)
    }

    /// The entries of a mapping; none where this is something else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// A scalar's text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What this is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    fn nodes(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar { .. } => 0,
            Value::Sequence(items) => items.iter().map(Node::nodes).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.node.nodes()).sum(),
        }
    }

    fn bytes(&self) -> usize {
        match &self.value {
            Value::Null => 0,
            Value::Scalar { text, .. } => text.len(),
            Value::Sequence(items) => items.iter().map(Node::bytes).sum(),
            Value::Mapping(entries) => entries
                .iter()
                .map(|entry| entry.key.len() + entry.node.bytes())
                .sum(),
        }
    }
}

/// Why a text is no YAML that is taken here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub message: String,
}

/// Reads all documents of a text; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    if text.len() as u64 > MAX_BYTES {
        return Err(YamlError {
            at: Position::START,
            message: format!("the document is larger than {} MiB", MAX_BYTES >> 20),
        });
    }
    let options = granit_parser::options! { emit_comments: false };
    let mut composer = Composer::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| YamlError {
            at: Position::new(error.marker().line(), error.marker().col() + 1),
            message: error.info(),
        })?;
        composer.take(event, &span)?;
    }
    Ok(composer.documents)
}

/// A collection that is still open.
enum Open {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        keys: BTreeSet<String>,
        key: Option<(Position, String)>,
        /// Whether the value of `content` is `!!binary`, and no text.
        binary: bool,
    },
}

struct Level {
    at: Position,
    anchor: usize,
    open: Open,
}

#[derive(Default)]
struct Composer {
    levels: Vec<Level>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    aliased_bytes: usize,
    /// The scalar that is finished next is base64 of what is no text.
    binary: bool,
    documents: Vec<Node>,
}

fn position(span: &Span) -> Position {
    Position::new(span.start.line(), span.start.col() + 1)
}

impl Composer {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), YamlError> {
        let at = position(span);
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let is_binary = tag.is_some_and(|tag| tag.to_string().ends_with("binary"));
                let text = if is_binary {
                    self.binary(&text, at)?.into()
                } else {
                    text
                };
                let value = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                    _ => Value::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                };
                self.finish(Node { at, value }, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(at, anchor, Open::Sequence(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, _) => {
                let open = Open::Mapping {
                    entries: Vec::new(),
                    keys: BTreeSet::new(),
                    key: None,
                    binary: false,
                };
                self.open(at, anchor, open)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at)?,
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(fail(at, "the alias stands inside what it repeats"));
                };
                let node = Node { at, ..node };
                self.repeated(&node)?;
                self.finish(node, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The text of a `!!binary` scalar; base64, without blanks, where it is no text.
    fn binary(&mut self, text: &str, at: Position) -> Result<String, YamlError> {
        let dense: String = text.split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(&dense)
            .map_err(|error| fail(at, format!("!!binary is no base64: {error}")))?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|_| {
            self.binary = true;
            dense
        }))
    }

    /// Counts what a node costs that is there once more.
    fn repeated(&mut self, node: &Node) -> Result<(), YamlError> {
        self.nodes += node.nodes();
        self.aliased_bytes += node.bytes();
        if self.aliased_bytes > MAX_ALIASED_BYTES {
            return Err(fail(node.at, "aliases repeat more than 16 MiB"));
        }
        if self.nodes > MAX_NODES {
            return Err(fail(node.at, format!("more than {MAX_NODES} values")));
        }
        Ok(())
    }

    fn open(&mut self, at: Position, anchor: usize, open: Open) -> Result<(), YamlError> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(fail(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.levels.push(Level { at, anchor, open });
        Ok(())
    }

    fn close(&mut self, at: Position) -> Result<(), YamlError> {
        let Some(level) = self.levels.pop() else {
            return Err(fail(at, "a collection ends that did not begin"));
        };
        let value = match level.open {
            Open::Sequence(items) => Value::Sequence(items),
            Open::Mapping {
                mut entries,
                binary,
                ..
            } => {
                if binary {
                    encode(&mut entries)?;
                }
                Value::Mapping(merged(entries)?)
            }
        };
        let node = Node {
            at: level.at,
            value,
        };
        self.finish(node, level.anchor)
    }

    /// A node is complete: it becomes a document, an item, a key or a value.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(fail(node.at, format!("more than {MAX_NODES} values")));
        }
        if anchor != 0 {
            // Anchors inside anchors are kept once for each.
            self.repeated(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        let is_binary = std::mem::take(&mut self.binary);
        let open = self.levels.last_mut().map(|level| &mut level.open);
        if is_binary
            && !matches!(&open, Some(Open::Mapping { key: Some((_, key)), .. }) if key == "content")
        {
            return Err(fail(node.at, "only content takes !!binary that is no text"));
        }
        match open {
            None => {
                if node.value != Value::Null {
                    self.documents.push(node);
                }
            }
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping {
                entries,
                keys,
                key,
                binary,
            }) => match key.take() {
                None => *key = Some((node.at, key_text(node)?)),
                Some((at, text)) => {
                    if text != "<<" && !keys.insert(text.clone()) {
                        return Err(fail(at, format!("the key {text:?} stands here twice")));
                    }
                    *binary |= is_binary;
                    entries.push(Entry {
                        at,
                        key: text,
                        node,
                    });
                }
            },
        }
        Ok(())
    }
}

fn key_text(node: Node) -> Result<String, YamlError> {
    match node.value {
        Value::Scalar { text, .. } => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Sequence(_) | Value::Mapping(_) => Err(fail(
            node.at,
            format!("a key is {}, where a word is wanted", node.kind()),
        )),
    }
}

/// Says in `encoding` that `content` is base64, as `!!binary` did.
fn encode(entries: &mut Vec<Entry>) -> Result<(), YamlError> {
    let place = entries.iter().position(|entry| entry.key == "encoding");
    let entry = match place {
        Some(place) => &mut entries[place],
        None => {
            let at = entries.first().map_or(Position::START, |entry| entry.at);
            let value = Value::Null;
            entries.push(Entry {
                at,
                key: "encoding".to_owned(),
                node: Node { at, value },
            });
            let last = entries.len() - 1;
            &mut entries[last]
        }
    };
    let encoding = match entry.node.text().unwrap_or_default() {
        "" | "text/plain" => "b64",
        "gz" | "gzip" => "gzip+b64",
        other => {
            let message = format!("content is !!binary, so that it cannot be {other:?} too");
            return Err(fail(entry.node.at, message));
        }
    };
    entry.node.value = Value::Scalar {
        text: encoding.to_owned(),
        plain: true,
    };
    Ok(())
}

/// Resolves merge keys (`<<`): what the mapping says itself wins.
fn merged(entries: Vec<Entry>) -> Result<Vec<Entry>, YamlError> {
    if !entries.iter().any(|entry| entry.key == "<<") {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.key == "<<");
    let mut known: BTreeSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
    for merge in merges {
        let at = merge.at;
        let sources = match merge.node.value {
            Value::Sequence(items) => items,
            value => vec![Node { at, value }],
        };
        for source in sources {
            let Value::Mapping(inherited) = source.value else {
                return Err(fail(at, "<< takes a mapping or a list of mappings"));
            };
            for entry in inherited {
                if known.insert(entry.key.clone()) {
                    own.push(entry);
                }
            }
        }
    }
    Ok(own)
}

fn fail(at: Position, message: impl Into<String>) -> YamlError {
    YamlError {
        at,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn positions_and_spelling_are_kept() {
        let documents = parse("a: 0644\nb:\n  - 'x'\n  - ~\n").unwrap();
        let a = documents[0].get("a").unwrap();
        assert_eq!(a.at, Position::new(1, 4));
        assert_eq!(
            a.value,
            Value::Scalar {
                text: "0644".into(),
                plain: true
            }
        );
        let Value::Sequence(items) = &documents[0].get("b").unwrap().value else {
            panic!()
        };
        assert_eq!(items[0].at, Position::new(3, 5));
        assert_eq!(items[1].value, Value::Null);
    }

    #[test]
    fn an_alias_bomb_ends_soon() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            let list = vec![below; 10].join(",");
            writeln!(text, "a{level}: &a{level} [{list}]").unwrap();
        }
        let error = parse(&text).unwrap_err();
        assert!(error.message.contains("values"), "{error}");
        let large = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(40));
        let error = parse(&large).unwrap_err();
        assert!(error.message.contains("16 MiB"), "{error}");
    }

    #[test]
    fn depth_size_and_repeated_keys_are_refused() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert!(parse(&deep).unwrap_err().message.contains("levels"));
        let huge = "#".repeat(MAX_BYTES as usize + 1);
        assert!(parse(&huge).unwrap_err().message.contains("4 MiB"));
        let twice = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(twice.at, Position::new(3, 1));
    }

    #[test]
    fn merge_keys_and_several_documents() {
        let documents = parse("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n---\n---\nz: 1\n").unwrap();
        assert_eq!(documents.len(), 2);
        let y = documents[0].get("y").unwrap();
        let text = |key: &str| match &y.get(key).unwrap().value {
            Value::Scalar { text, .. } => text.clone(),
            _ => panic!(),
        };
        assert_eq!((text("a"), text("b")), ("1".into(), "3".into()));
    }
}

//! Paths, as text (Go's `path`).

use super::builtin::map_text;
use super::{Function, Param};
use crate::value::Value;
use Param::Text;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("base", &[Text], |s, a| map_text(s, a, base)),
    Function::new("dir", &[Text], |s, a| map_text(s, a, dir)),
    Function::new("clean", &[Text], |s, a| map_text(s, a, clean)),
    Function::new("ext", &[Text], |s, a| map_text(s, a, ext)),
    Function::new("isAbs", &[Text], |_, args| {
        Ok(Value::Bool(args.text(0)?.starts_with('/')))
    }),
    Function::new("osBase", &[Text], |s, a| map_text(s, a, base)),
    Function::new("osDir", &[Text], |s, a| map_text(s, a, dir)),
    Function::new("osClean", &[Text], |s, a| map_text(s, a, clean)),
    Function::new("osExt", &[Text], |s, a| map_text(s, a, ext)),
    Function::new("osIsAbs", &[Text], |_, args| {
        Ok(Value::Bool(args.text(0)?.starts_with('/')))
    }),
];

fn base(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let path = path.trim_end_matches('/');
    match path.rsplit('/').next() {
        Some("") | None => "/".to_owned(),
        Some(name) => name.to_owned(),
    }
}

fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

fn ext(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.')
        .map_or(String::new(), |at| name[at..].into())
}

fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|&last| last != "..") => {
                names.pop();
            }
            ".." if rooted => {}
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

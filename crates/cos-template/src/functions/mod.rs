//! The functions that templates may call: Go's own and those of sprig.

mod builtin;
mod compare;
mod date;
mod default;
mod dict;
mod digest;
mod encoding;
mod escape;
mod json;
mod kind;
mod layout;
mod list;
mod merge;
mod number;
mod path;
mod pattern;
mod random;
mod regex;
mod semver;
mod text;
mod word;
mod wrap;

pub(crate) use pattern::Pattern;
pub(crate) use semver::Version;

use crate::limits::{Buffer, Fault, Outcome};
use crate::value::{Map, MapKind, Scope, Value, internal};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::LazyLock;

/// What a function takes in one place. Go checks these types when it calls, and so do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Param {
    /// `interface {}`
    Any,
    /// `string`
    Text,
    /// `int`
    Int,
    /// `float64`
    Float,
    /// `bool`
    Bool,
    /// `map[string]interface {}`, which may be nil
    Dict,
    /// `time.Time`
    Time,
}

impl Param {
    /// The Go type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Text => "string",
            Self::Int => "int",
            Self::Float => "float64",
            Self::Bool => "bool",
            Self::Dict => "map[string]interface {}",
            Self::Time => "time.Time",
        }
    }

    /// Checks that a value may be passed; says why not.
    pub(crate) fn check(self, value: &Value) -> Result<(), String> {
        let fits = match (self, value) {
            (Self::Any, _)
            | (Self::Text, Value::Text(_))
            | (Self::Int, Value::Int(_))
            | (Self::Float, Value::Float(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Time, Value::Time(_))
            | (Self::Dict, Value::Nil) => true,
            (Self::Dict, Value::Map(map)) => map.kind == MapKind::Any,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let wanted = self.name();
        Err(match value {
            Value::Nil => format!("nothing where a {wanted} is expected"),
            value => format!("a {} where a {wanted} is expected", value.type_name()),
        })
    }
}

/// The arguments of a call; their number and types are checked before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Args<'a>(pub(crate) &'a [Value]);

impl<'a> Args<'a> {
    fn at(self, index: usize) -> Outcome<&'a Value> {
        self.0
            .get(index)
            .ok_or_else(|| internal("argument missing"))
    }

    fn rest(self, from: usize) -> &'a [Value] {
        self.0.get(from..).unwrap_or_default()
    }

    fn text(self, index: usize) -> Outcome<&'a str> {
        text_in(self.at(index)?)
    }

    fn int(self, index: usize) -> Outcome<i64> {
        match self.at(index)? {
            Value::Int(int) => Ok(*int),
            _ => Err(internal("argument is no int")),
        }
    }

    fn is(self, index: usize) -> Outcome<bool> {
        match self.at(index)? {
            Value::Bool(is) => Ok(*is),
            _ => Err(internal("argument is no bool")),
        }
    }

    /// The map, or nothing where nil was passed.
    fn dict(self, index: usize) -> Outcome<Option<Map>> {
        match self.at(index)? {
            Value::Map(map) => Ok(Some(*map)),
            _ => Ok(None),
        }
    }
}

fn text_in(value: &Value) -> Outcome<&str> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(internal("argument is no text")),
    }
}

type Body = fn(&mut Scope<'_>, Args<'_>) -> Outcome<Value>;

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    params: &'static [Param],
    /// The type of any further arguments.
    rest: Option<Param>,
    body: Body,
}

impl Function {
    const fn new(name: &'static str, params: &'static [Param], body: Body) -> Self {
        Self {
            name,
            params,
            rest: None,
            body,
        }
    }

    const fn variadic(
        name: &'static str,
        params: &'static [Param],
        rest: Param,
        body: Body,
    ) -> Self {
        Self {
            name,
            params,
            rest: Some(rest),
            body,
        }
    }

    /// The type of the argument at `index`.
    pub(crate) fn param(&self, index: usize) -> Option<Param> {
        self.params.get(index).copied().or(self.rest)
    }

    /// Checks how many arguments are passed.
    pub(crate) fn check_count(&self, count: usize) -> Outcome<()> {
        let want = self.params.len();
        let name = self.name;
        if count < want && self.rest.is_some() {
            return Err(format!("{name} wants at least {want} arguments, got {count}").into());
        }
        if count != want && self.rest.is_none() {
            return Err(format!("{name} wants {want} arguments, got {count}").into());
        }
        Ok(())
    }

    /// Calls the function. Long texts cost more, so that a loop over them ends too.
    pub(crate) fn call(&self, scope: &mut Scope<'_>, arguments: &[Value]) -> Outcome<Value> {
        let read: usize = arguments
            .iter()
            .map(|argument| match argument {
                Value::Text(text) => text.len(),
                _ => 0,
            })
            .sum();
        scope.budget.step(1)?;
        scope.budget.read(read)?;
        (self.body)(scope, Args(arguments)).map_err(|fault| match fault {
            Fault::Wrong(message) => Fault::Wrong(format!("{}: {message}", self.name)),
            Fault::Unsupported(message) => Fault::Unsupported(format!("{}: {message}", self.name)),
            Fault::Limit(_) => fault,
        })
    }
}

const GROUPS: [&[Function]; 19] = [
    builtin::FUNCTIONS,
    compare::FUNCTIONS,
    escape::FUNCTIONS,
    text::FUNCTIONS,
    word::FUNCTIONS,
    wrap::FUNCTIONS,
    number::FUNCTIONS,
    default::FUNCTIONS,
    json::FUNCTIONS,
    encoding::FUNCTIONS,
    list::FUNCTIONS,
    dict::FUNCTIONS,
    kind::FUNCTIONS,
    path::FUNCTIONS,
    date::FUNCTIONS,
    digest::FUNCTIONS,
    random::FUNCTIONS,
    regex::FUNCTIONS,
    semver::FUNCTIONS,
];

static BY_NAME: LazyLock<BTreeMap<&'static str, &'static Function>> = LazyLock::new(|| {
    let all = GROUPS.into_iter().flatten();
    all.map(|function| (function.name, function)).collect()
});

/// The function of that name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    BY_NAME.get(name).copied()
}

/// The names of all functions that a template may call, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    BY_NAME.keys().copied()
}

/// The function whose name is nearest to one that does not exist, unless that is far off.
pub(crate) fn nearest(name: &str) -> Option<String> {
    // Nothing that long is near anything.
    if name.len() > 40 {
        return None;
    }
    let name = name.to_lowercase();
    let allowed = 1 + name.chars().count() / 5;
    names()
        .map(|known| {
            (
                strsim::damerau_levenshtein(&name, &known.to_lowercase()),
                known,
            )
        })
        .min()
        .filter(|(distance, _)| *distance <= allowed)
        .map(|(_, known)| known.to_owned())
}

/// A time as Go prints it.
pub(crate) fn time_text(time: time::OffsetDateTime) -> Outcome<String> {
    let mut text = Buffer::unbounded();
    layout::format(time, "2006-01-02 15:04:05.999999999 -0700 MST", &mut text)?;
    Ok(text.text)
}

/// The items of a list; `doing` says in the error for anything else what was to be done.
fn items_of(scope: &mut Scope<'_>, value: &Value, doing: &str) -> Outcome<Rc<[Value]>> {
    match value {
        Value::List(list) => scope.items(*list),
        _ => Err(format!("cannot {doing} a {}", value.type_name()).into()),
    }
}

/// A part of a text, by bytes. Go cuts inside characters, which no text here can hold.
fn cut(text: &str, from: usize, to: usize) -> Outcome<&str> {
    if from > to || to > text.len() {
        return Err(format!("{from}:{to} is out of range of {} bytes", text.len()).into());
    }
    text.get(from..to)
        .ok_or_else(|| Fault::from("this would cut a character in two"))
}

/// Bytes as text.
fn text_from(bytes: Vec<u8>) -> Outcome<String> {
    String::from_utf8(bytes).map_err(|_| Fault::from("the result is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("uper").as_deref(), Some("upper"));
        assert_eq!(nearest("toJSON").as_deref(), Some("toJson"));
        assert_eq!(nearest("getHostByName"), None);
        assert_eq!(nearest("frobnicate_the_thing"), None);
    }

    #[test]
    fn no_name_is_registered_twice() {
        let registered: usize = GROUPS.iter().map(|group| group.len()).sum();
        assert_eq!(names().count(), registered);
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        assert_eq!(cut("abc", 1, 2), Ok("b"));
        assert!(cut("é", 0, 1).is_err());
        assert!(cut("abc", 2, 1).is_err());
        assert!(cut("abc", 0, 4).is_err());
    }
}

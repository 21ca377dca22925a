//! Semantic versions and what they are compared with (`Masterminds/semver`).

use super::{Args, Function, Param};
use crate::limits::{Fault, Outcome};
use crate::value::{Scope, Value};
use Param::Text;
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("semver", &[Text], |_, args| {
        let version = Version::parse(args.text(0)?)?;
        Ok(Value::Version(Rc::new(version)))
    }),
    Function::new("semverCompare", &[Text, Text], compare),
];

/// A version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: [u64; 3],
    pre: String,
    metadata: String,
    original: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

/// Identifiers with dots between them.
fn are_identifiers(text: &str) -> bool {
    let is_identifier = |part: &str| {
        let known = |c: char| c == '-' || c.is_ascii_alphanumeric();
        !part.is_empty() && part.chars().all(known)
    };
    text.split('.').all(is_identifier)
}

/// The text, what follows its first `-`, and what follows its first `+`.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (text, metadata) = match text.split_once('+') {
        Some((text, metadata)) if are_identifiers(metadata) => (text, metadata),
        Some(_) => return None,
        None => (text, ""),
    };
    match text.split_once('-') {
        Some((text, pre)) if are_identifiers(pre) => Some((text, pre, metadata)),
        Some(_) => None,
        None => Some((text, "", metadata)),
    }
}

impl Version {
    fn parse(text: &str) -> Outcome<Self> {
        let bad = || Fault::from(format!("{text:?} is no version"));
        let plain = text.strip_prefix('v').unwrap_or(text);
        let (version, pre, metadata) = parts(plain).ok_or_else(bad)?;
        let mut numbers = [0; 3];
        let mut segments = version.split('.');
        for (number, segment) in numbers.iter_mut().zip(segments.by_ref()) {
            if segment.is_empty() || !segment.chars().all(|c| c.is_ascii_digit()) {
                return Err(bad());
            }
            *number = segment.parse().map_err(|_| bad())?;
        }
        let padded = |part: &str| {
            part.len() > 1 && part.starts_with('0') && part.chars().all(|c| c.is_ascii_digit())
        };
        if segments.next().is_some() || pre.split('.').any(padded) {
            return Err(bad());
        }
        Ok(Self {
            numbers,
            pre: pre.to_owned(),
            metadata: metadata.to_owned(),
            original: text.to_owned(),
        })
    }

    /// What templates can read of a version.
    pub(crate) fn field(&self, scope: &mut Scope<'_>, name: &str) -> Outcome<Option<Value>> {
        let number = |at: usize| Some(Value::Int64(self.numbers[at].cast_signed()));
        Ok(match name {
            "Major" => number(0),
            "Minor" => number(1),
            "Patch" => number(2),
            "Prerelease" => Some(scope.text(self.pre.as_str())?),
            "Metadata" => Some(scope.text(self.metadata.as_str())?),
            "Original" => Some(scope.text(self.original.as_str())?),
            "String" => Some(scope.text(self.to_string())?),
            _ => None,
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        let pre = || match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => order_pre(&self.pre, &other.pre),
        };
        self.numbers.cmp(&other.numbers).then_with(pre)
    }
}

fn order_pre(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => match (left.parse::<u64>(), right.parse::<u64>()) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => left.cmp(right),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The operators, the longer before the shorter that they start with.
const OPERATORS: [&str; 11] = ["!=", ">=", "=>", "<=", "=<", "~>", "=", ">", "<", "~", "^"];

/// One operator and the version it goes with, which may lack its end: `>= 1.2`, `~1.x`.
struct Constraint {
    operator: &'static str,
    version: Version,
    /// Anything is missing.
    open: bool,
    /// All but the first number is.
    minor_open: bool,
    /// Only the last number is.
    patch_open: bool,
}

impl Constraint {
    fn parse(operator: &'static str, text: &str) -> Outcome<Self> {
        let bad = || Fault::from(format!("{text:?} is no version to compare with"));
        let plain = text.strip_prefix('v').unwrap_or(text);
        let (numbers, pre, _) = parts(plain).ok_or_else(bad)?;
        let segments: Vec<&str> = numbers.split('.').collect();
        let missing = |at: usize| {
            segments
                .get(at)
                .is_none_or(|s| matches!(*s, "x" | "X" | "*"))
        };
        let pre = match pre {
            "" => String::new(),
            pre => format!("-{pre}"),
        };
        let known = (0..3).take_while(|&at| !missing(at)).count();
        let version = match known {
            0 => format!("0.0.0{pre}"),
            1 => format!("{}.0.0{pre}", segments[0]),
            2 => format!("{}.{}.0{pre}", segments[0], segments[1]),
            _ => plain.to_owned(),
        };
        Ok(Self {
            operator,
            version: Version::parse(&version).map_err(|_| bad())?,
            open: known < 3,
            minor_open: known == 1,
            patch_open: known == 2,
        })
    }

    fn allows(&self, version: &Version) -> bool {
        let release_only = !version.pre.is_empty() && self.version.pre.is_empty();
        if release_only && (self.operator != "!=" || self.open) {
            return false;
        }
        let order = version.order(&self.version);
        match self.operator {
            "!=" => self.differs(version),
            ">" => self.is_below(version),
            "<" => order == Ordering::Less,
            ">=" | "=>" => order != Ordering::Less,
            "<=" | "=<" => self.is_at_most(version),
            "~" | "~>" => self.is_near(version),
            "^" => self.is_compatible(version),
            _ if self.open => self.is_near(version),
            _ => order == Ordering::Equal,
        }
    }

    fn differs(&self, version: &Version) -> bool {
        let [major, minor, _] = self.version.numbers;
        if self.open {
            if version.numbers[0] != major {
                return true;
            }
            if self.minor_open {
                return false;
            }
            if version.numbers[1] != minor {
                return true;
            }
            if self.patch_open {
                let pre = order_pre(&version.pre, &self.version.pre);
                return pre != Ordering::Equal;
            }
        }
        version.order(&self.version) != Ordering::Equal
    }

    fn is_below(&self, version: &Version) -> bool {
        let [major, minor, _] = self.version.numbers;
        if !self.open || (version.numbers[0] == major && !self.minor_open && !self.patch_open) {
            return version.order(&self.version) == Ordering::Greater;
        }
        if version.numbers[0] != major {
            return version.numbers[0] > major;
        }
        !self.minor_open && version.numbers[1] > minor
    }

    fn is_at_most(&self, version: &Version) -> bool {
        let [major, minor, _] = self.version.numbers;
        if !self.open {
            return version.order(&self.version) != Ordering::Greater;
        }
        let over = version.numbers[0] == major && version.numbers[1] > minor;
        version.numbers[0] <= major && (!over || self.minor_open)
    }

    fn is_near(&self, version: &Version) -> bool {
        let [major, minor, patch] = self.version.numbers;
        if version.order(&self.version) == Ordering::Less {
            return false;
        }
        if [major, minor, patch] == [0; 3] && !self.minor_open && !self.patch_open {
            return true;
        }
        version.numbers[0] == major && (version.numbers[1] == minor || self.minor_open)
    }

    fn is_compatible(&self, version: &Version) -> bool {
        let [major, minor, patch] = self.version.numbers;
        if version.order(&self.version) == Ordering::Less {
            return false;
        }
        if major > 0 || self.minor_open {
            return version.numbers[0] == major;
        }
        if version.numbers[0] > 0 {
            return false;
        }
        if minor > 0 || self.patch_open {
            return version.numbers[1] == minor;
        }
        version.numbers[1] == 0 && version.numbers[2] == patch
    }
}

/// Constraints that hold together, from `>= 1.2, < 2` or `1.2 - 2.0`.
fn all_of(text: &str) -> Outcome<Vec<Constraint>> {
    let bad = || Fault::from(format!("{text:?} is no constraint of versions"));
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [from, "-", to] = words.as_slice() {
        return Ok(vec![
            Constraint::parse(">=", from)?,
            Constraint::parse("<=", to)?,
        ]);
    }
    let mut constraints = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let operator = OPERATORS.into_iter().find(|known| rest.starts_with(known));
        let operator = operator.unwrap_or("");
        rest = rest[operator.len()..].trim_start();
        let end = rest
            .find(|c: char| c.is_whitespace() || c == ',')
            .unwrap_or(rest.len());
        constraints.push(Constraint::parse(operator, &rest[..end])?);
        let after = rest[end..].trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        if rest.is_empty() && after.starts_with(',') {
            return Err(bad());
        }
    }
    if constraints.is_empty() {
        return Err(bad());
    }
    Ok(constraints)
}

fn compare(_: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    let alternatives = args.text(0)?.split("||").map(all_of);
    let alternatives = alternatives.collect::<Outcome<Vec<_>>>()?;
    let version = Version::parse(args.text(1)?)?;
    let allows = |all: &Vec<Constraint>| all.iter().all(|one| one.allows(&version));
    Ok(Value::Bool(alternatives.iter().any(allows)))
}

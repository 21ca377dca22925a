//! Values as Go's templates see them, and the heap on which lists and maps live.
//!
//! Maps are shared and change in place (`set`), so they may come to hold themselves. Lists and maps
//! are therefore numbers of places on a [`Heap`] that goes away as a whole: nothing leaks, and
//! dropping a deep value takes no stack.

use crate::limits::{Budget, Buffer, Fault, Outcome};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use time::OffsetDateTime;

/// The Go type of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// `[]interface {}`
    Any,
    /// `[]string`
    Text,
    /// `[]int`
    Int,
    /// `[][]interface {}`
    Lists,
}

/// The Go type of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// `map[string]interface {}`
    Any,
    /// `map[string]string`
    Text,
}

/// A list on the [`Heap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) kind: ListKind,
    /// Go's nil slice: an empty list that is `null` in JSON.
    pub(crate) is_nil: bool,
    index: usize,
}

/// A map on the [`Heap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) kind: MapKind,
    index: usize,
}

/// A value of a template.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Int64(i64),
    Byte(u8),
    Float(f64),
    Text(Rc<str>),
    List(List),
    Map(Map),
    Time(OffsetDateTime),
    Version(Rc<crate::functions::Version>),
}

impl Value {
    /// The Go type (`%T`).
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Int64(_) => "int64",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(list) => match list.kind {
                ListKind::Any => "[]interface {}",
                ListKind::Text => "[]string",
                ListKind::Int => "[]int",
                ListKind::Lists => "[][]interface {}",
            },
            Self::Map(map) => match map.kind {
                MapKind::Any => "map[string]interface {}",
                MapKind::Text => "map[string]string",
            },
            Self::Time(_) => "time.Time",
            Self::Version(_) => "*semver.Version",
        }
    }

    /// The Go kind (`reflect.Kind`).
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Nil => "invalid",
            Self::List(_) => "slice",
            Self::Map(_) => "map",
            Self::Time(_) => "struct",
            Self::Version(_) => "ptr",
            _ => self.type_name(),
        }
    }

    /// An integer of any type.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Int(int) | Self::Int64(int) => Some(*int),
            Self::Byte(byte) => Some((*byte).into()),
            _ => None,
        }
    }
}

/// Everything that one rendering works with.
#[derive(Debug)]
pub(crate) struct Scope<'e> {
    pub(crate) budget: Budget,
    /// What `env` may see.
    pub(crate) environment: &'e BTreeMap<String, String>,
    /// Regular expressions that were used before.
    pub(crate) patterns: HashMap<Rc<str>, Rc<crate::functions::Pattern>>,
    lists: Vec<Rc<[Value]>>,
    maps: Vec<BTreeMap<Rc<str>, Value>>,
}

/// What an entry of a map costs beside its key.
const ENTRY_SIZE: usize = 64;

impl<'e> Scope<'e> {
    pub(crate) fn new(budget: Budget, environment: &'e BTreeMap<String, String>) -> Self {
        Self {
            budget,
            environment,
            patterns: HashMap::new(),
            lists: Vec::new(),
            maps: Vec::new(),
        }
    }

    /// An empty text to write into.
    pub(crate) fn buffer(&self) -> Buffer {
        self.budget.buffer()
    }

    /// Makes a text.
    pub(crate) fn text(&mut self, text: impl Into<Rc<str>>) -> Outcome<Value> {
        let text = text.into();
        self.budget.allocate(text.len() + size_of::<Value>())?;
        self.budget.read(text.len())?;
        Ok(Value::Text(text))
    }

    /// Makes a list.
    pub(crate) fn list(&mut self, kind: ListKind, items: Vec<Value>) -> Outcome<Value> {
        self.room_for(items.len())?;
        self.budget
            .allocate((items.len() + 2) * size_of::<Value>())?;
        self.budget.step(items.len() as u64 / 16)?;
        self.lists.push(items.into());
        Ok(Value::List(List {
            kind,
            is_nil: false,
            index: self.lists.len() - 1,
        }))
    }

    /// Makes a list that is nil where it is empty, as Go's functions do that only append.
    pub(crate) fn list_or_nil(&mut self, kind: ListKind, items: Vec<Value>) -> Outcome<Value> {
        let is_nil = items.is_empty();
        Ok(match self.list(kind, items)? {
            Value::List(list) => Value::List(List { is_nil, ..list }),
            value => value,
        })
    }

    /// Checks that a list of so many values can be paid for.
    pub(crate) fn room_for(&self, count: usize) -> Outcome<()> {
        let size = count.saturating_add(2).saturating_mul(size_of::<Value>());
        self.budget.room(size)
    }

    /// Makes a list of texts.
    pub(crate) fn texts<S: Into<Rc<str>>>(
        &mut self,
        texts: impl IntoIterator<Item = S>,
    ) -> Outcome<Value> {
        let mut items = Vec::new();
        for text in texts {
            items.push(self.text(text)?);
        }
        self.list(ListKind::Text, items)
    }

    /// [`Scope::texts`], of [`Scope::list_or_nil`].
    pub(crate) fn texts_or_nil<'t>(
        &mut self,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> Outcome<Value> {
        let mut items = Vec::new();
        for text in texts {
            items.push(self.text(text)?);
        }
        self.list_or_nil(ListKind::Text, items)
    }

    /// Makes a map.
    pub(crate) fn map(
        &mut self,
        kind: MapKind,
        entries: BTreeMap<Rc<str>, Value>,
    ) -> Outcome<Value> {
        let keys: usize = entries.keys().map(|key| key.len() + ENTRY_SIZE).sum();
        self.budget.allocate(keys + ENTRY_SIZE)?;
        self.budget.step(entries.len() as u64 / 8)?;
        self.maps.push(entries);
        Ok(Value::Map(Map {
            kind,
            index: self.maps.len() - 1,
        }))
    }

    /// What a list holds.
    pub(crate) fn items(&mut self, list: List) -> Outcome<Rc<[Value]>> {
        let items = self
            .lists
            .get(list.index)
            .map_or_else(|| Rc::from([]), Rc::clone);
        self.budget.step(items.len() as u64 / 16)?;
        Ok(items)
    }

    /// How many values a list or map holds.
    pub(crate) fn len(&self, value: &Value) -> Option<usize> {
        match value {
            Value::Text(text) => Some(text.len()),
            Value::List(list) => Some(self.lists.get(list.index).map_or(0, |items| items.len())),
            Value::Map(map) => Some(self.maps.get(map.index).map_or(0, BTreeMap::len)),
            _ => None,
        }
    }

    /// The value at `key` of a map.
    pub(crate) fn get(&self, map: Map, key: &str) -> Option<Value> {
        self.maps.get(map.index)?.get(key).cloned()
    }

    /// The keys and values of a map, by key.
    pub(crate) fn entries(&mut self, map: Map) -> Outcome<Vec<(Rc<str>, Value)>> {
        let entries: Vec<_> = self
            .maps
            .get(map.index)
            .into_iter()
            .flatten()
            .map(|(key, value)| (Rc::clone(key), value.clone()))
            .collect();
        self.budget.step(entries.len() as u64 / 4)?;
        Ok(entries)
    }

    /// Puts a value into a map.
    pub(crate) fn insert(&mut self, map: Map, key: Rc<str>, value: Value) -> Outcome<()> {
        if map.kind == MapKind::Text && !matches!(value, Value::Text(_)) {
            return Err("a map[string]string holds only texts".into());
        }
        self.budget.allocate(key.len() + ENTRY_SIZE)?;
        if let Some(entries) = self.maps.get_mut(map.index) {
            entries.insert(key, value);
        }
        Ok(())
    }

    /// Takes a value out of a map.
    pub(crate) fn remove(&mut self, map: Map, key: &str) {
        if let Some(entries) = self.maps.get_mut(map.index) {
            entries.remove(key);
        }
    }

    /// Go's idea of a value that is set.
    pub(crate) fn is_true(&self, value: &Value) -> bool {
        match value {
            Value::Nil => false,
            Value::Bool(is) => *is,
            Value::Int(int) | Value::Int64(int) => *int != 0,
            Value::Byte(byte) => *byte != 0,
            Value::Float(float) => *float != 0.0,
            Value::Text(_) | Value::List(_) | Value::Map(_) => self.len(value) != Some(0),
            Value::Time(_) | Value::Version(_) => true,
        }
    }

    /// JSON as Go decodes it: every number becomes a `float64`.
    pub(crate) fn json(&mut self, json: &serde_json::Value) -> Outcome<Value> {
        use serde_json::Value as Json;
        self.budget.step(1)?;
        self.budget.enter()?;
        let value = match json {
            Json::Null => Value::Nil,
            Json::Bool(is) => Value::Bool(*is),
            Json::Number(number) => match number.as_f64().filter(|float| float.is_finite()) {
                Some(float) => Value::Float(float),
                None => return Err(format!("number {number} is out of range").into()),
            },
            Json::String(text) => self.text(text.as_str())?,
            Json::Array(items) => {
                let items: Vec<Value> = items
                    .iter()
                    .map(|item| self.json(item))
                    .collect::<Outcome<_>>()?;
                self.list(ListKind::Any, items)?
            }
            Json::Object(entries) => {
                let mut map = BTreeMap::new();
                for (key, entry) in entries {
                    map.insert(Rc::from(key.as_str()), self.json(entry)?);
                }
                self.map(MapKind::Any, map)?
            }
        };
        self.budget.leave();
        Ok(value)
    }

    /// Go's `reflect.DeepEqual`: types count.
    pub(crate) fn deep_equal(&mut self, left: &Value, right: &Value) -> Outcome<bool> {
        self.budget.step(1)?;
        Ok(match (left, right) {
            (Value::Nil, Value::Nil) => true,
            (Value::Bool(left), Value::Bool(right)) => left == right,
            (Value::Int(left), Value::Int(right)) | (Value::Int64(left), Value::Int64(right)) => {
                left == right
            }
            (Value::Byte(left), Value::Byte(right)) => left == right,
            #[expect(clippy::float_cmp, reason = "as Go compares")]
            (Value::Float(left), Value::Float(right)) => left == right,
            (Value::Text(left), Value::Text(right)) => {
                self.budget.read(left.len().min(right.len()))?;
                left == right
            }
            (Value::Time(left), Value::Time(right)) => left == right,
            (Value::Version(left), Value::Version(right)) => left == right,
            (Value::List(left), Value::List(right)) => {
                (left.kind, left.is_nil) == (right.kind, right.is_nil)
                    && self.lists_equal(*left, *right)?
            }
            (Value::Map(left), Value::Map(right)) => {
                left.kind == right.kind && self.maps_equal(*left, *right)?
            }
            _ => false,
        })
    }

    fn lists_equal(&mut self, left: List, right: List) -> Outcome<bool> {
        let (left, right) = (self.items(left)?, self.items(right)?);
        if left.len() != right.len() {
            return Ok(false);
        }
        self.budget.enter()?;
        let mut equal = true;
        for (left, right) in left.iter().zip(right.iter()) {
            if !self.deep_equal(left, right)? {
                equal = false;
                break;
            }
        }
        self.budget.leave();
        Ok(equal)
    }

    fn maps_equal(&mut self, left: Map, right: Map) -> Outcome<bool> {
        let (left, right) = (self.entries(left)?, self.entries(right)?);
        if left.len() != right.len() {
            return Ok(false);
        }
        self.budget.enter()?;
        let mut equal = true;
        for ((left_key, left), (right_key, right)) in left.iter().zip(right.iter()) {
            if left_key != right_key || !self.deep_equal(left, right)? {
                equal = false;
                break;
            }
        }
        self.budget.leave();
        Ok(equal)
    }
}

/// A failure of this crate itself: said instead of a panic.
pub(crate) fn internal(what: &str) -> Fault {
    Fault::Wrong(format!("internal error: {what}"))
}

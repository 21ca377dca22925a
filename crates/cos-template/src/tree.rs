//! A parsed template.

use std::collections::BTreeMap;
use std::rc::Rc;

/// A parsed text: its own body and the templates that it defines.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) body: Rc<[Node]>,
    pub(crate) defined: BTreeMap<Rc<str>, Rc<[Node]>>,
}

/// A part of a body. `at` is the byte where it stands in the text.
#[derive(Debug)]
pub(crate) enum Node {
    Text { at: usize, text: Rc<str> },
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Range),
    Template(Call),
    Break { at: usize },
    Continue { at: usize },
}

/// `if` or `with`, with every `else if` as a further arm: a long chain must not nest.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) arms: Vec<(Pipe, Vec<Node>)>,
    pub(crate) otherwise: Vec<Node>,
}

/// `range`
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) at: usize,
    pub(crate) pipe: Pipe,
    pub(crate) body: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

/// `template`, or where a `block` stood.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) at: usize,
    pub(crate) name: Rc<str>,
    pub(crate) pipe: Option<Pipe>,
}

/// Commands of which each gets the value of the one before as its last argument.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) at: usize,
    /// Variables that get the value.
    pub(crate) declared: Vec<Rc<str>>,
    /// `=` and not `:=`
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

/// A function or value and what is passed to it; never empty.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) at: usize,
    pub(crate) first: Term,
    pub(crate) arguments: Vec<Term>,
}

/// An operand.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) at: usize,
    pub(crate) kind: TermKind,
}

/// The kinds of operands.
#[derive(Debug)]
pub(crate) enum TermKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    Function(&'static crate::functions::Function),
    /// `.a.b`
    Field(Vec<Rc<str>>),
    /// `$x.a.b`
    Variable(Rc<str>, Vec<Rc<str>>),
    Pipe(Box<Pipe>),
    /// `(…).a.b` or `function.a.b`
    Chain(Box<Term>, Vec<Rc<str>>),
}

/// A number as it was written: which type it gets depends on where it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number {
    /// As an integer, if it is one.
    pub(crate) int: Option<i64>,
    /// As a floating-point number.
    pub(crate) float: f64,
    /// Whether it was written as one.
    pub(crate) is_float: bool,
}

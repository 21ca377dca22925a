//! Runs a parsed template.

use crate::error::Located;
use crate::format::{self, NO_VALUE};
use crate::functions::{Function, Param};
use crate::limits::Fault;
use crate::tree::{Branch, Call, Command, Node, Number, Pipe, Range, Term, TermKind, Tree};
use crate::value::{Scope, Value};
use std::rc::Rc;

type Run<T> = Result<T, Located>;

/// How a body ended.
enum Flow {
    Through,
    Break,
    Continue,
}

struct Executor<'t, 's, 'e> {
    tree: &'t Tree,
    scope: &'s mut Scope<'e>,
    variables: Vec<(Rc<str>, Value)>,
    out: String,
}

/// Runs `tree` with `data` as its dot.
pub(crate) fn execute(tree: &Tree, scope: &mut Scope<'_>, data: &Value) -> Run<String> {
    let mut executor = Executor {
        tree,
        scope,
        variables: vec![("$".into(), data.clone())],
        out: String::new(),
    };
    executor.body(&tree.body, data)?;
    Ok(executor.out)
}

fn at(place: usize) -> impl Fn(Fault) -> Located {
    move |fault| Located::fault(place, fault)
}

impl Executor<'_, '_, '_> {
    fn print(&mut self, place: usize, text: &str) -> Run<()> {
        self.scope.budget.emit(text.len()).map_err(at(place))?;
        self.out.push_str(text);
        Ok(())
    }

    fn body(&mut self, nodes: &[Node], dot: &Value) -> Run<Flow> {
        for node in nodes {
            match self.node(node, dot)? {
                Flow::Through => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Through)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Run<Flow> {
        match node {
            Node::Text { at: place, text } => self.print(*place, text)?,
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.declared.is_empty() {
                    self.show(pipe.at, &value)?;
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(range) => return self.range(range, dot),
            Node::Template(call) => self.template(call, dot)?,
            Node::Break { at: place } => {
                self.scope.budget.step(1).map_err(at(*place))?;
                return Ok(Flow::Break);
            }
            Node::Continue { at: place } => {
                self.scope.budget.step(1).map_err(at(*place))?;
                return Ok(Flow::Continue);
            }
        }
        Ok(Flow::Through)
    }

    fn show(&mut self, place: usize, value: &Value) -> Run<()> {
        match value {
            Value::Nil => self.print(place, NO_VALUE),
            Value::Text(text) => self.print(place, text),
            value => {
                let text = format::text_of(self.scope, value).map_err(at(place))?;
                self.print(place, &text)
            }
        }
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, changes_dot: bool) -> Run<Flow> {
        let mark = self.variables.len();
        let place = branch.arms.first().map_or(0, |(pipe, _)| pipe.at);
        self.scope.budget.enter().map_err(at(place))?;
        let mut chosen = (&branch.otherwise[..], dot.clone());
        for (pipe, nodes) in &branch.arms {
            let value = self.pipe(pipe, dot)?;
            if self.scope.is_true(&value) {
                let inner = if changes_dot { value } else { dot.clone() };
                chosen = (nodes, inner);
                break;
            }
        }
        let flow = self.body(chosen.0, &chosen.1)?;
        self.scope.budget.leave();
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, range: &Range, dot: &Value) -> Run<Flow> {
        let mark = self.variables.len();
        self.scope.budget.enter().map_err(at(range.at))?;
        let value = self.pipe(&range.pipe, dot)?;
        let inside = self.variables.len();
        let mut ran = false;
        let mut iterate = |executor: &mut Self, index: Value, item: Value| {
            ran = true;
            executor.iteration(range, index, &item, inside)
        };
        match value {
            Value::List(list) => {
                let items = self.scope.items(list).map_err(at(range.at))?;
                for (index, item) in (0i64..).zip(items.iter()) {
                    if matches!(iterate(self, Value::Int(index), item.clone())?, Flow::Break) {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in self.scope.entries(map).map_err(at(range.at))? {
                    if matches!(iterate(self, Value::Text(key), item)?, Flow::Break) {
                        break;
                    }
                }
            }
            Value::Int(count) if range.pipe.declared.len() < 2 => {
                for number in 0..count.max(0) {
                    if matches!(
                        iterate(self, Value::Int(number), Value::Int(number))?,
                        Flow::Break
                    ) {
                        break;
                    }
                }
            }
            Value::Nil => {}
            value => {
                let message = format!("range cannot go over a {}", value.type_name());
                return Err(Located::fault(range.at, message));
            }
        }
        let flow = if ran {
            Flow::Through
        } else {
            self.body(&range.otherwise, dot)?
        };
        self.scope.budget.leave();
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn iteration(&mut self, range: &Range, index: Value, item: &Value, mark: usize) -> Run<Flow> {
        self.scope.budget.step(1).map_err(at(range.at))?;
        let pairs = match range.pipe.declared.as_slice() {
            [] => vec![],
            [one] => vec![(one, item.clone())],
            [first, second, ..] => vec![(first, index), (second, item.clone())],
        };
        for (name, value) in pairs {
            self.assign(range.at, name, value)?;
        }
        let flow = self.body(&range.body, item)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn template(&mut self, call: &Call, dot: &Value) -> Run<()> {
        let data = match &call.pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        let tree = self.tree;
        let Some(body) = tree.defined.get(&call.name) else {
            let message = format!("template {:?} is not defined", call.name);
            return Err(Located::fault(call.at, message));
        };
        self.scope.budget.step(1).map_err(at(call.at))?;
        self.scope.budget.enter().map_err(at(call.at))?;
        let variables = vec![("$".into(), data.clone())];
        let outer = std::mem::replace(&mut self.variables, variables);
        self.body(body, &data)?;
        self.variables = outer;
        self.scope.budget.leave();
        Ok(())
    }

    /// Gives a variable that exists a new value: the one declared last of that name.
    fn assign(&mut self, place: usize, name: &str, value: Value) -> Run<()> {
        let mut variables = self.variables.iter_mut().rev();
        match variables.find(|(known, _)| &**known == name) {
            Some((_, slot)) => {
                *slot = value;
                Ok(())
            }
            None => {
                let message = format!("undefined variable \"{name}\"");
                Err(Located::fault(place, message))
            }
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Run<Value> {
        self.scope.budget.step(1).map_err(at(pipe.at))?;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipe.declared {
            if pipe.assigns {
                self.assign(pipe.at, name, value.clone())?;
            } else {
                self.variables.push((Rc::clone(name), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Run<Value> {
        let first = &command.first;
        match &first.kind {
            TermKind::Function(function) => {
                return self.call(function, first.at, &command.arguments, dot, piped);
            }
            TermKind::Nil => return Err(Located::fault(first.at, "nil is not a command")),
            _ => {}
        }
        if let TermKind::Field(path) = &first.kind
            && (piped.is_some() || !command.arguments.is_empty())
        {
            // Of what is not there, Go does not mind the arguments.
            let (last, before) = path.split_last().map_or(("", &[][..]), |(l, b)| (l, b));
            let holder = self.fields(first.at, dot.clone(), before)?;
            if matches!(holder, Value::Nil) {
                return Ok(Value::Nil);
            }
            let message = format!("{last} is not a method but has arguments");
            return Err(Located::fault(first.at, message));
        }
        if piped.is_some() || !command.arguments.is_empty() {
            let message = "cannot give an argument to something that is no function";
            return Err(Located::fault(first.at, message));
        }
        self.term(first, dot)
    }

    /// The value of an operand.
    fn term(&mut self, term: &Term, dot: &Value) -> Run<Value> {
        Ok(match &term.kind {
            TermKind::Dot => dot.clone(),
            TermKind::Nil => Value::Nil,
            TermKind::Bool(is) => Value::Bool(*is),
            TermKind::Number(number) => ideal(*number),
            TermKind::Text(text) => Value::Text(Rc::clone(text)),
            TermKind::Function(function) => self.call(function, term.at, &[], dot, None)?,
            TermKind::Field(path) => self.fields(term.at, dot.clone(), path)?,
            TermKind::Variable(name, path) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let Some((_, value)) = known else {
                    let message = format!("undefined variable \"{name}\"");
                    return Err(Located::fault(term.at, message));
                };
                let value = value.clone();
                self.fields(term.at, value, path)?
            }
            TermKind::Pipe(pipe) => {
                self.scope.budget.enter().map_err(at(term.at))?;
                let value = self.pipe(pipe, dot)?;
                self.scope.budget.leave();
                value
            }
            TermKind::Chain(inner, path) => {
                let value = self.term(inner, dot)?;
                self.fields(term.at, value, path)?
            }
        })
    }

    fn fields(&mut self, place: usize, start: Value, path: &[Rc<str>]) -> Run<Value> {
        let mut value = start;
        for (index, name) in path.iter().enumerate() {
            value = match &value {
                // What is missing stays missing; a null that is there has no fields.
                Value::Nil => return Ok(Value::Nil),
                Value::Map(map) => match self.scope.get(*map, name) {
                    Some(Value::Nil) if index + 1 < path.len() => {
                        let message = format!("{name} is null and has no {}", path[index + 1]);
                        return Err(Located::fault(place, message));
                    }
                    found => found.unwrap_or(Value::Nil),
                },
                Value::Version(version) => {
                    let version = Rc::clone(version);
                    let field = version.field(self.scope, name).map_err(at(place))?;
                    field.ok_or_else(|| no_field(place, name, &value))?
                }
                value => return Err(no_field(place, name, value)),
            };
        }
        Ok(value)
    }

    fn call(
        &mut self,
        function: &'static Function,
        place: usize,
        arguments: &[Term],
        dot: &Value,
        piped: Option<Value>,
    ) -> Run<Value> {
        let count = arguments.len() + usize::from(piped.is_some());
        function.check_count(count).map_err(at(place))?;
        if matches!(function.name, "and" | "or") {
            return self.decide(function.name == "or", arguments, dot, piped);
        }
        let mut values = Vec::with_capacity(count);
        for (index, argument) in arguments.iter().enumerate() {
            let param = function.param(index).unwrap_or(Param::Any);
            values.push(self.argument(argument, param, dot, function.name)?);
        }
        if let Some(value) = piped {
            let param = function.param(arguments.len()).unwrap_or(Param::Any);
            check(param, &value, place, function.name)?;
            values.push(value);
        }
        function.call(self.scope, &values).map_err(at(place))
    }

    /// `and` and `or` stop at the first value that decides.
    fn decide(
        &mut self,
        decides: bool,
        arguments: &[Term],
        dot: &Value,
        piped: Option<Value>,
    ) -> Run<Value> {
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.term(argument, dot)?;
            if self.scope.is_true(&value) == decides {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    /// An argument of the type that the function wants: constants fit more than one.
    fn argument(&mut self, term: &Term, param: Param, dot: &Value, function: &str) -> Run<Value> {
        if let TermKind::Number(number) = &term.kind {
            match (param, number.int) {
                (Param::Int, Some(int)) => return Ok(Value::Int(int)),
                (Param::Float, _) => return Ok(Value::Float(number.float)),
                _ => {}
            }
        }
        let value = self.term(term, dot)?;
        check(param, &value, term.at, function)?;
        Ok(value)
    }
}

/// Checks that `function` takes the value.
fn check(param: Param, value: &Value, place: usize, function: &str) -> Run<()> {
    param
        .check(value)
        .map_err(|message| Located::fault(place, format!("{function}: {message}")))
}

fn no_field(place: usize, name: &str, value: &Value) -> Located {
    let message = format!("a {} has no field {name}", value.type_name());
    Located::fault(place, message)
}

/// The type that a number has where nothing wants another.
fn ideal(number: Number) -> Value {
    match number.int {
        Some(int) if !number.is_float => Value::Int(int),
        _ => Value::Float(number.float),
    }
}

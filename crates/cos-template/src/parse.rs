//! From tokens to a tree, with the checks that Go makes before anything runs: blocks are closed,
//! functions and variables exist, `break` stands in a loop.

use crate::error::{Located, What};
use crate::lex::{Kind, Token, tokens};
use crate::limits::{Fault, LimitKind};
use crate::literal;
use crate::tree::{Branch, Call, Command, Node, Pipe, Range, Term, TermKind, Tree};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most variables that can be seen in one place: they are searched one by one.
const MAX_VARIABLES: usize = 1000;

type Parsed<T> = Result<T, Located>;

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    variables: Vec<&'a str>,
    loops: usize,
    depth: usize,
    defined: BTreeMap<Rc<str>, Rc<[Node]>>,
}

/// Parses a template whose blocks and parentheses nest no deeper than `depth`.
pub(crate) fn parse(text: &str, depth: usize) -> Parsed<Tree> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        variables: vec!["$"],
        loops: 0,
        depth,
        defined: BTreeMap::new(),
    };
    let mut body = Vec::new();
    while parser.peek().kind != Kind::End {
        if let Some(at) = parser.at_keyword("define") {
            parser.definition(at)?;
        } else if let Some(node) = parser.node()? {
            body.push(node);
        } else {
            let word = parser.ahead();
            let message = format!("unexpected {{{{{}}}}}", word.text);
            return Err(Located::parse(word.at, message));
        }
    }
    Ok(Tree {
        body: body.into(),
        defined: parser.defined,
    })
}

/// Whether a body prints nothing but spaces, which Go takes as not there.
fn is_blank(nodes: &[Node]) -> bool {
    nodes
        .iter()
        .all(|node| matches!(node, Node::Text { text, .. } if text.trim().is_empty()))
}

impl<'a> Parser<'a> {
    /// The next token.
    fn peek(&self) -> Token<'a> {
        let last = Token {
            kind: Kind::End,
            text: "",
            at: 0,
        };
        let token = self.tokens.get(self.next).or(self.tokens.last());
        token.copied().unwrap_or(last)
    }

    fn bump(&mut self) -> Token<'a> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn skip_space(&mut self) {
        if self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn peek_word(&mut self) -> Token<'a> {
        self.skip_space();
        self.peek()
    }

    fn bump_word(&mut self) -> Token<'a> {
        self.skip_space();
        self.bump()
    }

    /// The first word after the delimiter that is next.
    fn ahead(&self) -> Token<'a> {
        let mut words = self.tokens[self.next.min(self.tokens.len())..]
            .iter()
            .skip(1);
        let word = words.find(|token| token.kind != Kind::Space);
        word.copied().unwrap_or_else(|| self.peek())
    }

    /// Whether an action that starts with `keyword` is next, and where.
    fn at_keyword(&self, keyword: &str) -> Option<usize> {
        let word = self.ahead();
        let is =
            self.peek().kind == Kind::Left && word.kind == Kind::Keyword && word.text == keyword;
        is.then_some(word.at)
    }

    /// Takes the delimiter and the keyword that [`Parser::at_keyword`] saw.
    fn take_keyword(&mut self) {
        self.bump();
        self.bump_word();
    }

    fn enter(&mut self, at: usize) -> Parsed<()> {
        match self.depth.checked_sub(1) {
            Some(left) => {
                self.depth = left;
                Ok(())
            }
            None => Err(Located::fault(at, Fault::Limit(LimitKind::Depth))),
        }
    }

    fn unexpected(token: Token<'_>, context: &str) -> Located {
        let message = match token.kind {
            Kind::End => "unexpected end of the template".to_owned(),
            Kind::Right => format!("missing value for {context}"),
            _ => format!("unexpected {:?} in {context}", token.text),
        };
        Located::parse(token.at, message)
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token<'a>> {
        let token = self.bump_word();
        if token.kind == kind {
            return Ok(token);
        }
        let message = match token.kind {
            Kind::End => "unexpected end of the template".to_owned(),
            _ => format!("unexpected {:?} in {context}", token.text),
        };
        Err(Located::parse(token.at, message))
    }

    /// A text or action; nothing where `end` or `else` is next.
    fn node(&mut self) -> Parsed<Option<Node>> {
        let token = self.peek();
        if token.kind == Kind::Text {
            self.bump();
            return Ok(Some(Node::Text {
                at: token.at,
                text: token.text.into(),
            }));
        }
        let word = self.ahead();
        if word.kind != Kind::Keyword {
            self.bump();
            let pipe = self.pipe("command", Kind::Right)?;
            return Ok(Some(Node::Action(pipe)));
        }
        if matches!(word.text, "end" | "else") {
            return Ok(None);
        }
        self.take_keyword();
        self.enter(word.at)?;
        let node = match word.text {
            "if" => Node::If(self.branch("if")?),
            "with" => Node::With(self.branch("with")?),
            "range" => Node::Range(self.range(word.at)?),
            "block" => Node::Template(self.block(word.at)?),
            "template" => Node::Template(self.call(word.at)?),
            "break" | "continue" => self.jump(word)?,
            _ => return Err(Self::unexpected(word, "command")),
        };
        self.depth += 1;
        Ok(Some(node))
    }

    /// Nodes up to the `end` or `else` that is next.
    fn nodes(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            let token = self.peek();
            if token.kind == Kind::End {
                return Err(Located::parse(
                    token.at,
                    "unexpected end of the template: a block is not closed with {{end}}",
                ));
            }
            match self.node()? {
                Some(node) => nodes.push(node),
                None => return Ok(nodes),
            }
        }
    }

    fn end(&mut self) -> Parsed<()> {
        if self.at_keyword("end").is_none() {
            return Err(Located::parse(
                self.ahead().at,
                "expected {{end}}, found {{else}}",
            ));
        }
        self.take_keyword();
        self.expect(Kind::Right, "end").map(drop)
    }

    fn branch(&mut self, keyword: &'static str) -> Parsed<Branch> {
        let scope = self.variables.len();
        let mut arms = Vec::new();
        loop {
            let pipe = self.pipe(keyword, Kind::Right)?;
            let nodes = self.nodes()?;
            arms.push((pipe, nodes));
            if self.at_keyword("else").is_none() {
                break;
            }
            self.take_keyword();
            let word = self.peek_word();
            if word.kind == Kind::Keyword && word.text == keyword {
                self.bump();
                continue;
            }
            self.expect(Kind::Right, "else")?;
            let otherwise = self.nodes()?;
            self.end()?;
            self.variables.truncate(scope);
            return Ok(Branch { arms, otherwise });
        }
        self.end()?;
        self.variables.truncate(scope);
        Ok(Branch {
            arms,
            otherwise: Vec::new(),
        })
    }

    fn range(&mut self, at: usize) -> Parsed<Range> {
        let scope = self.variables.len();
        let pipe = self.pipe("range", Kind::Right)?;
        self.loops += 1;
        let body = self.nodes()?;
        self.loops -= 1;
        let mut otherwise = Vec::new();
        if self.at_keyword("else").is_some() {
            self.take_keyword();
            self.expect(Kind::Right, "else")?;
            otherwise = self.nodes()?;
        }
        self.end()?;
        self.variables.truncate(scope);
        Ok(Range {
            at,
            pipe,
            body,
            otherwise,
        })
    }

    fn jump(&mut self, word: Token<'a>) -> Parsed<Node> {
        if self.loops == 0 {
            let message = format!("{{{{{}}}}} outside {{{{range}}}}", word.text);
            return Err(Located::parse(word.at, message));
        }
        self.expect(Kind::Right, word.text)?;
        Ok(if word.text == "break" {
            Node::Break { at: word.at }
        } else {
            Node::Continue { at: word.at }
        })
    }

    fn template_name(&mut self, context: &str) -> Parsed<Rc<str>> {
        let token = self.bump_word();
        if !matches!(token.kind, Kind::Quoted | Kind::Raw) {
            return Err(Self::unexpected(token, context));
        }
        Ok(text_of(token)?.into())
    }

    fn call(&mut self, at: usize) -> Parsed<Call> {
        let name = self.template_name("template clause")?;
        let pipe = if self.peek_word().kind == Kind::Right {
            self.bump();
            None
        } else {
            Some(self.pipe("template clause", Kind::Right)?)
        };
        Ok(Call { at, name, pipe })
    }

    fn block(&mut self, at: usize) -> Parsed<Call> {
        let name = self.template_name("block clause")?;
        let pipe = self.pipe("block clause", Kind::Right)?;
        self.defined_body(at, Rc::clone(&name))?;
        Ok(Call {
            at,
            name,
            pipe: Some(pipe),
        })
    }

    fn definition(&mut self, at: usize) -> Parsed<()> {
        self.take_keyword();
        let name = self.template_name("define clause")?;
        self.expect(Kind::Right, "define clause")?;
        self.defined_body(at, name)
    }

    /// The body of a template of its own, which sees no variable from outside.
    fn defined_body(&mut self, at: usize, name: Rc<str>) -> Parsed<()> {
        let outer = std::mem::replace(&mut self.variables, vec!["$"]);
        let loops = std::mem::take(&mut self.loops);
        let body = self.nodes()?;
        self.end()?;
        self.variables = outer;
        self.loops = loops;
        match self.defined.get(&name) {
            Some(known) if !is_blank(known) => {
                if is_blank(&body) {
                    return Ok(());
                }
                let message = format!("multiple definition of template {name:?}");
                Err(Located::parse(at, message))
            }
            _ => {
                self.defined.insert(name, body.into());
                Ok(())
            }
        }
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let at = self.peek_word().at;
        let (declared, assigns) = self.declaration(context)?;
        let mut commands = Vec::new();
        loop {
            let token = self.peek_word();
            if token.kind == end {
                self.bump();
                break;
            }
            if !is_operand(token.kind) {
                return Err(Self::unexpected(token, context));
            }
            commands.push(self.command()?);
        }
        if commands.is_empty() {
            return Err(Located::parse(at, format!("missing value for {context}")));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            let constant = matches!(
                command.first.kind,
                TermKind::Bool(_)
                    | TermKind::Dot
                    | TermKind::Nil
                    | TermKind::Number(_)
                    | TermKind::Text(_)
            );
            if constant {
                let message = format!("non executable command in pipeline stage {}", index + 1);
                return Err(Located::parse(command.at, message));
            }
        }
        Ok(Pipe {
            at,
            declared,
            assigns,
            commands,
        })
    }

    /// `$x :=`, `$x =`, and in a `range` two variables.
    fn declaration(&mut self, context: &str) -> Parsed<(Vec<Rc<str>>, bool)> {
        let mut declared: Vec<Rc<str>> = Vec::new();
        loop {
            let start = self.next;
            let variable = self.peek_word();
            if variable.kind != Kind::Variable {
                return Ok((declared, false));
            }
            self.bump();
            let sign = self.peek_word();
            if !matches!(sign.kind, Kind::Assign | Kind::Declare | Kind::Comma) {
                self.next = start;
                return Ok((declared, false));
            }
            self.bump();
            declared.push(variable.text.into());
            self.variables.push(variable.text);
            if self.variables.len() > MAX_VARIABLES {
                let message = format!("more than {MAX_VARIABLES} variables");
                return Err(Located::parse(variable.at, message));
            }
            if sign.kind != Kind::Comma {
                return Ok((declared, sign.kind == Kind::Assign));
            }
            if context != "range" || declared.len() > 1 {
                let message = format!("too many declarations in {context}");
                return Err(Located::parse(sign.at, message));
            }
            if !matches!(
                self.peek_word().kind,
                Kind::Variable | Kind::Right | Kind::RightParen
            ) {
                let message = "range can only initialize variables";
                return Err(Located::parse(sign.at, message));
            }
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let at = self.peek().at;
        let mut terms = Vec::new();
        loop {
            self.skip_space();
            if let Some(term) = self.operand()? {
                terms.push(term);
            }
            let token = self.peek();
            match token.kind {
                Kind::Space => {}
                Kind::Right | Kind::RightParen => break,
                Kind::Pipe => {
                    self.bump();
                    break;
                }
                _ => return Err(Self::unexpected(token, "operand")),
            }
        }
        let mut terms = terms.into_iter();
        let Some(first) = terms.next() else {
            return Err(Located::parse(at, "empty command"));
        };
        Ok(Command {
            at,
            first,
            arguments: terms.collect(),
        })
    }

    /// A term and the fields behind it.
    fn operand(&mut self) -> Parsed<Option<Term>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let field_at = self.peek().at;
        let mut fields: Vec<Rc<str>> = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.bump().text[1..].into());
        }
        let at = term.at;
        let kind = match term.kind {
            TermKind::Field(mut path) => {
                path.append(&mut fields);
                TermKind::Field(path)
            }
            TermKind::Variable(name, mut path) => {
                path.append(&mut fields);
                TermKind::Variable(name, path)
            }
            TermKind::Function(_) | TermKind::Pipe(_) | TermKind::Chain(..) => {
                TermKind::Chain(Box::new(term), fields)
            }
            _ => return Err(Located::parse(field_at, "unexpected . after a constant")),
        };
        Ok(Some(Term { at, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Term>> {
        let token = self.peek_word();
        let kind = match token.kind {
            Kind::Identifier => match crate::functions::find(token.text) {
                Some(function) => TermKind::Function(function),
                None => {
                    return Err(Located {
                        at: token.at,
                        what: What::UnknownFunction(token.text.to_owned()),
                    });
                }
            },
            Kind::Dot => TermKind::Dot,
            Kind::Nil => TermKind::Nil,
            Kind::Bool => TermKind::Bool(token.text == "true"),
            Kind::Field => TermKind::Field(vec![token.text[1..].into()]),
            Kind::Variable if self.variables.contains(&token.text) => {
                TermKind::Variable(token.text.into(), Vec::new())
            }
            Kind::Variable => {
                let message = format!("undefined variable \"{}\"", token.text);
                return Err(Located::parse(token.at, message));
            }
            Kind::Number => match literal::number(token.text) {
                Some(number) => TermKind::Number(number),
                None => {
                    let message = format!("bad number or character {}", token.text);
                    return Err(Located::parse(token.at, message));
                }
            },
            Kind::Quoted | Kind::Raw => TermKind::Text(text_of(token)?.into()),
            Kind::LeftParen => {
                self.bump();
                self.enter(token.at)?;
                let pipe = self.pipe("parenthesized pipeline", Kind::RightParen)?;
                self.depth += 1;
                let kind = TermKind::Pipe(Box::new(pipe));
                return Ok(Some(Term { at: token.at, kind }));
            }
            _ => return Ok(None),
        };
        self.bump();
        Ok(Some(Term { at: token.at, kind }))
    }
}

fn is_operand(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Bool
            | Kind::Dot
            | Kind::Field
            | Kind::Identifier
            | Kind::LeftParen
            | Kind::Nil
            | Kind::Number
            | Kind::Quoted
            | Kind::Raw
            | Kind::Variable
    )
}

fn text_of(token: Token<'_>) -> Parsed<String> {
    let text = match token.kind {
        Kind::Raw => Some(token.text[1..token.text.len() - 1].to_owned()),
        _ => literal::unquote(token.text),
    };
    text.ok_or_else(|| Located::parse(token.at, "bad escape in a quoted text"))
}

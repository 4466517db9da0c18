//! Tokens of a template → trees (the parser of Go's text/template), with Go's error texts.
//!
//! One parser reads the whole text; `define` and `block` put their trees beside the main one.

use std::collections::BTreeMap;

use super::lex;
use super::node::{Branch, Invocation, List, Node, Tree, is_empty};
use super::token::{Kind, Token};
use crate::cli::strconv::quote;

/// How deep parentheses and control structures may nest; Go stops at 10,000, our stack is smaller.
const DEPTH_MAX: usize = 100;

/// Returns the trees of `text` by name, the whole text as "".
///
/// `is_function` says which names are functions. The error is one line: `template: :1: unclosed action`.
pub(super) fn parse(
    text: &str,
    is_function: fn(&str) -> bool,
) -> Result<BTreeMap<String, Tree>, String> {
    let mut parser = Parser {
        tokens: lex::lex(text),
        next: 0,
        furthest: 0,
        scope: Scope::default(),
        depth: 0,
        action_line: 0,
        trees: BTreeMap::new(),
        is_function,
    };
    let root = parser.main()?;
    parser.add(String::new(), root)?;
    Ok(parser.trees)
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    pub(super) next: usize,
    /// The last token that was looked at: its line is the line of errors.
    furthest: usize,
    pub(super) scope: Scope,
    pub(super) depth: usize,
    action_line: usize,
    trees: BTreeMap<String, Tree>,
    pub(super) is_function: fn(&str) -> bool,
}

/// What a definition does not share with the text around it.
pub(super) struct Scope {
    pub(super) variables: Vec<String>,
    range_depth: usize,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope {
            variables: vec!["$".to_owned()],
            range_depth: 0,
        }
    }
}

/// What can stand in a list: nodes, and what ends it.
enum Item {
    Node(Node),
    Else,
    End,
}

impl Item {
    fn describe(&self) -> String {
        match self {
            Item::Node(node) => node.to_string(),
            Item::Else => "{{else}}".to_owned(),
            Item::End => "{{end}}".to_owned(),
        }
    }
}

pub(super) type Parsed<T> = Result<T, String>;

impl Parser {
    pub(super) fn peek(&mut self) -> &Token {
        self.furthest = self.furthest.max(self.next);
        &self.tokens[self.next]
    }

    /// The last token, `Eof` or `Error`, is never stepped over.
    pub(super) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    pub(super) fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    pub(super) fn peek_word(&mut self) -> &Token {
        self.skip_space();
        self.peek()
    }

    pub(super) fn take_word(&mut self) -> Token {
        self.skip_space();
        self.take()
    }

    pub(super) fn fail<T>(&self, message: impl std::fmt::Display) -> Parsed<T> {
        let line = self.tokens[self.furthest].line;
        Err(format!("template: :{line}: {message}"))
    }

    pub(super) fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind != Kind::Error {
            return self.fail(format!("unexpected {} in {context}", token.describe()));
        }
        let mut started = String::new();
        if self.action_line != 0 && self.action_line != token.line {
            // "unclosed action" becomes "unclosed action started at".
            let action = if token.text.ends_with(" action") {
                ""
            } else {
                " in action"
            };
            started = format!("{action} started at :{}", self.action_line);
        }
        self.fail(format!("{}{started}", token.describe()))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.take_word();
        if token.kind != kind {
            return self.unexpected(&token, context);
        }
        Ok(token)
    }

    fn add(&mut self, name: String, root: List) -> Parsed<()> {
        if let Some(present) = self.trees.get(&name)
            && !is_empty(&present.root)
        {
            if !is_empty(&root) {
                let name = quote::quote(&name);
                return self.fail(format!("template: multiple definition of template {name}"));
            }
            return Ok(());
        }
        self.trees.insert(name, Tree { root });
        Ok(())
    }

    /// The whole text: as a list, but with definitions.
    fn main(&mut self) -> Parsed<List> {
        let mut list = List::new();
        loop {
            match self.peek().kind {
                Kind::Eof => return Ok(list),
                Kind::LeftDelimiter => {
                    let delimiter = self.next;
                    self.take();
                    if self.take_word().kind == Kind::Define {
                        self.definition()?;
                        continue;
                    }
                    self.next = delimiter;
                }
                _ => {}
            }
            match self.text_or_action()? {
                Item::Node(node) => list.push(node),
                end => return self.fail(format!("unexpected {}", end.describe())),
            }
        }
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let token = self.take_word();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(Kind::RightDelimiter, CONTEXT)?;
        self.body(name, CONTEXT)
    }

    /// The body of a definition, up to its end, in a scope of its own.
    fn body(&mut self, name: String, context: &str) -> Parsed<()> {
        let outer = std::mem::take(&mut self.scope);
        let (root, end) = self.item_list()?;
        if !matches!(end, Item::End) {
            return self.fail(format!("unexpected {} in {context}", end.describe()));
        }
        self.scope = outer;
        self.add(name, root)
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Parsed<String> {
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return self.unexpected(token, context);
        }
        self.unquoted(&token.text)
    }

    pub(super) fn unquoted(&mut self, literal: &str) -> Parsed<String> {
        match quote::unquote(literal) {
            Some(text) => Ok(text),
            None => self.fail("invalid syntax"),
        }
    }

    /// Nodes up to an `else` or `end`, which is returned too.
    fn item_list(&mut self) -> Parsed<(List, Item)> {
        let mut list = List::new();
        while self.peek_word().kind != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => list.push(node),
                end => return Ok((list, end)),
            }
        }
        self.fail("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.take_word();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text))),
            Kind::LeftDelimiter => {
                self.action_line = token.line;
                let item = self.action();
                self.action_line = 0;
                item
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let start = self.next;
        let token = self.take_word();
        let node = match token.kind {
            Kind::Block => self.block()?,
            Kind::Break => self.loop_control(Node::Break)?,
            Kind::Continue => self.loop_control(Node::Continue)?,
            Kind::Else => {
                if !matches!(self.peek_word().kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelimiter, "else")?;
                }
                return Ok(Item::Else);
            }
            Kind::End => {
                self.expect(Kind::RightDelimiter, "end")?;
                return Ok(Item::End);
            }
            Kind::If => Node::If(self.control("if")?),
            Kind::Range => Node::Range(self.control("range")?),
            Kind::With => Node::With(self.control("with")?),
            Kind::Template => self.template()?,
            _ => {
                self.next = start;
                self.skip_space();
                Node::Action(self.pipeline("command", Kind::RightDelimiter)?)
            }
        };
        Ok(Item::Node(node))
    }

    fn loop_control(&mut self, node: Node) -> Parsed<Node> {
        let token = self.take_word();
        if token.kind != Kind::RightDelimiter {
            return self.unexpected(&token, &node.to_string());
        }
        if self.scope.range_depth == 0 {
            return self.fail(format!("{node} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.take_word();
        let name = self.template_name(&token, CONTEXT)?;
        let pipeline = self.pipeline(CONTEXT, Kind::RightDelimiter)?;
        self.body(name.clone(), CONTEXT)?;
        Ok(Node::Template(Invocation {
            position: token.position,
            name,
            pipeline: Some(pipeline),
        }))
    }

    fn template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.take_word();
        let name = self.template_name(&token, CONTEXT)?;
        let pipeline = if self.peek_word().kind == Kind::RightDelimiter {
            self.take();
            None
        } else {
            Some(self.pipeline(CONTEXT, Kind::RightDelimiter)?)
        };
        Ok(Node::Template(Invocation {
            position: token.position,
            name,
            pipeline,
        }))
    }

    /// `if`, `with` or `range`, whose keyword was read, up to its end.
    fn control(&mut self, context: &str) -> Parsed<Branch> {
        let variables = self.scope.variables.len();
        self.enter()?;
        let pipeline = self.pipeline(context, Kind::RightDelimiter)?;
        let inner = usize::from(context == "range");
        self.scope.range_depth += inner;
        let (list, end) = self.item_list()?;
        self.scope.range_depth -= inner;
        let mut otherwise = None;
        if matches!(end, Item::Else) {
            // `{{else if x}}` is `{{else}}{{if x}}` without an end of its own; likewise `else with`.
            let next = self.peek().kind;
            otherwise = Some(match (context, next) {
                ("if", Kind::If) => {
                    self.take();
                    vec![Node::If(self.control("if")?)]
                }
                ("with", Kind::With) => {
                    self.take();
                    vec![Node::With(self.control("with")?)]
                }
                _ => {
                    let (list, end) = self.item_list()?;
                    if !matches!(end, Item::End) {
                        return self.fail(format!("expected end; found {}", end.describe()));
                    }
                    list
                }
            });
        }
        self.depth -= 1;
        self.scope.variables.truncate(variables);
        Ok(Branch {
            pipeline,
            list,
            otherwise,
        })
    }

    pub(super) fn enter(&mut self) -> Parsed<()> {
        if self.depth >= DEPTH_MAX {
            return self.fail("max expression depth exceeded");
        }
        self.depth += 1;
        Ok(())
    }
}

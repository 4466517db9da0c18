//! Go's text/template with docker's functions, over values that know Go's types.
//!
//! docker's `--format` is this language, and scripts rely on its printing rules, so it is done in full: lexer, parser,
//! evaluator, fmt verbs, JSON. The crates that exist were tried on the same table of cases and are not faithful enough
//! (see the tests of this file). Refused, where Go has them: imaginary numbers, and depths that our stack does not bear.
//!
//! ```text
//! text ─ lex (token) ─ parse, expression (number) ─▶ trees (node) ─ exec, eval, call ─▶ text
//! docker::… ─ serialize, document (schema) ─▶ Value ────────────────────┘   └─ functions, compare, printf, print, json
//! ```

mod call;
mod compare;
mod document;
mod escape;
mod eval;
mod exec;
mod expression;
mod functions;
mod json;
mod lex;
mod node;
mod number;
mod parse;
mod print;
mod printf;
mod schema;
mod serialize;
#[cfg(test)]
mod tests;
mod token;
pub mod value;

use std::collections::BTreeMap;
use std::fmt;

use exec::Options;
use functions::Set;
use node::{Node, Operand, Pipeline, Term, Tree};
use value::Value;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    text: String,
    trees: BTreeMap<String, Tree>,
}

/// Why a template has no result; prints without docker's `template parsing error: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The text is no template: `template: :1: unclosed action`.
    Parse(String),
    /// It does not go with the value: `template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"`.
    Execute(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Parse(text) | Error::Execute(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Returns the value of a document: its fields in their order, with the types that Go has for them.
///
/// Fails only for what is no document, such as maps whose keys are lists.
pub fn to_value<T: serde::Serialize + ?Sized>(document: &T) -> anyhow::Result<Value> {
    serialize::to_value(document)
}

impl Template {
    /// Parses `text`; the error is [`Error::Parse`].
    pub fn parse(text: &str) -> Result<Template, Error> {
        let trees = parse::parse(text, functions::is_function).map_err(Error::Parse)?;
        Ok(Template {
            text: text.to_owned(),
            trees,
        })
    }

    /// Returns what the template writes with `data` as dot; the error is [`Error::Execute`].
    ///
    /// A map without a key gives `<no value>`, as in docker's lists, `version` and `info`.
    pub fn execute(&self, data: &Value) -> Result<String, Error> {
        self.run(data, Mode::Typed)
    }

    /// Returns what the template writes until it is done or fails, as docker prints it for `version` and `info`.
    pub fn execute_as_far_as_it_goes(&self, data: &Value) -> (String, Result<(), Error>) {
        let options = Mode::Typed.options();
        let (out, result) = exec::execute(&self.text, &self.trees, data, options);
        (out, result.map_err(Error::Execute))
    }

    /// Returns what docker's `inspect` writes: fields by their names in Go first, the plain JSON second.
    ///
    /// What both refuse is tried once more with both sorts of names, which docker does not do; the error is that of the
    /// JSON, as docker's.
    pub fn inspect(&self, data: &Value) -> Result<String, Error> {
        let typed = self.run(data, Mode::Typed);
        if typed.is_ok() {
            return typed;
        }
        let plain = self.run(&value::untyped(data), Mode::Plain);
        if plain.is_ok() {
            return plain;
        }
        self.run(data, Mode::Both).or(plain)
    }

    /// Returns the first line of a table: what the template writes for the names of the columns, up to its first error.
    pub fn header(&self, header: &Value) -> String {
        let options = Options {
            missing_is_error: false,
            lenient: false,
            set: Set::Header,
        };
        exec::execute(&self.text, &self.trees, header, options).0
    }

    /// Returns whether the template uses the field `name` of dot or of `$` anywhere, or prints all of it.
    pub fn uses(&self, name: &str) -> bool {
        self.trees
            .values()
            .any(|tree| tree.root.iter().any(|node| node_uses(node, name)))
    }

    fn run(&self, data: &Value, mode: Mode) -> Result<String, Error> {
        let (out, result) = exec::execute(&self.text, &self.trees, data, mode.options());
        result.map(|()| out).map_err(Error::Execute)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Names of Go.
    Typed,
    /// JSON without types; a missing key is an error.
    Plain,
    /// Names of Go and of JSON.
    Both,
}

impl Mode {
    fn options(self) -> Options {
        Options {
            missing_is_error: self == Mode::Plain,
            lenient: self == Mode::Both,
            set: Set::Values,
        }
    }
}

fn node_uses(node: &Node, name: &str) -> bool {
    let list = |nodes: &[Node]| nodes.iter().any(|node| node_uses(node, name));
    match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(pipeline) => pipeline_uses(pipeline, name),
        Node::Template(invocation) => invocation
            .pipeline
            .as_ref()
            .is_some_and(|pipeline| pipeline_uses(pipeline, name)),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            pipeline_uses(&branch.pipeline, name)
                || list(&branch.list)
                || branch.otherwise.as_deref().is_some_and(list)
        }
    }
}

fn pipeline_uses(pipeline: &Pipeline, name: &str) -> bool {
    let mut operands = pipeline
        .commands
        .iter()
        .flat_map(|command| &command.operands);
    operands.any(|operand| operand_uses(operand, name))
}

fn operand_uses(operand: &Operand, name: &str) -> bool {
    let first = |names: &[String]| names.first().is_some_and(|first| first == name);
    match &operand.term {
        Term::Dot => true,
        Term::Field(names) => first(names),
        Term::Variable(variable, names) => variable == "$" && (names.is_empty() || first(names)),
        Term::Pipeline(pipeline) => pipeline_uses(pipeline, name),
        Term::Chain(inner, names) => operand_uses(inner, name) || first(names),
        Term::Nil | Term::Bool(_) | Term::Number(_) | Term::String(..) | Term::Identifier(_) => {
            false
        }
    }
}

//! The parsed template, and how its parts print in error texts (text/template/parse, Node.String).

use std::fmt;

use super::number::Number;
use crate::cli::strconv::quote;

/// One `define`d template, or the whole text.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) root: List,
}

/// A sequence of nodes.
pub(super) type List = Vec<Node>;

/// What stands in a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(Invocation),
    Break,
    Continue,
}

/// `{{if …}}…{{else}}…{{end}}`, and `with` and `range`.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) list: List,
    pub(super) otherwise: Option<List>,
}

/// `{{template "name" pipeline}}`.
#[derive(Clone, Debug)]
pub(super) struct Invocation {
    pub(super) position: usize,
    pub(super) name: String,
    pub(super) pipeline: Option<Pipeline>,
}

/// `$x, $y := command | command`.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) position: usize,
    /// Whether the variables exist already (`=`, not `:=`).
    pub(super) assigns: bool,
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// Operands with blanks between them; never empty.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

/// An operand and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) position: usize,
    pub(super) term: Term,
}

/// What an operand is.
#[derive(Clone, Debug)]
pub(super) enum Term {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    /// As it was written, and what it means.
    String(String, String),
    /// A function's name.
    Identifier(String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`; the name has its `$`.
    Variable(String, Vec<String>),
    /// `(…)`
    Pipeline(Box<Pipeline>),
    /// `(…).A.B`, or a function's name followed by fields.
    Chain(Box<Operand>, Vec<String>),
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            let between = if index == 0 { "" } else { " | " };
            write!(f, "{between}{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            match &operand.term {
                Term::Pipeline(pipeline) => write!(f, "({pipeline})")?,
                _ => write!(f, "{operand}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |f: &mut fmt::Formatter<'_>, fields: &[String]| {
            fields.iter().try_for_each(|field| write!(f, ".{field}"))
        };
        match &self.term {
            Term::Dot => f.write_str("."),
            Term::Nil => f.write_str("nil"),
            Term::Bool(value) => write!(f, "{value}"),
            Term::Number(number) => f.write_str(&number.text),
            Term::String(quoted, _) => f.write_str(quoted),
            Term::Identifier(name) => f.write_str(name),
            Term::Field(names) => fields(f, names),
            Term::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            Term::Pipeline(pipeline) => write!(f, "{pipeline}"),
            Term::Chain(inner, names) => {
                match &inner.term {
                    Term::Pipeline(pipeline) => write!(f, "({pipeline})")?,
                    _ => write!(f, "{inner}")?,
                }
                fields(f, names)
            }
        }
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", quote::quote(&self.name))?;
        if let Some(pipeline) = &self.pipeline {
            write!(f, " {pipeline}")?;
        }
        f.write_str("}}")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keyword, branch) = match self {
            Node::Text(text) => return f.write_str(text),
            Node::Action(pipeline) => return write!(f, "{{{{{pipeline}}}}}"),
            Node::Template(invocation) => return write!(f, "{invocation}"),
            Node::Break => return f.write_str("{{break}}"),
            Node::Continue => return f.write_str("{{continue}}"),
            Node::If(branch) => ("if", branch),
            Node::With(branch) => ("with", branch),
            Node::Range(branch) => ("range", branch),
        };
        write!(f, "{{{{{keyword} {}}}}}", branch.pipeline)?;
        branch
            .list
            .iter()
            .try_for_each(|node| write!(f, "{node}"))?;
        if let Some(otherwise) = &branch.otherwise {
            f.write_str("{{else}}")?;
            otherwise.iter().try_for_each(|node| write!(f, "{node}"))?;
        }
        f.write_str("{{end}}")
    }
}

/// Whether there is nothing but blanks in `list`; such a definition does not replace another of the same name.
pub(super) fn is_empty(list: &List) -> bool {
    list.iter().all(|node| match node {
        Node::Text(text) => text.trim().is_empty(),
        _ => false,
    })
}

//! The evaluator: walks a tree with a value as dot and writes text (the executor of Go's text/template).
//!
//! What pipelines and calls do is in `eval.rs`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use super::functions::Set;
use super::node::{Branch, Invocation, List, Node, Pipeline, Tree};
use super::printf;
use super::value::Value;
use crate::cli::strconv::quote;

/// How deep templates may call one another; Go stops at 100,000, our stack is smaller.
const CALLS_MAX: usize = 200;
/// How many steps a range over a number may take before it is taken for a mistake.
const STEPS_MAX: i128 = 10_000_000;

/// What the evaluator is asked to do besides the template and the value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Whether a map without the key is an error (`missingkey=error`).
    pub(super) missing_is_error: bool,
    /// Whether what Go's types forbid is done all the same: fields by their names in JSON, any text as a key.
    pub(super) lenient: bool,
    /// The functions.
    pub(super) set: Set,
}

/// Returns what the template writes, and the error that stopped it, if any: what was written before it counts.
pub(super) fn execute(
    text: &str,
    trees: &BTreeMap<String, Tree>,
    data: &Value,
    options: Options,
) -> (String, Result<(), String>) {
    let mut state = State {
        text,
        trees,
        options,
        name: "",
        at: (0, &""),
        variables: vec![("$", data.clone())],
        depth: 0,
        out: String::new(),
    };
    let result = match trees.get("") {
        None => Err("template: : \"\" is an incomplete or empty template".to_owned()),
        Some(tree) => state.list(data, &tree.root).map(|_| ()),
    };
    (state.out, result)
}

pub(super) struct State<'a> {
    text: &'a str,
    trees: &'a BTreeMap<String, Tree>,
    pub(super) options: Options,
    /// Of the definition that runs.
    name: &'a str,
    /// The node that was looked at last, which error texts show, and its position.
    pub(super) at: (usize, &'a dyn Display),
    pub(super) variables: Vec<(&'a str, Value)>,
    depth: usize,
    out: String,
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// A result whose error text says where it happened.
pub(super) type Evaluated<T> = Result<T, String>;

impl<'a> State<'a> {
    /// Returns an error at the node that was looked at last.
    pub(super) fn fail<T>(&self, message: impl Display) -> Evaluated<T> {
        let (position, node) = self.at;
        let before = &self.text[..position];
        let line = 1 + before.matches('\n').count();
        let column = before.rfind('\n').map_or(position, |at| position - at - 1);
        let name = quote::quote(self.name);
        Err(format!(
            "template: :{line}:{column}: executing {name} at <{node}>: {message}"
        ))
    }

    fn list(&mut self, dot: &Value, list: &'a List) -> Evaluated<Flow> {
        for node in list {
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value, node: &'a Node) -> Evaluated<Flow> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Action(pipeline) => {
                let value = self.pipeline(dot, pipeline)?;
                if pipeline.variables.is_empty() {
                    self.print(&value);
                }
            }
            Node::If(branch) => return self.condition(dot, branch, false),
            Node::With(branch) => return self.condition(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template(invocation) => self.invoke(dot, invocation)?,
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, value: &Value) {
        match value {
            Value::Missing | Value::Null => self.out.push_str("<no value>"),
            Value::String(text) => self.out.push_str(text),
            value => self
                .out
                .push_str(&printf::print(std::slice::from_ref(value))),
        }
    }

    fn condition(&mut self, dot: &Value, branch: &'a Branch, with: bool) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipeline)?;
        let flow = if value.truth() {
            self.list(if with { &value } else { dot }, &branch.list)?
        } else if let Some(otherwise) = &branch.otherwise {
            self.list(dot, otherwise)?
        } else {
            Flow::Next
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Value, branch: &'a Branch) -> Evaluated<Flow> {
        let outer = self.variables.len();
        let value = self.pipeline(dot, &branch.pipeline)?;
        let mark = self.variables.len();
        let mut ran = false;
        for (index, element) in self.items(&value, &branch.pipeline)? {
            ran = true;
            self.set_loop_variables(&branch.pipeline, mark, index, &element)?;
            let flow = self.list(&element, &branch.list)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        let flow = match &branch.otherwise {
            Some(otherwise) if !ran => self.list(dot, otherwise)?,
            _ => Flow::Next,
        };
        self.variables.truncate(outer);
        Ok(flow)
    }

    /// What a range goes over: indexes or keys, and elements.
    fn items(
        &self,
        value: &Value,
        pipeline: &Pipeline,
    ) -> Evaluated<Box<dyn Iterator<Item = (Value, Value)>>> {
        let shown = || printf::print(std::slice::from_ref(value));
        Ok(match value {
            Value::List(list) => {
                let list = Rc::clone(list);
                Box::new((0..list.items.len()).map(move |at| {
                    let index = Value::int(i64::try_from(at).unwrap_or(i64::MAX));
                    (index, list.items[at].clone())
                }))
            }
            Value::Map(map) => {
                let map = Rc::clone(map);
                Box::new((0..map.entries.len()).map(move |at| {
                    let (key, element) = &map.entries[at];
                    (Value::String(Rc::clone(key)), element.clone())
                }))
            }
            Value::Integer(count, kind) => {
                if pipeline.variables.len() > 1 {
                    let over = "to iterate over more than one variable";
                    return self.fail(format!("can't use {} {over}", shown()));
                }
                if *count > STEPS_MAX {
                    return self.fail(format!("can't range over more than {STEPS_MAX} numbers"));
                }
                let kind = *kind;
                let number = move |at| Value::Integer(at, kind);
                Box::new((0..*count).map(move |at| (Value::Missing, number(at))))
            }
            Value::Missing => Box::new(std::iter::empty()),
            _ => return self.fail(format!("range can't iterate over {}", shown())),
        })
    }

    /// With one variable it is the element, with two the first is the index.
    fn set_loop_variables(
        &mut self,
        pipeline: &Pipeline,
        mark: usize,
        index: Value,
        element: &Value,
    ) -> Evaluated<()> {
        let names = &pipeline.variables;
        let mut values = vec![element.clone()];
        if names.len() > 1 {
            values.insert(0, index);
        }
        for (at, (name, value)) in names.iter().zip(values).enumerate() {
            if pipeline.assigns {
                self.assign(name, value)?;
            } else {
                self.variables[mark - names.len() + at].1 = value;
            }
        }
        Ok(())
    }

    /// Gives the innermost variable of that name a value.
    pub(super) fn assign(&mut self, name: &str, value: Value) -> Evaluated<()> {
        let mut variables = self.variables.iter_mut().rev();
        match variables.find(|(other, _)| *other == name) {
            Some(variable) => variable.1 = value,
            None => return self.fail(format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn invoke(&mut self, dot: &Value, invocation: &'a Invocation) -> Evaluated<()> {
        self.at = (invocation.position, invocation);
        let Some((name, tree)) = self.trees.get_key_value(&invocation.name) else {
            let name = quote::quote(&invocation.name);
            return self.fail(format!("template {name} not defined"));
        };
        if self.depth == CALLS_MAX {
            let message = format!("exceeded maximum template depth ({CALLS_MAX})");
            return self.fail(message);
        }
        let dot = match &invocation.pipeline {
            Some(pipeline) => self.pipeline(dot, pipeline)?,
            None => Value::Missing,
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let caller = std::mem::replace(&mut self.name, name);
        self.depth += 1;
        self.list(&dot, &tree.root)?;
        self.depth -= 1;
        self.name = caller;
        self.variables = variables;
        Ok(())
    }
}

//! Calls of functions: their arguments, of the types that the function takes.

use super::eval::Arguments;
use super::exec::{Evaluated, State};
use super::functions::{self, Parameter};
use super::node::{Operand, Term};
use super::value::{Integer, Value};
use crate::cli::strconv::quote;

impl<'a> State<'a> {
    /// Calls a function; `site` is what the errors of the function itself show.
    pub(super) fn function(
        &mut self,
        dot: &Value,
        name: &str,
        site: (usize, &'a dyn std::fmt::Display),
        arguments: Arguments<'a>,
    ) -> Evaluated<Value> {
        let Some(signature) = functions::signature(name, self.options.set) else {
            return self.fail(format!("{} is not a defined function", quote::quote(name)));
        };
        let count = arguments.count();
        let Arguments { operands, piped } = arguments;
        let fixed = signature.fixed.len();
        if signature.rest.is_some() && count < fixed {
            let written = operands.len();
            let want = format!("want at least {fixed} got {written}");
            return self.fail(format!("wrong number of args for {name}: {want}"));
        }
        if signature.rest.is_none() && count != fixed {
            let want = format!("want {fixed} got {count}");
            return self.fail(format!("wrong number of args for {name}: {want}"));
        }
        if matches!(name, "and" | "or") {
            return self.decide(dot, name == "or", operands, piped);
        }
        let parameter = |at: usize| {
            let kind = signature.fixed.get(at).copied().or(signature.rest);
            kind.unwrap_or(Parameter::Any)
        };
        let mut values = Vec::with_capacity(count);
        for (index, operand) in operands.iter().enumerate() {
            values.push(self.argument(dot, parameter(index), operand)?);
        }
        if let Some(piped) = piped {
            values.push(self.fits(piped, parameter(values.len()))?);
        }
        let result = if name == "call" {
            let callee = operands
                .first()
                .map_or_else(|| super::printf::print(&values[..1]), ToString::to_string);
            Err(not_callable(&callee, &values[0]))
        } else {
            functions::call(name, self.options, &values)
        };
        result.or_else(|why| {
            self.at = site;
            self.fail(format!("error calling {name}: {why}"))
        })
    }

    /// `and` and `or`: the first argument that decides, or the last.
    fn decide(
        &mut self,
        dot: &Value,
        wanted: bool,
        operands: &'a [Operand],
        piped: Option<Value>,
    ) -> Evaluated<Value> {
        let mut value = Value::Missing;
        for operand in operands {
            value = self.argument(dot, Parameter::Any, operand)?;
            if value.truth() == wanted {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    /// The value of an operand as an argument of type `kind`.
    pub(super) fn argument(
        &mut self,
        dot: &Value,
        kind: Parameter,
        operand: &'a Operand,
    ) -> Evaluated<Value> {
        self.look_at(operand);
        let site = (operand.position, operand as &dyn std::fmt::Display);
        let value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => {
                if matches!(kind, Parameter::String | Parameter::Int) {
                    return self.fail(format!("cannot assign nil to {}", kind.name()));
                }
                Value::Missing
            }
            Term::Field(names) => self.chain(dot, dot.clone(), names, Arguments::NONE)?,
            Term::Variable(name, names) => {
                self.chain(dot, self.variable(name)?, names, Arguments::NONE)?
            }
            Term::Pipeline(pipeline) => self.pipeline(dot, pipeline)?,
            Term::Identifier(name) => self.function(dot, name, site, Arguments::NONE)?,
            Term::Chain(inner, names) => self.chain_node(dot, inner, names, Arguments::NONE)?,
            Term::Bool(_) | Term::Number(_) | Term::String(..) => {
                return self.literal(dot, kind, operand);
            }
        };
        self.fits(value, kind)
    }

    /// A literal as an argument: it must be of the very type.
    fn literal(&mut self, dot: &Value, kind: Parameter, operand: &'a Operand) -> Evaluated<Value> {
        match (kind, &operand.term) {
            (Parameter::Any | Parameter::Interface, _) => self.constant(dot, operand),
            (Parameter::String, Term::String(_, text)) => Ok(Value::string(text)),
            (Parameter::String, _) => self.fail(format!("expected string; found {operand}")),
            (Parameter::Int, Term::Number(number)) if number.integer.is_some() => {
                Ok(Value::int(number.integer.unwrap_or(0)))
            }
            (Parameter::Int, _) => self.fail(format!("expected integer; found {operand}")),
            (Parameter::Strings, _) => {
                self.fail(format!("can't handle {operand} for arg of type []string"))
            }
        }
    }

    /// Returns `value` if it can be an argument of type `kind`.
    pub(super) fn fits(&self, value: Value, kind: Parameter) -> Evaluated<Value> {
        let lenient = self.options.lenient;
        let good = match (kind, &value) {
            (Parameter::Any | Parameter::Interface, _)
            | (Parameter::String, Value::String(_))
            | (Parameter::Int, Value::Integer(_, Integer::Int))
            | (Parameter::Strings, Value::Missing) => true,
            (Parameter::Strings, Value::List(list)) => {
                lenient || matches!(list.zero, Value::String(_))
            }
            _ => false,
        };
        if good {
            return Ok(value);
        }
        let expected = kind.name();
        match &value {
            Value::Missing | Value::Null => {
                self.fail(format!("invalid value; expected {expected}"))
            }
            value => {
                let got = value.type_name();
                let message = format!("wrong type for value; expected {expected}; got {got}");
                self.fail(message)
            }
        }
    }
}

fn not_callable(callee: &str, value: &Value) -> String {
    match value {
        Value::Missing | Value::Null => "call of nil".to_owned(),
        value => format!("non-function {callee} of type {}", value.type_name()),
    }
}

//! Pipelines, commands and fields: what gives an action its value. Calls are in `call.rs`.

use super::exec::{Evaluated, State};
use super::functions::Parameter;
use super::node::{Command, Operand, Pipeline, Term};
use super::value::{Header, Value};
use crate::cli::strconv::quote;

/// What a call gets: the operands after its name, and the value that the pipeline hands on.
pub(super) struct Arguments<'a> {
    pub(super) operands: &'a [Operand],
    pub(super) piped: Option<Value>,
}

impl Arguments<'_> {
    pub(super) const NONE: Arguments<'static> = Arguments {
        operands: &[],
        piped: None,
    };

    pub(super) fn count(&self) -> usize {
        self.operands.len() + usize::from(self.piped.is_some())
    }
}

impl<'a> State<'a> {
    pub(super) fn look_at(&mut self, operand: &'a Operand) {
        self.at = (operand.position, operand);
    }

    /// Returns the value of a pipeline, and sets its variables.
    pub(super) fn pipeline(&mut self, dot: &Value, pipeline: &'a Pipeline) -> Evaluated<Value> {
        self.at = (pipeline.position, pipeline);
        let mut value = None;
        for command in &pipeline.commands {
            let result = self.command(dot, command, value.take())?;
            value = Some(match result {
                // What an interface holds, which is nothing.
                Value::Null => Value::Missing,
                result => result,
            });
        }
        let value = value.unwrap_or(Value::Missing);
        for name in &pipeline.variables {
            if pipeline.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        dot: &Value,
        command: &'a Command,
        piped: Option<Value>,
    ) -> Evaluated<Value> {
        let first = &command.operands[0];
        let arguments = Arguments {
            operands: &command.operands[1..],
            piped,
        };
        if let Term::Identifier(name) = &first.term {
            self.look_at(first);
            let site = (first.position, command as &dyn std::fmt::Display);
            return self.function(dot, name, site, arguments);
        }
        if !matches!(first.term, Term::Pipeline(_)) {
            self.look_at(first);
        }
        let is_method = match &first.term {
            Term::Field(_) | Term::Chain(..) => true,
            Term::Variable(_, names) => !names.is_empty(),
            _ => false,
        };
        if !is_method && arguments.count() > 0 {
            if let Term::Variable(name, _) = &first.term {
                self.variable(name)?;
            }
            return self.fail(format!("can't give argument to non-function {first}"));
        }
        match &first.term {
            Term::Field(names) => self.chain(dot, dot.clone(), names, arguments),
            Term::Chain(inner, names) => self.chain_node(dot, inner, names, arguments),
            Term::Variable(name, names) => self.chain(dot, self.variable(name)?, names, arguments),
            Term::Pipeline(pipeline) => self.pipeline(dot, pipeline),
            Term::Nil => self.fail("nil is not a command"),
            _ => self.constant(dot, first),
        }
    }

    /// Dot or a literal, where no type is asked for.
    pub(super) fn constant(&mut self, dot: &Value, operand: &'a Operand) -> Evaluated<Value> {
        self.look_at(operand);
        Ok(match &operand.term {
            Term::Bool(value) => Value::Bool(*value),
            Term::String(_, text) => Value::string(text),
            Term::Number(number) => match (number.integer, number.float) {
                (_, Some(float)) if number.is_float() => Value::Float(float),
                (Some(integer), _) => Value::int(integer),
                _ => return self.fail(format!("{} overflows int", number.text)),
            },
            _ => dot.clone(),
        })
    }

    pub(super) fn variable(&self, name: &str) -> Evaluated<Value> {
        let mut variables = self.variables.iter().rev();
        match variables.find(|(other, _)| *other == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    /// `(…).A.B`
    pub(super) fn chain_node(
        &mut self,
        dot: &Value,
        inner: &'a Operand,
        names: &'a [String],
        arguments: Arguments<'a>,
    ) -> Evaluated<Value> {
        let receiver = match &inner.term {
            Term::Pipeline(pipeline) => {
                self.look_at(inner);
                self.pipeline(dot, pipeline)?
            }
            Term::Identifier(name) => {
                self.look_at(inner);
                let site = (inner.position, inner as &dyn std::fmt::Display);
                self.function(dot, name, site, Arguments::NONE)?
            }
            _ => {
                let chain = self.at.1.to_string();
                return self.fail(format!("indirection through explicit nil in {chain}"));
            }
        };
        self.chain(dot, receiver, names, arguments)
    }

    /// `.A.B.C` of `receiver`; the last one gets the arguments.
    pub(super) fn chain(
        &mut self,
        dot: &Value,
        receiver: Value,
        names: &'a [String],
        arguments: Arguments<'a>,
    ) -> Evaluated<Value> {
        let Some((last, before)) = names.split_last() else {
            return Ok(receiver);
        };
        let mut receiver = receiver;
        // Whether Go sees the receiver as what an interface holds, which its error texts show.
        let mut boxed = false;
        for name in before {
            let next = self.field(dot, name, (&receiver, boxed), Arguments::NONE)?;
            boxed = is_untyped(&receiver);
            receiver = next;
        }
        self.field(dot, last, (&receiver, boxed), arguments)
    }

    fn field(
        &mut self,
        dot: &Value,
        name: &str,
        (receiver, boxed): (&Value, bool),
        arguments: Arguments<'a>,
    ) -> Evaluated<Value> {
        let has_arguments = arguments.count() > 0;
        let (missing, lenient) = (self.options.missing_is_error, self.options.lenient);
        match receiver {
            Value::Missing if missing => {
                let key = quote::quote(name);
                return self.fail(format!("nil data; no entry for key {key}"));
            }
            Value::Missing => return Ok(Value::Missing),
            Value::Null | Value::NilPointer(_) => {
                let kind = receiver.type_name();
                return self.fail(format!("nil pointer evaluating {kind}.{name}"));
            }
            Value::Struct(value) => {
                let mut fields = value.fields.iter();
                let is_it = |json: &str, go: &str| go == name || (lenient && json == name);
                if let Some(field) = fields.find(|field| is_it(&field.json, field.name())) {
                    if has_arguments {
                        let why = "has arguments but cannot be invoked as function";
                        return self.fail(format!("{name} {why}"));
                    }
                    return Ok(field.value.clone());
                }
            }
            Value::Map(map) if map.key.is_none() || lenient => {
                if has_arguments {
                    return self.fail(format!("{name} is not a method but has arguments"));
                }
                return match map.get(name) {
                    Some(value) => Ok(value.clone()),
                    None if missing => {
                        let key = quote::quote(name);
                        self.fail(format!("map has no entry for key {key}"))
                    }
                    None => Ok(Value::Missing),
                };
            }
            Value::Row(row) => {
                if let (true, Some(labels)) = (name == "Label", &row.labels) {
                    let key = self.only_string(name, dot, arguments)?;
                    let label = labels.get(&*key);
                    return Ok(Value::string(label.map_or("", String::as_str)));
                }
                if let Some(value) = row.get(name) {
                    if has_arguments {
                        let count = arguments.count();
                        let message =
                            format!("wrong number of args for {name}: want 0 got {count}");
                        return self.fail(message);
                    }
                    return Ok(value.clone());
                }
            }
            Value::Header(_) if name == "Label" => {
                let key = self.only_string(name, dot, arguments)?;
                return Ok(Value::string(&Header::label(&key)));
            }
            Value::Header(header) => {
                if has_arguments {
                    return self.fail(format!("{name} is not a method but has arguments"));
                }
                return Ok(header.get(name).map_or(Value::Missing, Value::string));
            }
            _ => {}
        }
        let kind = if boxed {
            "interface {}".to_owned()
        } else {
            receiver.type_name()
        };
        self.fail(format!("can't evaluate field {name} in type {kind}"))
    }

    /// The only argument of a method that takes text.
    fn only_string(
        &mut self,
        name: &str,
        dot: &Value,
        arguments: Arguments<'a>,
    ) -> Evaluated<String> {
        let count = arguments.count();
        if count != 1 {
            let message = format!("wrong number of args for {name}: want 1 got {count}");
            return self.fail(message);
        }
        let value = match (arguments.operands.first(), arguments.piped) {
            (Some(operand), _) => self.argument(dot, Parameter::String, operand)?,
            (None, Some(piped)) => self.fits(piped, Parameter::String)?,
            (None, None) => Value::string(""),
        };
        Ok(match value {
            Value::String(text) => text.to_string(),
            _ => String::new(),
        })
    }
}

fn is_untyped(value: &Value) -> bool {
    matches!(value, Value::Map(map) if matches!(map.zero, Value::Null))
}

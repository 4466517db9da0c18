//! Pipelines, commands and operands: the inside of an action (the other half of the parser).

use super::node::{Command, Operand, Pipeline, Term};
use super::number;
use super::parse::{Parsed, Parser};
use super::token::Kind;
use crate::cli::strconv::quote;

impl Parser {
    /// Declarations, commands with `|` between them, and the `end`.
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipeline> {
        let position = self.peek_word().position;
        let mut pipeline = Pipeline {
            position,
            assigns: false,
            variables: Vec::new(),
            commands: Vec::new(),
        };
        self.declarations(&mut pipeline, context)?;
        loop {
            let start = self.next;
            let token = self.take_word();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.next = start;
                    let command = self.command()?;
                    pipeline.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        if pipeline.commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (index, command) in pipeline.commands.iter().enumerate().skip(1) {
            if matches!(
                command.operands[0].term,
                Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::String(..)
            ) {
                let stage = index + 1;
                return self.fail(format!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(pipeline)
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, pipeline: &mut Pipeline, context: &str) -> Parsed<()> {
        loop {
            let start = self.next;
            if self.peek_word().kind != Kind::Variable {
                return Ok(());
            }
            let variable = self.take().text;
            let next = self.peek_word().clone();
            let comma = next.kind == Kind::Char && next.text == ",";
            let declares = matches!(next.kind, Kind::Assign | Kind::Declare);
            if !comma && !declares {
                self.next = start;
                return Ok(());
            }
            self.take();
            pipeline.variables.push(variable.clone());
            self.scope.variables.push(variable);
            if declares {
                pipeline.assigns = next.kind == Kind::Assign;
                return Ok(());
            }
            if context != "range" || pipeline.variables.len() > 1 {
                return self.fail(format!("too many declarations in {context}"));
            }
            let after = self.peek_word().kind;
            if !matches!(
                after,
                Kind::Variable | Kind::RightDelimiter | Kind::RightParen
            ) {
                return self.fail("range can only initialize variables");
            }
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let token = self.take();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightParen => {
                    self.next -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if operands.is_empty() {
            return self.fail("empty command");
        }
        Ok(Command { operands })
    }

    /// A term and the fields after it; `None` if what is next is no term.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(mut operand) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Kind::Field {
            return Ok(Some(operand));
        }
        let position = self.peek().position;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.take().text[1..].to_owned());
        }
        match &mut operand.term {
            Term::Field(names) | Term::Variable(_, names) => {
                names.append(&mut fields);
                operand.position = position;
            }
            Term::Bool(_) | Term::String(..) | Term::Number(_) | Term::Nil | Term::Dot => {
                let term = quote::quote(&operand.to_string());
                return self.fail(format!("unexpected . after term {term}"));
            }
            _ => {
                operand = Operand {
                    position,
                    term: Term::Chain(Box::new(operand), fields),
                };
            }
        }
        Ok(Some(operand))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let start = self.next;
        let token = self.take_word();
        let term = match token.kind {
            Kind::Identifier => {
                if !(self.is_function)(&token.text) {
                    let name = quote::quote(&token.text);
                    return self.fail(format!("function {name} not defined"));
                }
                Term::Identifier(token.text)
            }
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable => {
                if !self.scope.variables.contains(&token.text) {
                    let name = quote::quote(&token.text);
                    return self.fail(format!("undefined variable {name}"));
                }
                Term::Variable(token.text, Vec::new())
            }
            Kind::Field => Term::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => Term::Bool(token.text == "true"),
            Kind::CharConstant => Term::Number(self.literal(number::character(&token.text))?),
            Kind::Complex | Kind::Number => {
                Term::Number(self.literal(number::number(&token.text))?)
            }
            Kind::LeftParen => {
                self.enter()?;
                let pipeline = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                let position = pipeline.position;
                let term = Term::Pipeline(Box::new(pipeline));
                return Ok(Some(Operand { position, term }));
            }
            Kind::String | Kind::RawString => {
                let text = self.unquoted(&token.text)?;
                Term::String(token.text, text)
            }
            _ => {
                self.next = start;
                self.skip_space();
                return Ok(None);
            }
        };
        Ok(Some(Operand {
            position: token.position,
            term,
        }))
    }

    fn literal<T>(&self, result: Result<T, String>) -> Parsed<T> {
        result.or_else(|why| self.fail(why))
    }
}

//! The tokens of a template, and how error texts show them.

use crate::cli::strconv::quote;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    Eof,
    Text,
    LeftDelimiter,
    RightDelimiter,
    Space,
    Bool,
    Nil,
    Dot,
    Char,
    CharConstant,
    Complex,
    Number,
    String,
    RawString,
    Field,
    Variable,
    Identifier,
    Assign,
    Declare,
    Pipe,
    LeftParen,
    RightParen,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

/// A token: what it is, where it begins, its text (or the error), and the line it begins on.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) position: usize,
    pub(super) text: String,
    pub(super) line: usize,
}

impl Token {
    /// Returns the token as error texts show it.
    pub(super) fn describe(&self) -> String {
        const SHOWN: usize = 10;
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.text.clone(),
            Kind::Block
            | Kind::Break
            | Kind::Continue
            | Kind::Define
            | Kind::Else
            | Kind::End
            | Kind::If
            | Kind::Range
            | Kind::Template
            | Kind::With
            | Kind::Nil
            | Kind::Dot => format!("<{}>", self.text),
            _ if self.text.len() > SHOWN => {
                let cut: String = self.text.chars().take(SHOWN).collect();
                format!("{}...", quote::quote(&cut))
            }
            _ => quote::quote(&self.text),
        }
    }
}

//! Text of a template → tokens (the lexer of Go's text/template).
//!
//! The whole text is read at once; the first error is the last token. Positions are bytes, lines count from 1.

use super::token::{Kind, Token};
use crate::cli::strconv::quote;

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const SPACES: &[char] = &[' ', '\t', '\r', '\n'];

/// Returns the tokens of `input`; the last one is `Eof` or `Error`.
pub(super) fn lex(input: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        input,
        position: 0,
        start: 0,
        parens: 0,
        tokens: Vec::new(),
    };
    if let Err(message) = lexer.text() {
        let start = lexer.start;
        lexer.push(Kind::Error, start, message);
    }
    lexer.tokens
}

struct Lexer<'a> {
    input: &'a str,
    position: usize,
    start: usize,
    parens: usize,
    tokens: Vec<Token>,
}

type Lexed = Result<(), String>;

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|c| valid.contains(c));
        if found {
            self.position += 1;
        }
        found
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn push(&mut self, kind: Kind, position: usize, text: String) {
        let line = 1 + self.input[..position].matches('\n').count();
        self.tokens.push(Token {
            kind,
            position,
            text,
            line,
        });
    }

    fn emit(&mut self, kind: Kind) {
        let text = self.input[self.start..self.position].to_owned();
        self.push(kind, self.start, text);
        self.start = self.position;
    }

    fn skip(&mut self, bytes: usize) {
        self.position += bytes;
        self.start = self.position;
    }

    /// Everything outside of actions; an action is read when its delimiter is found.
    fn text(&mut self) -> Lexed {
        while let Some(found) = self.rest().find(LEFT) {
            let before = &self.rest()[..found];
            let trims = trims_left(&self.rest()[found + LEFT.len()..]);
            let kept = if trims {
                before.trim_end_matches(SPACES).len()
            } else {
                before.len()
            };
            let delimiter = self.position + found;
            self.position += kept;
            if kept > 0 {
                self.emit(Kind::Text);
            }
            self.position = delimiter;
            self.start = delimiter;
            self.position += LEFT.len();
            let marker = if trims { 2 } else { 0 };
            if self.rest()[marker..].starts_with("/*") {
                self.skip(marker);
                self.comment()?;
                continue;
            }
            self.emit(Kind::LeftDelimiter);
            self.skip(marker);
            self.parens = 0;
            self.action()?;
        }
        self.position = self.input.len();
        if self.position > self.start {
            self.emit(Kind::Text);
        }
        self.emit(Kind::Eof);
        Ok(())
    }

    fn comment(&mut self) -> Lexed {
        self.position += 2;
        let Some(end) = self.rest().find("*/") else {
            return Err("unclosed comment".to_owned());
        };
        self.position += end + 2;
        let Some(trims) = self.right_delimiter() else {
            return Err("comment ends before closing delimiter".to_owned());
        };
        self.close(trims);
        Ok(())
    }

    /// Whether a right delimiter is here, and if so whether it trims.
    fn right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if trims_right(rest) && rest[2..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    /// Steps over a right delimiter that is known to be here, and what it trims.
    fn close(&mut self, trims: bool) {
        self.skip(if trims { 2 } else { 0 } + RIGHT.len());
        if trims {
            let rest = self.rest();
            let spaces = rest.len() - rest.trim_start_matches(SPACES).len();
            self.skip(spaces);
        }
    }

    /// Everything inside of an action, with its right delimiter.
    fn action(&mut self) -> Lexed {
        loop {
            if let Some(trims) = self.right_delimiter() {
                if self.parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                let position = self.position + if trims { 2 } else { 0 };
                self.push(Kind::RightDelimiter, position, RIGHT.to_owned());
                self.close(trims);
                return Ok(());
            }
            let Some(c) = self.next() else {
                return Err("unclosed action".to_owned());
            };
            self.inside(c)?;
        }
    }

    /// One token that begins with `c`, which has been read.
    fn inside(&mut self, c: char) -> Lexed {
        match c {
            c if is_space(c) => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return Err("expected :=".to_owned());
                }
                self.emit(Kind::Declare);
            }
            '|' => self.emit(Kind::Pipe),
            '"' => return self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => {
                return self.quoted('\'', Kind::CharConstant, "unterminated character constant");
            }
            '`' => {
                let Some(end) = self.rest().find('`') else {
                    return Err("unterminated raw quoted string".to_owned());
                };
                self.position += end + 1;
                self.emit(Kind::RawString);
            }
            '$' => return self.field_or_variable(Kind::Variable, Kind::Variable),
            // At the very end Go takes a dot for a number.
            '.' if self.peek().is_some_and(|c| !c.is_ascii_digit()) => {
                return self.field_or_variable(Kind::Field, Kind::Dot);
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.position -= 1;
                return self.number();
            }
            c if is_alphanumeric(c) => return self.identifier(),
            '(' => {
                self.parens += 1;
                self.emit(Kind::LeftParen);
            }
            ')' => {
                let Some(parens) = self.parens.checked_sub(1) else {
                    return Err("unexpected right paren".to_owned());
                };
                self.parens = parens;
                self.emit(Kind::RightParen);
            }
            c if c.is_ascii() && !c.is_ascii_control() => self.emit(Kind::Char),
            c => {
                let why = "unrecognized character in action";
                return Err(format!("{why}: {}", code_point(Some(c))));
            }
        }
        Ok(())
    }

    fn space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.position += 1;
        }
        // The last blank may belong to a delimiter that trims.
        let last = &self.input[self.position - 1..];
        if trims_right(last) && last[2..].starts_with(RIGHT) {
            self.position -= 1;
            if self.position == self.start {
                // Go ends the action here without a look at the parentheses; its parser complains then.
                self.parens = 0;
                return;
            }
        }
        self.emit(Kind::Space);
    }

    fn quoted(&mut self, delimiter: char, kind: Kind, why: &str) -> Lexed {
        loop {
            match self.next() {
                Some('\\') => match self.next() {
                    None | Some('\n') => return Err(why.to_owned()),
                    Some(_) => {}
                },
                None | Some('\n') => return Err(why.to_owned()),
                Some(c) if c == delimiter => {
                    self.emit(kind);
                    return Ok(());
                }
                Some(_) => {}
            }
        }
    }

    fn word(&mut self) -> Lexed {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if self.at_terminator() {
            return Ok(());
        }
        Err(format!("bad character {}", code_point(self.peek())))
    }

    fn identifier(&mut self) -> Lexed {
        self.word()?;
        let kind = match &self.input[self.start..self.position] {
            "block" => Kind::Block,
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "define" => Kind::Define,
            "else" => Kind::Else,
            "end" => Kind::End,
            "if" => Kind::If,
            "range" => Kind::Range,
            "nil" => Kind::Nil,
            "template" => Kind::Template,
            "with" => Kind::With,
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    /// `.name` or `$name`; `alone` is what the first character is without a name.
    fn field_or_variable(&mut self, named: Kind, alone: Kind) -> Lexed {
        if self.at_terminator() {
            self.emit(alone);
            return Ok(());
        }
        self.word()?;
        self.emit(named);
        Ok(())
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) => is_space(c) || self.rest().starts_with(RIGHT),
        }
    }

    fn number(&mut self) -> Lexed {
        let mut good = self.scan_number();
        let mut kind = Kind::Number;
        if good && self.peek().is_some_and(|c| matches!(c, '+' | '-')) {
            good = self.scan_number() && self.input[..self.position].ends_with('i');
            kind = Kind::Complex;
        }
        if !good {
            let text = quote::quote(&self.input[self.start..self.position]);
            return Err(format!("bad number syntax: {text}"));
        }
        self.emit(kind);
        Ok(())
    }

    /// Steps over what looks like a number; whether it is one is found out when it is read.
    fn scan_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        self.accept("+-");
        let mut digits = DECIMAL;
        let mut exponent = "eE";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
                exponent = "pP";
            } else if self.accept("oO") {
                digits = "01234567_";
                exponent = "";
            } else if self.accept("bB") {
                digits = "01_";
                exponent = "";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run(DECIMAL);
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

fn is_space(c: char) -> bool {
    SPACES.contains(&c)
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Whether what follows a left delimiter makes it trim.
fn trims_left(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// Whether `text` begins with a blank and the mark of a right delimiter that trims.
fn trims_right(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(is_space) && chars.next() == Some('-')
}

/// Go's `%#U`; the end of the text is U+FFFFFFFFFFFFFFFF there.
fn code_point(c: Option<char>) -> String {
    match c {
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(c) if quote::is_printable(c) => format!("U+{:04X} '{c}'", u32::from(c)),
        Some(c) => format!("U+{:04X}", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, want: &str) {
        let tokens: Vec<String> = lex(input)
            .iter()
            .map(|token| match token.kind {
                Kind::Eof => "EOF".to_owned(),
                Kind::Error => format!("!{}", token.text),
                Kind::Space => "_".to_owned(),
                kind => format!("{kind:?}:{}", token.text),
            })
            .collect();
        assert_eq!(tokens.join(" "), want, "{input:?}");
    }

    #[test]
    fn text_actions_and_trimming() {
        check("", "EOF");
        check("a", "Text:a EOF");
        check(
            "a{{.}}b",
            "Text:a LeftDelimiter:{{ Dot:. RightDelimiter:}} Text:b EOF",
        );
        check(
            "a \n{{- . -}} \t b",
            "Text:a LeftDelimiter:{{ Dot:. RightDelimiter:}} Text:b EOF",
        );
        check(
            "a {{-3}}",
            "Text:a  LeftDelimiter:{{ Number:-3 RightDelimiter:}} EOF",
        );
        check("x{{/* a */}}y", "Text:x Text:y EOF");
        check("x {{- /* a */ -}} y", "Text:x Text:y EOF");
        check("{{/* a }}", "!unclosed comment");
        check("{{/*/}}", "!unclosed comment");
        check("{{/*/ a */}}", "EOF");
        check("{{/* a */ }}", "!comment ends before closing delimiter");
        check("{{.Nope", "LeftDelimiter:{{ Field:.Nope !unclosed action");
        check("{{", "LeftDelimiter:{{ !unclosed action");
        check("{{.", "LeftDelimiter:{{ Number:. !unclosed action");
    }

    #[test]
    fn words_numbers_and_signs() {
        let inside = |body: &str, want: &str| {
            check(
                &format!("{{{{{body}}}}}"),
                &format!("LeftDelimiter:{{{{ {want}"),
            );
        };
        inside(
            "$x := .A.B",
            "Variable:$x _ Declare::= _ Field:.A Field:.B RightDelimiter:}} EOF",
        );
        inside(
            "(f 1)|g",
            "LeftParen:( Identifier:f _ Number:1 RightParen:) Pipe:| Identifier:g RightDelimiter:}} EOF",
        );
        inside("\"a\\\"b\"", "String:\"a\\\"b\" RightDelimiter:}} EOF");
        inside("0x1F", "Number:0x1F RightDelimiter:}} EOF");
        inside("1.5e-3", "Number:1.5e-3 RightDelimiter:}} EOF");
        inside("1+2i", "Complex:1+2i RightDelimiter:}} EOF");
        inside("3x", "!bad number syntax: \"3x\"");
        inside("a-b", "!bad character U+002D '-'");
        inside(":x", "!expected :=");
        inside(")", "!unexpected right paren");
        inside("(", "LeftParen:( !unclosed left paren");
        inside("\u{1}", "!unrecognized character in action: U+0001");
        inside("\"a", "!unterminated quoted string");
        inside("'a", "!unterminated character constant");
        inside("`a", "!unterminated raw quoted string");
    }
}

//! Go's fmt: Sprint, Sprintln and Sprintf over the values of templates, with the forms that wrong uses print.
//!
//! How one value prints with one verb is in `print.rs`.

use super::print::{Flags, Printer};
use super::value::Value;

/// The largest width and precision; Go has the same.
const WIDTH_MAX: usize = 1_000_000;

/// Returns the values one after another, with a blank between two that are no text (fmt.Sprint).
pub(super) fn print(values: &[Value]) -> String {
    let mut printer = Printer::default();
    let mut previous = true;
    for (index, value) in values.iter().enumerate() {
        let text = matches!(value, Value::String(_) | Value::Number(_));
        if index > 0 && !text && !previous {
            printer.out.push(' ');
        }
        printer.value(value, 'v', true);
        previous = text;
    }
    printer.out
}

/// Returns the values with a blank between any two, and a line end (fmt.Sprintln).
pub(super) fn println(values: &[Value]) -> String {
    let mut printer = Printer::default();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            printer.out.push(' ');
        }
        printer.value(value, 'v', true);
    }
    printer.out.push('\n');
    printer.out
}

/// Returns `format` with the values in the places of its verbs (fmt.Sprintf).
pub(super) fn printf(format: &str, values: &[Value]) -> String {
    let mut directives = Directives {
        chars: format.chars().collect(),
        at: 0,
        values,
        next: 0,
        reordered: false,
        good: true,
        after_index: false,
        printer: Printer::default(),
    };
    directives.run();
    directives.printer.out
}

/// A format on its way: the next character and the next value.
struct Directives<'a> {
    chars: Vec<char>,
    at: usize,
    values: &'a [Value],
    next: usize,
    /// Whether a verb chose its value by number.
    reordered: bool,
    /// Whether the numbers of the current verb are right.
    good: bool,
    after_index: bool,
    printer: Printer,
}

impl Directives<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn run(&mut self) {
        while let Some(c) = self.peek() {
            self.at += 1;
            if c == '%' {
                self.directive();
            } else {
                self.printer.out.push(c);
            }
        }
        if !self.reordered && self.next < self.values.len() {
            self.extra();
        }
    }

    fn extra(&mut self) {
        self.printer.flags = Flags::default();
        self.printer.out.push_str("%!(EXTRA ");
        for (index, value) in self.values[self.next..].iter().enumerate() {
            if index > 0 {
                self.printer.out.push_str(", ");
            }
            if matches!(value, Value::Missing | Value::Null) {
                self.printer.out.push_str("<nil>");
                continue;
            }
            self.printer.put(format_args!("{}=", value.type_name()));
            self.printer.value(value, 'v', true);
        }
        self.printer.out.push(')');
    }

    /// What follows a percent sign.
    fn directive(&mut self) {
        self.good = true;
        self.flags();
        self.after_index = false;
        self.index();
        self.width();
        self.precision();
        if !self.after_index {
            self.index();
        }
        let Some(verb) = self.peek() else {
            self.printer.out.push_str("%!(NOVERB)");
            return;
        };
        self.at += 1;
        if verb == '%' {
            self.printer.out.push('%');
        } else if !self.good {
            self.printer.put(format_args!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.values.get(self.next) {
            let flags = &mut self.printer.flags;
            if verb == 'v' {
                flags.sharp_v = std::mem::take(&mut flags.sharp);
                flags.plus_v = std::mem::take(&mut flags.plus);
            }
            self.printer.value(value, verb, true);
            self.next += 1;
        } else {
            self.printer.put(format_args!("%!{verb}(MISSING)"));
        }
    }

    fn flags(&mut self) {
        let mut flags = Flags::default();
        while let Some(c) = self.peek() {
            match c {
                '#' => flags.sharp = true,
                '0' => flags.zero = true,
                '+' => flags.plus = true,
                '-' => flags.minus = true,
                ' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        self.printer.flags = flags;
    }

    fn width(&mut self) {
        if self.peek() == Some('*') {
            self.at += 1;
            self.after_index = false;
            let Some(width) = self.star() else {
                self.printer.out.push_str("%!(BADWIDTH)");
                return;
            };
            let flags = &mut self.printer.flags;
            if width < 0 {
                flags.minus = true;
                flags.zero = false;
            }
            flags.width = usize::try_from(width.unsigned_abs()).ok();
            return;
        }
        self.printer.flags.width = self.number();
        if self.after_index && self.printer.flags.width.is_some() {
            self.good = false;
        }
    }

    fn precision(&mut self) {
        if self.peek() != Some('.') || self.at + 1 >= self.chars.len() {
            return;
        }
        self.at += 1;
        if self.after_index {
            self.good = false;
        }
        self.index();
        if self.peek() == Some('*') {
            self.at += 1;
            self.after_index = false;
            match self.star() {
                Some(precision) if precision >= 0 => {
                    self.printer.flags.precision = usize::try_from(precision).ok();
                }
                _ => self.printer.out.push_str("%!(BADPREC)"),
            }
            return;
        }
        self.printer.flags.precision = Some(self.number().unwrap_or(0));
    }

    /// The value that a `*` takes, if it is a number that can be one.
    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let Value::Integer(number, _) = value else {
            return None;
        };
        let number = i64::try_from(*number).ok()?;
        (number.unsigned_abs() <= WIDTH_MAX as u64).then_some(number)
    }

    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        let mut number = 0;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            if number > WIDTH_MAX {
                self.at = self.chars.len();
                return None;
            }
            number = number * 10 + digit as usize;
            self.at += 1;
        }
        (self.at > start).then_some(number)
    }

    /// `[3]`: the number of the value that is next.
    fn index(&mut self) {
        if self.peek() != Some('[') {
            return;
        }
        self.reordered = true;
        let rest = &self.chars[self.at..];
        let Some(end) = rest.iter().position(|c| *c == ']') else {
            self.at += 1;
            self.good = false;
            return;
        };
        let text: String = rest[1..end].iter().collect();
        self.at += end + 1;
        match text.parse::<usize>() {
            Ok(number) if (1..=self.values.len()).contains(&number) => {
                self.next = number - 1;
                self.after_index = true;
            }
            _ => self.good = false,
        }
    }
}

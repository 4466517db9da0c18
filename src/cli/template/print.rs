//! How one value prints with one verb of Go's fmt.
//!
//! `%#v` is close to Go's, not equal; `%b` and `%x` of floating-point numbers, and `%p`, are refused as wrong verbs.

use std::fmt::Write as _;

use super::json;
use super::value::Value;
use crate::cli::human;
use crate::cli::strconv::float;
use crate::cli::strconv::quote;

/// What stands between the percent sign and the verb.
#[derive(Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "these are the flags of a verb, each a letter of its own"
)]
pub(super) struct Flags {
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`
    pub(super) plus_v: bool,
    /// `%#v`
    pub(super) sharp_v: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

/// Text in the making, and the flags of the current verb.
#[derive(Default)]
pub(super) struct Printer {
    pub(super) out: String,
    pub(super) flags: Flags,
}

impl Printer {
    pub(super) fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.out
            .write_fmt(arguments)
            .expect("writing to a string does not fail");
    }

    fn pad(&mut self, text: &str) {
        let width = self.flags.width.unwrap_or(0);
        let missing = width.saturating_sub(text.chars().count());
        let zeros = self.flags.zero && !self.flags.minus;
        let padding = if zeros { "0" } else { " " }.repeat(missing);
        if self.flags.minus {
            self.put(format_args!("{text}{padding}"));
        } else {
            self.put(format_args!("{padding}{text}"));
        }
    }

    fn pad_blank(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    /// Prints `value`; `top` says that it is an argument and not part of one.
    pub(super) fn value(&mut self, value: &Value, verb: char, top: bool) {
        if verb == 'T' {
            let name = match value {
                Value::Missing | Value::Null => "<nil>".to_owned(),
                value => value.type_name(),
            };
            return self.text(&name, 's', value);
        }
        match value {
            Value::Missing | Value::Null => match verb {
                'v' if top => self.pad_blank("<nil>"),
                'v' => self.out.push_str("<nil>"),
                _ => self.put(format_args!("%!{verb}(<nil>)")),
            },
            Value::NilPointer(name) => match verb {
                'v' => self.pad_blank("<nil>"),
                _ => self.put(format_args!("%!{verb}({name}=<nil>)")),
            },
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { "true" } else { "false" }),
                _ => self.bad(verb, value),
            },
            Value::Integer(number, _) => self.integer(*number, verb, value),
            Value::Float(number) => self.float(*number, verb, value),
            Value::String(text) | Value::Number(text) => self.text(text, verb, value),
            Value::Duration(number) => match verb {
                'v' | 's' | 'x' | 'X' | 'q' => {
                    self.text(&crate::docker::duration::go_duration(*number), verb, value);
                }
                _ => self.integer(i128::from(*number), verb, value),
            },
            Value::Time(text) => self.text(&human::time::go_time(text), verb, value),
            Value::List(list) => {
                self.open(value, "[");
                self.items(list.items.iter().map(|item| (None, item)), verb);
                self.close("]");
            }
            Value::Map(map) => {
                self.open(value, "map[");
                let entries = map.entries.iter();
                let items: Vec<(Value, &Value)> = entries
                    .map(|(key, item)| (Value::String(key.clone()), item))
                    .collect();
                self.items(items.iter().map(|(key, item)| (Some(key), *item)), verb);
                self.close("]");
            }
            Value::Struct(inner) => self.structure(inner, verb, value),
            Value::Row(_) | Value::Header(_) => {
                let text = json::encode(value, true);
                self.text(&text, verb, value);
            }
        }
    }

    fn open(&mut self, value: &Value, bracket: &str) {
        if self.flags.sharp_v {
            self.put(format_args!("{}{{", value.type_name()));
        } else {
            self.out.push_str(bracket);
        }
    }

    fn close(&mut self, bracket: &str) {
        let bracket = if self.flags.sharp_v { "}" } else { bracket };
        self.out.push_str(bracket);
    }

    fn items<'a>(
        &mut self,
        items: impl Iterator<Item = (Option<&'a Value>, &'a Value)>,
        verb: char,
    ) {
        for (index, (key, item)) in items.enumerate() {
            if index > 0 {
                self.out
                    .push_str(if self.flags.sharp_v { ", " } else { " " });
            }
            if let Some(key) = key {
                self.value(key, verb, false);
                self.out.push(':');
            }
            self.value(item, verb, false);
        }
    }

    fn structure(&mut self, inner: &super::value::Struct, verb: char, value: &Value) {
        let get = |json: &str| {
            let field = inner.fields.iter().find(|field| &*field.json == json)?;
            match &field.value {
                Value::Integer(number, _) => Some(number.to_string()),
                Value::String(text) => Some(text.to_string()),
                _ => None,
            }
        };
        // The types of docker that say themselves how they print.
        let special = match inner.name {
            "Ulimit" => get("Name")
                .zip(get("Soft").zip(get("Hard")))
                .map(|(name, (soft, hard))| format!("{name}={soft}:{hard}")),
            "ThrottleDevice" => get("Path")
                .zip(get("Rate"))
                .map(|(path, rate)| format!("{path}:{rate}")),
            "WeightDevice" => get("Path")
                .zip(get("Weight"))
                .map(|(path, weight)| format!("{path}:{weight}")),
            _ => None,
        };
        if let Some(text) = special {
            return self.text(&text, verb, value);
        }
        self.open(value, "{");
        for (index, field) in inner.fields.iter().enumerate() {
            if index > 0 {
                self.out
                    .push_str(if self.flags.sharp_v { ", " } else { " " });
            }
            if self.flags.plus_v || self.flags.sharp_v {
                self.put(format_args!("{}:", field.name()));
            }
            self.value(&field.value, verb, false);
        }
        self.out.push('}');
    }

    fn bad(&mut self, verb: char, value: &Value) {
        self.put(format_args!("%!{verb}({}=", value.type_name()));
        self.value(value, 'v', true);
        self.out.push(')');
    }

    fn text(&mut self, text: &str, verb: char, value: &Value) {
        let cut = || match self.flags.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        };
        match verb {
            'v' if self.flags.sharp_v => self.pad(&quote::quote(text)),
            'v' | 's' => self.pad(&cut()),
            'q' => {
                let cut = cut();
                let raw = !cut.contains(['`', '\u{feff}', '\u{7f}'])
                    && cut.chars().all(|c| c >= ' ' || c == '\t');
                let quoted = match self.flags {
                    Flags { sharp: true, .. } if raw => format!("`{cut}`"),
                    Flags { plus: true, .. } => quote::quote_ascii(&cut),
                    _ => quote::quote(&cut),
                };
                self.pad(&quoted);
            }
            'x' | 'X' => self.hex(text, verb == 'X'),
            _ => self.bad(verb, value),
        }
    }

    fn hex(&mut self, text: &str, upper: bool) {
        let bytes = text.as_bytes();
        let length = self.flags.precision.unwrap_or(bytes.len()).min(bytes.len());
        let mark = match (self.flags.sharp, upper) {
            (true, true) => "0X",
            (true, false) => "0x",
            (false, _) => "",
        };
        let mut encoded = String::new();
        for (index, byte) in bytes[..length].iter().enumerate() {
            if index == 0 {
                encoded.push_str(mark);
            } else if self.flags.space {
                encoded.push(' ');
                encoded.push_str(mark);
            }
            let digits = if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            };
            encoded.push_str(&digits);
        }
        self.pad(&encoded);
    }

    fn integer(&mut self, number: i128, verb: char, value: &Value) {
        let code = || {
            u32::try_from(number)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or(char::REPLACEMENT_CHARACTER)
        };
        match verb {
            'c' => self.pad(&code().to_string()),
            'q' => self.pad(&quote::quote_char(code(), self.flags.plus)),
            'U' => {
                let mut text = format!("U+{number:04X}");
                if self.flags.sharp && quote::is_printable(code()) {
                    text = format!("{text} '{}'", code());
                }
                self.pad_blank(&text);
            }
            'v' | 'd' => self.digits(number, "", |size| size.to_string()),
            'b' => self.digits(number, "0b", |size| format!("{size:b}")),
            'o' => self.digits(number, "0", |size| format!("{size:o}")),
            'O' => {
                let sharp = std::mem::replace(&mut self.flags.sharp, true);
                self.digits(number, "0o", |size| format!("{size:o}"));
                self.flags.sharp = sharp;
            }
            'x' => self.digits(number, "0x", |size| format!("{size:x}")),
            'X' => self.digits(number, "0X", |size| format!("{size:X}")),
            _ => self.bad(verb, value),
        }
    }

    fn digits(&mut self, number: i128, mark: &str, convert: impl Fn(u128) -> String) {
        let flags = self.flags;
        let size = number.unsigned_abs();
        let sign = match number < 0 {
            true => "-",
            false if flags.plus => "+",
            false if flags.space => " ",
            false => "",
        };
        let least = match (flags.precision, flags.width) {
            (Some(0), _) if size == 0 => return self.pad_blank(""),
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(sign.len()),
            _ => 0,
        };
        let digits = convert(size);
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let octal = mark == "0" && (digits.starts_with('0') || !zeros.is_empty());
        let mark = if flags.sharp && !octal { mark } else { "" };
        self.pad_blank(&format!("{sign}{mark}{zeros}{digits}"));
    }

    fn float(&mut self, number: f64, verb: char, value: &Value) {
        let flags = self.flags;
        let precision = flags.precision;
        let text = match verb {
            'v' | 'g' | 'G' => float::general(number, precision),
            'e' | 'E' => float::scientific(number, precision.unwrap_or(6)),
            'f' | 'F' => format!("{number:.*}", precision.unwrap_or(6)),
            _ => return self.bad(verb, value),
        };
        let upper = matches!(verb, 'E' | 'G');
        let text = if upper { text.to_uppercase() } else { text };
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None if flags.plus => ("+", text.as_str()),
            None if flags.space => (" ", text.as_str()),
            None => ("", text.as_str()),
        };
        if flags.zero && !flags.minus && !sign.is_empty() {
            self.out.push_str(sign);
            self.flags.width = flags.width.map(|width| width.saturating_sub(sign.len()));
            self.pad(digits);
            self.flags.width = flags.width;
        } else {
            self.pad(&format!("{sign}{digits}"));
        }
    }
}

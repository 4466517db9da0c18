//! The functions of templates: Go's own, and docker's (json, split, join, title, lower, upper, pad, truncate).
//!
//! A function is a name, the types of its parameters, and a case in [`call`]. `and` and `or` are not here: they stop at
//! the first argument that decides, so the evaluator has them.

use std::rc::Rc;

use super::compare;
use super::escape;
use super::exec::Options;
use super::json;
use super::printf;
use super::value::{Integer, List, Value};

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// Any value, and also none.
    Any,
    /// Any value; none is nil.
    Interface,
    String,
    Int,
    Strings,
}

impl Parameter {
    /// Go's name of the type.
    pub(super) fn name(self) -> &'static str {
        match self {
            Parameter::Any => "reflect.Value",
            Parameter::Interface => "interface {}",
            Parameter::String => "string",
            Parameter::Int => "int",
            Parameter::Strings => "[]string",
        }
    }
}

/// What a function takes: its parameters, and the type of any number of further ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub(super) fixed: &'static [Parameter],
    pub(super) rest: Option<Parameter>,
}

/// Which functions a template has: those of values, or those that leave the names of columns alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// For values.
    Values,
    /// For the first line of a table.
    Header,
}

/// Returns whether a template can use `name` as a function.
pub(super) fn is_function(name: &str) -> bool {
    signature(name, Set::Values).is_some()
}

/// Returns what the function `name` takes.
pub(super) fn signature(name: &str, set: Set) -> Option<Signature> {
    use Parameter::{Any, Int, Interface, String, Strings};
    let (fixed, rest): (&'static [Parameter], Option<Parameter>) = match (name, set) {
        ("title" | "lower" | "upper", _) | ("json", Set::Header) => (&[String], None),
        ("split", _) | ("join", Set::Header) => (&[String, String], None),
        ("and" | "or" | "eq" | "index" | "slice" | "call", _) => (&[Any], Some(Any)),
        ("ne" | "lt" | "le" | "gt" | "ge", _) => (&[Any, Any], None),
        ("len" | "not", _) => (&[Any], None),
        ("html" | "js" | "print" | "println" | "urlquery", _) => (&[], Some(Interface)),
        ("printf", _) => (&[String], Some(Interface)),
        ("json", _) => (&[Interface], None),
        ("join", _) => (&[Strings, String], None),
        ("pad", _) => (&[String, Int, Int], None),
        ("truncate", _) => (&[String, Int], None),
        _ => return None,
    };
    Some(Signature { fixed, rest })
}

/// Calls the function `name` with arguments that fit its signature; the error is the part after "error calling name: ".
pub(super) fn call(name: &str, options: Options, arguments: &[Value]) -> Result<Value, String> {
    let truth = |truth: bool| Ok(Value::Bool(truth));
    if options.set == Set::Header
        && matches!(
            name,
            "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate"
        )
    {
        return Ok(arguments[0].clone());
    }
    match name {
        "eq" => truth(compare::equal(&arguments[0], &arguments[1..])?),
        "ne" => truth(!compare::equal(&arguments[0], &arguments[1..])?),
        "lt" => truth(compare::less(&arguments[0], &arguments[1])?),
        "le" => truth(compare::less_or_equal(&arguments[0], &arguments[1])?),
        "gt" => truth(!compare::less_or_equal(&arguments[0], &arguments[1])?),
        "ge" => truth(!compare::less(&arguments[0], &arguments[1])?),
        "not" => truth(!arguments[0].truth()),
        "len" => length(&arguments[0]).map(Value::int),
        "index" => arguments[1..]
            .iter()
            .try_fold(indexable(&arguments[0])?, |item, at| {
                index(&item, at, options)
            }),
        "slice" => slice(&arguments[0], &arguments[1..]),
        "html" => Ok(Value::string(&escape::html(&escapable(arguments)))),
        "js" => Ok(Value::string(&escape::js(&escapable(arguments)))),
        "urlquery" => Ok(Value::string(&escape::url_query(&escapable(arguments)))),
        "print" => Ok(Value::string(&printf::print(arguments))),
        "println" => Ok(Value::string(&printf::println(arguments))),
        "printf" => Ok(Value::string(&printf::printf(
            &text(&arguments[0]),
            &arguments[1..],
        ))),
        "json" => Ok(Value::string(&json::encode(&arguments[0], false))),
        "lower" => Ok(map_letters(&text(&arguments[0]), char::to_lowercase)),
        "upper" => Ok(map_letters(&text(&arguments[0]), char::to_uppercase)),
        "title" => Ok(Value::string(&title(&text(&arguments[0])))),
        "split" => Ok(split(&text(&arguments[0]), &text(&arguments[1]))),
        "join" => Ok(Value::string(&join(&arguments[0], &text(&arguments[1])))),
        "pad" => pad(
            &text(&arguments[0]),
            [int(&arguments[1]), int(&arguments[2])],
        ),
        "truncate" => truncate(&text(&arguments[0]), int(&arguments[1])),
        _ => Err(format!("no such function: {name}")),
    }
}

fn text(value: &Value) -> Rc<str> {
    match value {
        Value::String(text) | Value::Number(text) => Rc::clone(text),
        _ => Rc::from(""),
    }
}

fn int(value: &Value) -> i128 {
    match value {
        Value::Integer(number, _) => *number,
        _ => 0,
    }
}

fn length(value: &Value) -> Result<i64, String> {
    let length = match value {
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        Value::String(text) | Value::Number(text) => text.len(),
        Value::Header(header) => header.columns.len(),
        Value::Null | Value::NilPointer(_) => return Err("len of nil pointer".to_owned()),
        Value::Missing => {
            return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
        }
        other => {
            let kind = other.type_name();
            return Err(format!("len of type {}", kind.trim_start_matches('*')));
        }
    };
    Ok(i64::try_from(length).unwrap_or(i64::MAX))
}

fn indexable(value: &Value) -> Result<Value, String> {
    match value {
        Value::Missing | Value::Null => Err("index of untyped nil".to_owned()),
        value => Ok(value.clone()),
    }
}

/// A position in something of `length`, or at its end.
fn position(index: &Value, length: usize) -> Result<usize, String> {
    let number = match index {
        Value::Integer(number, _) => *number,
        Value::Duration(number) => i128::from(*number),
        Value::Missing | Value::Null => return Err("cannot index slice/array with nil".to_owned()),
        other => {
            let kind = other.type_name();
            return Err(format!("cannot index slice/array with type {kind}"));
        }
    };
    usize::try_from(number)
        .ok()
        .filter(|position| *position <= length)
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn index(item: &Value, index: &Value, options: Options) -> Result<Value, String> {
    // One past the end passes Go's check, and its reflection refuses it.
    let past = |what: &str| format!("reflect: {what} index out of range");
    match item {
        Value::List(list) => {
            let at = position(index, list.items.len())?;
            let found = list.items.get(at).cloned();
            found.ok_or_else(|| past("slice"))
        }
        Value::String(text) | Value::Number(text) => {
            let at = position(index, text.len())?;
            let byte = *text.as_bytes().get(at).ok_or_else(|| past("string"))?;
            Ok(Value::Integer(i128::from(byte), Integer::Uint8))
        }
        Value::Map(map) => match index {
            Value::String(key) if map.key.is_none() || options.lenient => {
                Ok(map.get(key).unwrap_or(&map.zero).clone())
            }
            Value::Missing | Value::Null => {
                let key = map.key.unwrap_or("string");
                Err(format!("value is nil; should be of type {key}"))
            }
            other => {
                let (kind, key) = (other.type_name(), map.key.unwrap_or("string"));
                Err(format!("value has type {kind}; should be {key}"))
            }
        },
        Value::Missing | Value::Null | Value::NilPointer(_) => {
            Err("index of nil pointer".to_owned())
        }
        other => {
            let kind = other.type_name();
            let kind = kind.trim_start_matches('*');
            Err(format!("can't index item of type {kind}"))
        }
    }
}

fn slice(item: &Value, indexes: &[Value]) -> Result<Value, String> {
    let length = match item {
        Value::Missing | Value::Null => return Err("slice of untyped nil".to_owned()),
        _ if indexes.len() > 3 => {
            return Err(format!("too many slice indexes: {}", indexes.len()));
        }
        Value::String(_) | Value::Number(_) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(text) | Value::Number(text) => text.len(),
        Value::List(list) => list.items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length)?;
    }
    let [start, end, capacity] = bounds;
    for (low, high) in [(start, end), (end, capacity)] {
        if low > high {
            return Err(format!("invalid slice index: {low} > {high}"));
        }
    }
    Ok(match item {
        Value::List(list) => Value::List(Rc::new(List {
            items: list.items[start..end].to_vec(),
            ..List::clone(list)
        })),
        other => Value::string(&cut(&text(other), start, end)),
    })
}

/// The bytes from `start` to `end`, both inside `text`; parts of characters become U+FFFD.
fn cut(text: &str, start: usize, end: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned()
}

/// The arguments of an escaping function as one text; a pointer prints as what it points to.
fn escapable(arguments: &[Value]) -> String {
    let printable: Vec<Value> = arguments
        .iter()
        .map(|value| match value {
            Value::Missing | Value::Null => Value::string("<no value>"),
            value => value.clone(),
        })
        .collect();
    printf::print(&printable)
}

/// The first letter of each word in upper case; letters, digits and underscores continue a word (strings.Title).
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.push(c);
        } else {
            out.push(single(c, c.to_uppercase()));
        }
        inside = match c {
            '_' => true,
            c if c.is_ascii() => c.is_ascii_alphanumeric(),
            c => c.is_alphanumeric() || !c.is_whitespace(),
        };
    }
    out
}

/// Go maps one letter to one: `ß` has no upper case there.
fn map_letters<M: Iterator<Item = char>>(text: &str, map: impl Fn(char) -> M) -> Value {
    let mapped: String = text.chars().map(|c| single(c, map(c))).collect();
    Value::string(&mapped)
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        let letters: Vec<String> = text.chars().map(String::from).collect();
        return Value::strings(letters.iter().map(String::as_str));
    }
    Value::strings(text.split(separator))
}

fn join(list: &Value, separator: &str) -> String {
    let Value::List(list) = list else {
        return String::new();
    };
    let items: Vec<Rc<str>> = list.items.iter().map(text).collect();
    items.join(separator)
}

fn pad(text: &str, [before, after]: [i128; 2]) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::string(""));
    }
    let (before, after) = (blanks(before)?, blanks(after)?);
    Ok(Value::string(&format!("{before}{text}{after}")))
}

fn blanks(count: i128) -> Result<String, String> {
    const MAX: usize = 1_000_000;
    match usize::try_from(count) {
        Ok(count) if count <= MAX => Ok(" ".repeat(count)),
        Ok(_) => Err(format!("too many blanks: {count}")),
        Err(_) => Err("strings: negative Repeat count".to_owned()),
    }
}

fn truncate(text: &str, length: i128) -> Result<Value, String> {
    let size = i128::try_from(text.len()).unwrap_or(i128::MAX);
    if size < length {
        return Ok(Value::string(text));
    }
    match usize::try_from(length) {
        Ok(length) => Ok(Value::string(&cut(text, 0, length))),
        Err(_) => Err(format!(
            "runtime error: slice bounds out of range [:{length}]"
        )),
    }
}

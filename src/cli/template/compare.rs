//! eq, lt and le of templates: Go's rules for values of different types, and their error texts.

use super::value::Value;

/// The kinds of values that compare.
#[derive(PartialEq)]
enum Basic<'a> {
    Bool(bool),
    /// Signed and unsigned compare with one another.
    Integer(i128),
    Float(f64),
    String(&'a str),
    None,
}

fn basic(value: &Value) -> Basic<'_> {
    match value {
        Value::Bool(value) => Basic::Bool(*value),
        Value::Integer(number, _) => Basic::Integer(*number),
        Value::Duration(number) => Basic::Integer(i128::from(*number)),
        Value::Float(number) => Basic::Float(*number),
        Value::String(text) | Value::Number(text) => Basic::String(text),
        _ => Basic::None,
    }
}

fn incompatible(a: &Value, b: &Value) -> String {
    let (a, b) = (a.type_name(), b.type_name());
    format!("incompatible types for comparison: {a} and {b}")
}

/// Returns whether `first` equals one of `others`.
pub(super) fn equal(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal_to_one(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_to_one(a: &Value, b: &Value) -> Result<bool, String> {
    let absent = |value: &Value| matches!(value, Value::Missing | Value::Null);
    match (basic(a), basic(b)) {
        (Basic::None, Basic::None) => {}
        (x, y) if std::mem::discriminant(&x) == std::mem::discriminant(&y) => return Ok(x == y),
        _ if absent(a) || absent(b) => return Ok(false),
        _ => return Err(incompatible(a, b)),
    }
    let shown = |value: &Value| super::printf::print(std::slice::from_ref(value));
    let same_kind = std::mem::discriminant(a) == std::mem::discriminant(b);
    if !absent(a) && !absent(b) && !same_kind {
        let (first, second) = (shown(a), shown(b));
        let (x, y) = (a.type_name(), b.type_name());
        return Err(format!("non-comparable types {first}: {x}, {y}: {second}"));
    }
    if a.is_nil() || b.is_nil() {
        return Ok(a.is_nil() && b.is_nil());
    }
    match (a, b) {
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (Value::Struct(x), Value::Struct(y)) => Ok(x == y),
        _ => {
            let kind = b.type_name();
            Err(format!("non-comparable type {}: {kind}", shown(b)))
        }
    }
}

/// Returns whether `a` is less than `b`.
pub(super) fn less(a: &Value, b: &Value) -> Result<bool, String> {
    const BAD: &str = "invalid type for comparison";
    match (basic(a), basic(b)) {
        (Basic::None, _) | (_, Basic::None) | (Basic::Bool(_), Basic::Bool(_)) => {
            Err(BAD.to_owned())
        }
        (Basic::Integer(a), Basic::Integer(b)) => Ok(a < b),
        (Basic::Float(a), Basic::Float(b)) => Ok(a < b),
        (Basic::String(a), Basic::String(b)) => Ok(a < b),
        _ => Err(incompatible(a, b)),
    }
}

/// Returns whether `a` is less than `b` or equal to it.
pub(super) fn less_or_equal(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(less(a, b)? || equal_to_one(a, b)?)
}

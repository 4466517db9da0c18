//! The parts of a document as Go's types have them: what `null` and empty mean where they stand, and which maps are structs.

use std::rc::Rc;

use super::schema;
use super::value::{Field, List, Map, Struct, Value};

/// Returns a map of one entry.
pub(super) fn single(key: &str, value: Value) -> Value {
    Value::Map(Rc::new(Map {
        zero: element_zero(std::slice::from_ref(&value)),
        key: None,
        nil: false,
        entries: vec![(Rc::from(key), value)],
    }))
}

/// The zero value of the type that `items` have, as far as they tell.
pub(super) fn element_zero(items: &[Value]) -> Value {
    match items.iter().find(|item| !matches!(item, Value::Null)) {
        Some(Value::String(_)) => Value::string(""),
        Some(Value::Integer(_, kind)) => Value::Integer(0, *kind),
        Some(Value::Bool(_)) => Value::Bool(false),
        Some(Value::List(list)) => Value::List(Rc::new(List {
            zero: list.zero.clone(),
            nil: true,
            items: Vec::new(),
        })),
        Some(Value::Map(map)) => Value::Map(Rc::new(Map {
            zero: map.zero.clone(),
            key: map.key,
            nil: true,
            entries: Vec::new(),
        })),
        Some(Value::Struct(value)) => Value::NilPointer(value.name),
        _ => Value::Null,
    }
}

/// `null` among typed elements is nil of their type.
pub(super) fn fill(value: Value, zero: &Value) -> Value {
    match value {
        Value::Null => zero.clone(),
        value => value,
    }
}

/// Returns the field `json` of our type `ours` with the value that Go has there.
pub(super) fn field(ours: &str, json: Rc<str>, value: Value) -> Field {
    let value = match value {
        Value::Null => schema::zero(&json),
        Value::Map(map) => match schema::flattened(ours, &json) {
            Some((name, omittable)) => unflatten(name, omittable, &map),
            None => Value::Map(Rc::new(map_of(&json, &map))),
        },
        Value::List(list) if list.items.is_empty() => Value::List(Rc::new(List {
            zero: schema::element(&json).unwrap_or_else(|| list.zero.clone()),
            nil: false,
            items: Vec::new(),
        })),
        value => schema::typed(ours, &json, value),
    };
    Field {
        go: schema::go_name(&json),
        json,
        omitted: false,
        value,
    }
}

/// Returns the field `json` of our type `ours`, which JSON leaves out.
pub(super) fn omitted(ours: &str, json: &str) -> Field {
    Field {
        json: Rc::from(json),
        go: schema::go_name(json),
        omitted: true,
        value: schema::typed(ours, json, schema::zero(json)),
    }
}

/// A map that is one in Go: sorted, with `null` elements of the right type.
fn map_of(json: &str, map: &Map) -> Map {
    let zero = schema::element(json)
        .filter(|_| matches!(map.zero, Value::Null))
        .unwrap_or_else(|| map.zero.clone());
    let mut entries: Vec<(Rc<str>, Value)> = map
        .entries
        .iter()
        .map(|(key, value)| (Rc::clone(key), fill(value.clone(), &zero)))
        .collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Map {
        zero,
        key: schema::key(json),
        nil: false,
        entries,
    }
}

/// A struct that serialised as a map because parts of it are flattened.
fn unflatten(name: &'static str, omittable: &[&str], map: &Map) -> Value {
    let mut fields: Vec<Field> = map
        .entries
        .iter()
        .map(|(key, value)| field(name, Rc::clone(key), value.clone()))
        .collect();
    for json in omittable {
        if map.get(json).is_none() {
            fields.push(omitted(name, json));
        }
    }
    Value::Struct(Rc::new(Struct { name, fields }))
}

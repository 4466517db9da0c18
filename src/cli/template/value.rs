//! The values of a template: what Go's reflection would see of a document.
//!
//! Printing and truth depend on Go's types, so a value knows them: `null` is a nil list, a nil map or a nil pointer by the
//! type of its field. An element type is kept as its zero value. Strings are UTF-8; a cut through a character leaves
//! U+FFFD.

use std::rc::Rc;

/// A value of a template; cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing at all, as of a map without the key; prints `<no value>`.
    Missing,
    /// `null` in a document without types.
    Null,
    /// A nil pointer, with Go's name of its type.
    NilPointer(&'static str),
    /// A truth value.
    Bool(bool),
    /// A whole number and its type.
    Integer(i128, Integer),
    /// A floating-point number.
    Float(f64),
    /// Text.
    String(Rc<str>),
    /// A number of a document without types: digits that count as text (json.Number).
    Number(Rc<str>),
    /// Nanoseconds that print as `1m30s`.
    Duration(i64),
    /// RFC 3339, which prints as `2006-01-02 15:04:05 -0700 MST`.
    Time(Rc<str>),
    /// A list.
    List(Rc<List>),
    /// A map with text as keys.
    Map(Rc<Map>),
    /// A struct.
    Struct(Rc<Struct>),
    /// A line of a list command.
    Row(Rc<Row>),
    /// The names of the columns of a list command.
    Header(Rc<Header>),
}

/// Go's type of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integer {
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `uint8`
    Uint8,
    /// `uint16`
    Uint16,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
}

impl Integer {
    fn name(self) -> &'static str {
        match self {
            Integer::Int => "int",
            Integer::Int64 => "int64",
            Integer::Uint8 => "uint8",
            Integer::Uint16 => "uint16",
            Integer::Uint32 => "uint32",
            Integer::Uint64 => "uint64",
        }
    }
}

/// A list, its elements' zero value, and whether it is nil.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// Tells the type of the elements.
    pub zero: Value,
    /// Whether it is nil, which is `null` in JSON and prints as an empty list.
    pub nil: bool,
    /// The elements.
    pub items: Vec<Value>,
}

/// A map, its elements' zero value, and whether it is nil.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Tells the type of the elements.
    pub zero: Value,
    /// Go's name of the type of the keys, if it is not `string`: text is then no key.
    pub key: Option<&'static str>,
    /// Whether it is nil, which is `null` in JSON and prints as an empty map.
    pub nil: bool,
    /// Keys and elements; sorted by key.
    pub entries: Vec<(Rc<str>, Value)>,
}

/// A struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    /// Go's name of the type.
    pub name: &'static str,
    /// In the order of the type.
    pub fields: Vec<Field>,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name in JSON.
    pub json: Rc<str>,
    /// Its name in Go, if that is another.
    pub go: Option<&'static str>,
    /// Whether JSON leaves it out.
    pub omitted: bool,
    /// Its value; the type's zero value if it is left out.
    pub value: Value,
}

impl Field {
    /// Returns the name in Go.
    pub fn name(&self) -> &str {
        self.go.unwrap_or(&self.json)
    }
}

/// A column of a list command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in templates: `RunningFor`.
    pub name: &'static str,
    /// Name in the first line of a table: `CREATED`.
    pub header: &'static str,
}

/// A line of a list command; its columns are methods in Go.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Go's name of the type, for error texts.
    pub type_name: &'static str,
    /// The columns.
    pub columns: &'static [Column],
    /// One value per column.
    pub values: Vec<Value>,
    /// What `.Label "key"` looks in, if there is such a method.
    pub labels: Option<std::collections::BTreeMap<String, String>>,
    /// Values that are others in JSON, by the name of their column.
    pub in_json: Vec<(&'static str, Value)>,
}

/// The names of the columns, for the first line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The columns.
    pub columns: &'static [Column],
}

impl Value {
    /// Returns a value of text.
    pub fn string(text: &str) -> Value {
        Value::String(Rc::from(text))
    }

    /// Returns a whole number of Go's type `int`.
    pub fn int(number: i64) -> Value {
        Value::Integer(i128::from(number), Integer::Int)
    }

    /// Returns a list of text.
    pub fn strings<'a>(items: impl Iterator<Item = &'a str>) -> Value {
        Value::List(Rc::new(List {
            zero: Value::string(""),
            nil: false,
            items: items.map(Value::string).collect(),
        }))
    }

    /// Returns Go's name of the type.
    pub fn type_name(&self) -> String {
        match self {
            Value::Missing => "<nil>".to_owned(),
            Value::Null => "interface {}".to_owned(),
            Value::NilPointer(name) => (*name).to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Integer(_, kind) => kind.name().to_owned(),
            Value::Float(_) => "float64".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Number(_) => "json.Number".to_owned(),
            Value::Duration(_) => "time.Duration".to_owned(),
            Value::Time(_) => "time.Time".to_owned(),
            Value::List(list) => format!("[]{}", list.zero.type_name()),
            Value::Map(map) => {
                let key = map.key.unwrap_or("string");
                format!("map[{key}]{}", map.zero.type_name())
            }
            Value::Struct(value) => value.name.to_owned(),
            Value::Row(row) => row.type_name.to_owned(),
            Value::Header(_) => "formatter.SubHeaderContext".to_owned(),
        }
    }

    /// Returns whether `if` takes it for true: not the zero value of its type.
    pub fn truth(&self) -> bool {
        match self {
            Value::Missing | Value::Null | Value::NilPointer(_) => false,
            Value::Bool(value) => *value,
            Value::Integer(value, _) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::String(text) | Value::Number(text) => !text.is_empty(),
            Value::Duration(value) => *value != 0,
            Value::List(list) => !list.items.is_empty(),
            Value::Map(map) => !map.entries.is_empty(),
            Value::Time(_) | Value::Struct(_) | Value::Row(_) | Value::Header(_) => true,
        }
    }

    /// Returns whether it is nil: what `eq x nil` asks.
    pub fn is_nil(&self) -> bool {
        match self {
            Value::Missing | Value::Null | Value::NilPointer(_) => true,
            Value::List(list) => list.nil,
            Value::Map(map) => map.nil,
            _ => false,
        }
    }
}

impl Map {
    /// Returns the element of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let (_, value) = self.entries.iter().find(|(name, _)| &**name == key)?;
        Some(value)
    }
}

impl Row {
    /// Returns the value of a column.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let index = self.columns.iter().position(|column| column.name == name)?;
        self.values.get(index)
    }
}

impl Header {
    /// Returns the name of a column in the first line.
    pub fn get(&self, name: &str) -> Option<&'static str> {
        let column = self.columns.iter().find(|column| column.name == name)?;
        Some(column.header)
    }

    /// Returns the name of the column of a label: the last word of its key.
    pub fn label(key: &str) -> String {
        let word = key.rsplit('.').next().unwrap_or_default();
        word.replace(['-', '_'], " ")
    }
}

/// Returns `value` as it is after a way through JSON: structs are maps, numbers are text, all that is nil is `null`.
pub fn untyped(value: &Value) -> Value {
    match value {
        Value::Missing | Value::NilPointer(_) => Value::Null,
        Value::Integer(number, _) => Value::Number(number.to_string().into()),
        Value::Duration(number) => Value::Number(number.to_string().into()),
        Value::Float(number) => Value::Number(super::json::float(*number).into()),
        Value::Time(text) => Value::String(Rc::clone(text)),
        Value::List(list) if list.nil => Value::Null,
        Value::Map(map) if map.nil => Value::Null,
        Value::List(list) => Value::List(Rc::new(List {
            zero: Value::Null,
            nil: false,
            items: list.items.iter().map(untyped).collect(),
        })),
        Value::Map(map) => untyped_map(
            map.entries
                .iter()
                .map(|(key, value)| (Rc::clone(key), untyped(value)))
                .collect(),
        ),
        Value::Struct(value) => untyped_map(
            value
                .fields
                .iter()
                .filter(|field| !field.omitted)
                .map(|field| (Rc::clone(&field.json), untyped(&field.value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn untyped_map(mut entries: Vec<(Rc<str>, Value)>) -> Value {
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Value::Map(Rc::new(Map {
        zero: Value::Null,
        key: None,
        nil: false,
        entries,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_gos_names() {
        let list = Value::strings(["a"].into_iter());
        assert_eq!(list.type_name(), "[]string");
        assert_eq!(untyped(&list).type_name(), "[]interface {}");
        assert_eq!(Value::int(1).type_name(), "int");
        assert_eq!(untyped(&Value::int(1)), Value::Number("1".into()));
    }

    #[test]
    fn empty_and_zero_are_false() {
        for value in [
            Value::Missing,
            Value::NilPointer("*T"),
            Value::string(""),
            Value::int(0),
            Value::Bool(false),
            Value::strings([].into_iter()),
        ] {
            assert!(!value.truth(), "{value:?}");
        }
        for value in [
            Value::string("0"),
            Value::Float(0.1),
            Value::Number("0".into()),
        ] {
            assert!(value.truth(), "{value:?}");
        }
    }

    #[test]
    fn a_label_is_named_by_its_last_word() {
        assert_eq!(Header::label("com.example.my-own_label"), "my own label");
        assert_eq!(Header::label("app"), "app");
    }
}

//! Documents → values, by a serde serialiser: struct fields keep their order, their names, and whether they were left out.

use std::fmt::Display;
use std::rc::Rc;

use serde::ser::{self, Serialize};

use super::document::{element_zero, field, fill, omitted, single};
use super::schema;
use super::value::{Field, Integer, List, Map, Struct, Value};

/// Returns the value of a document.
///
/// Fails only for what is no document: map keys that are not text, numbers or truth values.
pub(super) fn to_value<T: Serialize + ?Sized>(document: &T) -> anyhow::Result<Value> {
    Ok(document.serialize(ToValue)?)
}

/// Why a document has no value.
#[derive(Debug)]
pub(super) struct Unsupported(String);

impl Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

impl ser::Error for Unsupported {
    fn custom<T: Display>(message: T) -> Unsupported {
        Unsupported(message.to_string())
    }
}

/// `null`, which becomes the zero value of its field's type where there is a field.
const NULL: Value = Value::Null;

#[derive(Clone, Copy)]
struct ToValue;

type Made = Result<Value, Unsupported>;

fn integer(number: impl Into<i128>, kind: Integer) -> Value {
    Value::Integer(number.into(), kind)
}

impl ser::Serializer for ToValue {
    type Ok = Value;
    type Error = Unsupported;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Variant<Items>;
    type SerializeMap = Entries;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Variant<Fields>;

    fn serialize_bool(self, value: bool) -> Made {
        Ok(Value::Bool(value))
    }
    fn serialize_i8(self, value: i8) -> Made {
        Ok(integer(value, Integer::Int))
    }
    fn serialize_i16(self, value: i16) -> Made {
        Ok(integer(value, Integer::Int))
    }
    fn serialize_i32(self, value: i32) -> Made {
        Ok(integer(value, Integer::Int))
    }
    fn serialize_i64(self, value: i64) -> Made {
        Ok(integer(value, Integer::Int64))
    }
    fn serialize_u8(self, value: u8) -> Made {
        Ok(integer(value, Integer::Int))
    }
    fn serialize_u16(self, value: u16) -> Made {
        Ok(integer(value, Integer::Uint16))
    }
    fn serialize_u32(self, value: u32) -> Made {
        Ok(integer(value, Integer::Int))
    }
    fn serialize_u64(self, value: u64) -> Made {
        Ok(integer(value, Integer::Uint64))
    }
    fn serialize_f32(self, value: f32) -> Made {
        Ok(Value::Float(f64::from(value)))
    }
    fn serialize_f64(self, value: f64) -> Made {
        Ok(Value::Float(value))
    }
    fn serialize_char(self, value: char) -> Made {
        Ok(Value::string(&value.to_string()))
    }
    fn serialize_str(self, value: &str) -> Made {
        Ok(Value::string(value))
    }
    fn serialize_bytes(self, value: &[u8]) -> Made {
        Ok(Value::string(&String::from_utf8_lossy(value)))
    }
    fn serialize_none(self) -> Made {
        Ok(NULL)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Made {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Made {
        Ok(NULL)
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Made {
        Ok(NULL)
    }
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Made {
        Ok(Value::string(variant))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Made {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Made {
        Ok(single(variant, value.serialize(self)?))
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<Items, Unsupported> {
        Ok(Items(Vec::with_capacity(length.unwrap_or(0))))
    }
    fn serialize_tuple(self, length: usize) -> Result<Items, Unsupported> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        length: usize,
    ) -> Result<Items, Unsupported> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Variant<Items>, Unsupported> {
        Ok(Variant(variant, self.serialize_seq(Some(length))?))
    }
    fn serialize_map(self, _length: Option<usize>) -> Result<Entries, Unsupported> {
        Ok(Entries {
            key: None,
            entries: Vec::new(),
        })
    }
    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Fields, Unsupported> {
        Ok(Fields {
            name,
            fields: Vec::with_capacity(length),
        })
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Variant<Fields>, Unsupported> {
        Ok(Variant(variant, self.serialize_struct(name, length)?))
    }
}

/// A list in the making.
pub(super) struct Items(Vec<Value>);

impl Items {
    fn finish(self) -> Value {
        let zero = element_zero(&self.0);
        let items = self.0.into_iter().map(|item| fill(item, &zero)).collect();
        Value::List(Rc::new(List {
            zero,
            nil: false,
            items,
        }))
    }
}

impl ser::SerializeSeq for Items {
    type Ok = Value;
    type Error = Unsupported;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        self.0.push(value.serialize(ToValue)?);
        Ok(())
    }

    fn end(self) -> Made {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for Items {
    type Ok = Value;
    type Error = Unsupported;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Made {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for Items {
    type Ok = Value;
    type Error = Unsupported;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Made {
        Ok(self.finish())
    }
}

/// A map in the making.
pub(super) struct Entries {
    key: Option<Rc<str>>,
    entries: Vec<(Rc<str>, Value)>,
}

impl ser::SerializeMap for Entries {
    type Ok = Value;
    type Error = Unsupported;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unsupported> {
        self.key = Some(match key.serialize(ToValue)? {
            Value::String(text) => text,
            Value::Integer(number, _) => Rc::from(number.to_string()),
            Value::Bool(value) => Rc::from(value.to_string()),
            other => {
                let kind = other.type_name();
                return Err(Unsupported(format!("a map's key has type {kind}")));
            }
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        let key = self.key.take().unwrap_or_else(|| Rc::from(""));
        self.entries.push((key, value.serialize(ToValue)?));
        Ok(())
    }

    fn end(self) -> Made {
        let values: Vec<Value> = self
            .entries
            .iter()
            .map(|(_, value)| value.clone())
            .collect();
        let zero = element_zero(&values);
        Ok(Value::Map(Rc::new(Map {
            zero,
            key: None,
            nil: false,
            entries: self.entries,
        })))
    }
}

/// A struct in the making.
pub(super) struct Fields {
    name: &'static str,
    fields: Vec<Field>,
}

impl Fields {
    fn finish(self) -> Value {
        Value::Struct(Rc::new(Struct {
            name: schema::type_name(self.name),
            fields: self.fields,
        }))
    }
}

impl ser::SerializeStruct for Fields {
    type Ok = Value;
    type Error = Unsupported;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Unsupported> {
        let value = value.serialize(ToValue)?;
        self.fields.push(field(self.name, Rc::from(key), value));
        Ok(())
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), Unsupported> {
        self.fields.push(omitted(self.name, key));
        Ok(())
    }

    fn end(self) -> Made {
        Ok(self.finish())
    }
}

/// A variant of an enum in the making: a map with its name as the key.
pub(super) struct Variant<T>(&'static str, T);

impl ser::SerializeTupleVariant for Variant<Items> {
    type Ok = Value;
    type Error = Unsupported;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        ser::SerializeSeq::serialize_element(&mut self.1, value)
    }

    fn end(self) -> Made {
        Ok(single(self.0, self.1.finish()))
    }
}

impl ser::SerializeStructVariant for Variant<Fields> {
    type Ok = Value;
    type Error = Unsupported;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Unsupported> {
        ser::SerializeStruct::serialize_field(&mut self.1, key, value)
    }

    fn end(self) -> Made {
        Ok(single(self.0, self.1.finish()))
    }
}

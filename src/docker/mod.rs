//! Documents of the Docker Engine API (version 1.51): serde types with public fields.
//!
//! Field names and their order are Go's, so that what is printed looks as docker's. A list or map that is `None` prints as
//! `null`, and clients tell that from an empty one. Fields that Go omits when empty are omitted here too.

pub mod container;
pub mod duration;
pub mod image;
pub mod info;
pub mod inspect;
pub mod network;
pub mod progress;
pub mod system;

/// Reads a truth value as Go does (`strconv.ParseBool`); nothing for any other text.
pub fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Returns whether a value is its type's default, for fields that Go omits when they are empty.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

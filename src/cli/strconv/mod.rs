//! Go's text forms of values (package strconv), as far as docker's texts and arguments show them.

pub mod float;
pub mod number;
pub mod quote;

//! The command line in front of the engine: parses what was typed, and prints what came back.

pub mod format;
pub mod human;
pub mod inspector;
pub mod rows;
pub mod strconv;
pub mod template;

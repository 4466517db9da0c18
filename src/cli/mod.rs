//! The command line in front of the engine: parses what was typed, and prints what came back.

mod float;
pub mod human;
pub mod quote;
pub mod template;

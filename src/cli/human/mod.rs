//! How sizes, times, ports and commands look to people, and how people write sizes and times.
//!
//! The forms are docker's, to the letter, since scripts cut them apart; except that a size never prints as `1e+03kB`.

pub mod ports;
pub mod size;
pub mod text;
pub mod time;

//! How sizes, times, ports and commands look to people, and how people write sizes and times.
//!
//! The forms are docker's, to the letter, since scripts cut them apart; except that a size never prints as `1e+03kB`.

mod ports;
mod size;
mod text;
mod time;

pub use ports::{Port, ports};
pub use size::{
    bytes_binary, bytes_decimal, bytes_short, parse_decimal_bytes, parse_float, parse_ram_bytes,
};
pub use text::{command_column, ellipsis, short_id};
pub use time::{
    ago, duration, go_duration, go_time, local_time, parse_duration, parse_time, status,
};

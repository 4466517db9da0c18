//! The command lines: which one was called, by the program's name or its first argument.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

mod oci;
mod relay;
pub mod terminal;

/// Runs the command line that this process was started with.
pub fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let name = args
        .first()
        .and_then(|name| Path::new(name).file_name())
        .map(|name| name.to_string_lossy().into_owned());
    if name.as_deref() == Some("aril-oci") {
        return oci::main(args);
    }
    if args.get(1).is_some_and(|command| command == "runtime") {
        args.remove(0);
        return oci::main(args);
    }
    oci::complain("aril", "unknown command; the OCI runtime is `aril runtime`");
    ExitCode::from(1)
}

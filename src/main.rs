//! The program: everything is in the library, whose command line decides by the name the program was called by.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(aril::cli::main(std::env::args_os()))
}

//! The program: everything is in the library, whose command line decides by the name the program was called by.

fn main() -> std::process::ExitCode {
    aril::cli::main(std::env::args_os())
}

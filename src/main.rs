//! The program: everything is in the library, whose command line decides by the name the program was called by.

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    aril::cli::main(std::env::args_os())
}

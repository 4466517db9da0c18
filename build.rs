//! Has the linker lay the functions of starts side by side, for the release with musl.
//!
//! A start calls one function in twenty. Where the linker leaves them, they are all over 9 MiB, and the kernel maps each
//! neighbourhood by a page fault of its own, in every process: side by side it is a tenth of a start less. The list is made by
//! `benches/order/make`; names that are not there any more are passed over.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

const LIST: &str = "src/order.txt";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={LIST}");
    let is = |key: &str, value: &str| env::var(key).is_ok_and(|found| found == value);
    // Others are not what users have.
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_ENV", "musl") {
        return Ok(());
    }
    let script = Path::new(&env::var("OUT_DIR")?).join("order.ld");
    fs::write(&script, linker_script(&fs::read_to_string(LIST)?))?;
    println!("cargo::rustc-link-arg-bin=aril=-Wl,-T,{}", script.display());
    Ok(())
}

/// Adds a section before that of all other functions; for GNU ld and lld.
fn linker_script(list: &str) -> String {
    let names = list.lines().filter(|line| !line.starts_with('#'));
    let sections: Vec<String> = names
        .map(|name| format!("    *(.text.{name} .text.unlikely.{name})\n"))
        .collect();
    let sections = sections.concat();
    format!("SECTIONS\n{{\n  .text.start :\n  {{\n{sections}  }}\n}}\nINSERT BEFORE .text;\n")
}

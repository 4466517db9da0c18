//! Two hours of use in a few minutes: 5,000 starts, 20,000 execs, 10,000,000 lines, 200 restarts; fails if a monitor grows, a
//! descriptor or a line is lost, or a process is stuck.
//!
//! ```text
//! cargo bench --bench soak [-- PERCENT]            needs root; PERCENT of all that, 100 by default
//! ARIL=/usr/local/bin/aril cargo bench …           soaks another build
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod loops;
mod machine;

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use loops::{Counts, Soak};
use machine::{check, command, path};

const FULL: Counts = Counts {
    starts: 5_000,
    execs: 20_000,
    lines: 10_000_000,
    restarts: 200,
};

fn main() -> Result<()> {
    machine::run(|| Ok(Vec::new()), soak)
}

fn soak(work: &Path) -> Result<()> {
    let percent = std::env::args()
        .nth(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(100);
    let part = |count: usize| (count * percent / 100).max(1);
    let program = std::env::var_os("ARIL").unwrap_or_else(|| env!("CARGO_BIN_EXE_aril").into());
    let aril = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args);
        command
            .env("ARIL_ROOT", work.join("aril"))
            .env("ARIL_RUN", "/run/aril");
        command
    };
    let root = work.join("busybox");
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs-fixtures/busybox.sh");
    command(path(&recipe)?, &[path(&root)?])?;
    let tar = work.join("busybox.tar");
    command("tar", &["-C", path(&root)?, "-cf", path(&tar)?, "."])?;
    check(&mut aril(&["import", path(&tar)?, "busybox"]))?;
    let soak = Soak {
        spawn: &|args, stdin, stdout| loops::start(aril(args), stdin, stdout),
        image: "busybox",
        counts: Counts {
            starts: part(FULL.starts),
            execs: part(FULL.execs),
            lines: part(FULL.lines),
            restarts: part(FULL.restarts),
        },
    };
    soak.run()
}

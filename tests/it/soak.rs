//! A small soak: the loops of the benchmark of that name, for some seconds.

#[path = "../../benches/loops.rs"]
mod loops;

use loops::{Counts, Soak};

use crate::sandbox::Sandbox;

#[test]
fn nothing_grows_or_gets_lost() {
    let sandbox = Sandbox::new();
    let soak = Soak {
        spawn: &|args, stdin, stdout| {
            let command = sandbox.aril_command(args);
            sandbox.inside(|| loops::start(command, stdin, stdout))
        },
        image: "busybox",
        counts: Counts {
            starts: 60,
            execs: 200,
            lines: 500_000,
            restarts: 10,
        },
    };
    soak.run().unwrap();
}

//! `aril run`.

use crate::sandbox::Sandbox;

#[test]
fn output_and_exit_code_are_the_programs() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.ok(&["run", "--rm", "busybox", "echo", "hello"]),
        "hello"
    );
    let ran = sandbox.aril(&["run", "--rm", "busybox", "sh", "-c", "echo oh >&2; exit 3"]);
    assert_eq!((ran.code, ran.err.as_str()), (3, "oh\n"));
}

//! `import` of what lies at an address.

use super::fake::{Answer, Fake};
use crate::sandbox::{Sandbox, image};

#[test]
fn an_archive_is_imported_from_an_address() {
    let sandbox = Sandbox::bare();
    let tar = sandbox.path("rootfs.tar").display().to_string();
    sandbox.shell(&format!("tar -C {} -cf {tar} .", image::rootfs().display()));
    let tar = std::fs::read(tar).unwrap();
    let fake = Fake::start(&sandbox, move |seen| match seen.path.as_str() {
        "/root.tar?key=secret" => Answer::new(200).body(tar.clone()),
        "/moved" => Answer::new(302).with("Location", "/root.tar?key=secret"),
        "/cut" => Answer {
            cut: Some(100_000),
            ..Answer::new(200).body(tar.clone())
        },
        "/text" => Answer::new(200).body("no archive"),
        _ => Answer::new(404),
    });
    let url = |path: &str| format!("http://{}{path}", fake.address);
    let said = sandbox.ok(&["import", &url("/root.tar?key=secret"), "web"]);
    let (first, id) = said.split_once('\n').unwrap();
    assert_eq!(first, format!("Downloading from {}", url("/root.tar")));
    assert_eq!(sandbox.ok(&["images", "-q", "--no-trunc", "web"]), id);
    let comment = sandbox.ok(&["image", "inspect", "-f", "{{.Comment}}", "web"]);
    assert_eq!(comment, format!("Imported from {}", url("/root.tar")));
    sandbox
        .aril(&["run", "--rm", "--network", "none", "web", "echo", "hi"])
        .says("hi");
    let moved = sandbox.ok(&["import", "-c", "CMD [\"sh\"]", &url("/moved"), "moved"]);
    assert!(moved.starts_with("Downloading from "), "{moved}");
    for (path, why) in [
        ("/nosuch", "with status 404 Not Found"),
        ("/cut", "unexpected EOF"),
        ("/text", "the archive ends inside a header"),
    ] {
        let error = sandbox.fails(1, &["import", &url(path), "other"]);
        assert!(error.contains(why), "{path}: {error}");
    }
    let error = sandbox.fails(1, &["import", "http://127.0.0.1:1/x", "other"]);
    assert!(
        error.contains(
            "Get \"http://127.0.0.1:1/x\": dial tcp 127.0.0.1:1: connect: connection refused"
        ),
        "{error}"
    );
    assert_eq!(sandbox.ok(&["images", "-q", "other"]), "");
    let mut terminal = sandbox.terminal(&["import", &url("/moved"), "again"]);
    terminal.expect("Importing");
    assert_eq!(terminal.wait().0, 0);
}

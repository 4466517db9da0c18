//! `cp`: out of and into containers, running or not, and as archives.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};

use crate::sandbox::Sandbox;

/// A running container `box` with a few files in it.
fn running() -> Sandbox {
    let sandbox = Sandbox::new();
    let script = "mkdir -p /d/sub; echo one > /d/f; echo two > /d/sub/g; ln -s /d /link; ln -s f /d/soft; \
                  ln -s /etc /d/out; chown 1000:1000 /d/f; echo ready; exec sleep 1000";
    sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    sandbox.wait_for_log("box", "ready");
    sandbox
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path(name)).unwrap()
}

fn shell(sandbox: &Sandbox, script: &str) -> String {
    sandbox.ok(&["exec", "box", "sh", "-c", script])
}

#[test]
fn files_come_out() {
    let sandbox = running();
    sandbox.ok(&["cp", "box:/d/f", "plain"]);
    assert_eq!(read(&sandbox, "plain"), "one\n");
    // Whose the copy is: the caller's, or with -a whoever's it was.
    assert_eq!(sandbox.path("plain").metadata().unwrap().uid(), 0);
    sandbox.ok(&["cp", "-a", "box:/d/f", "kept"]);
    assert_eq!(sandbox.path("kept").metadata().unwrap().uid(), 1000);
    // A directory gets another name, or goes into one that is there.
    sandbox.ok(&["cp", "box:d", "new"]);
    assert_eq!(read(&sandbox, "new/sub/g"), "two\n");
    sandbox.ok(&["cp", "box:/d", "new"]);
    assert_eq!(read(&sandbox, "new/d/f"), "one\n");
    sandbox.ok(&["cp", "box:/d/.", "content"]);
    assert_eq!(read(&sandbox, "content/f"), "one\n");
    // Links come as links, unless they are followed or end in a slash.
    sandbox.ok(&["cp", "box:/link", "l1"]);
    assert_eq!(
        fs::read_link(sandbox.path("l1")).unwrap().to_str(),
        Some("/d")
    );
    sandbox.ok(&["cp", "-L", "box:/link", "l2"]);
    sandbox.ok(&["cp", "box:/link/", "l3"]);
    for name in ["l2/f", "l3/f"] {
        assert_eq!(read(&sandbox, name), "one\n");
    }
    assert_eq!(
        fs::read_link(sandbox.path("l2/out")).unwrap().to_str(),
        Some("/etc")
    );
    let events = sandbox.ok(&[
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=archive-path",
    ]);
    assert_eq!(events.lines().count(), 8, "{events}");
}

#[test]
fn files_go_in() {
    let sandbox = running();
    sandbox.write("h", "host\n");
    sandbox.write("tree/a", "a\n");
    sandbox.write("tree/b/c", "c\n");
    symlink("a", sandbox.path("tree/s")).unwrap();
    chown(sandbox.path("h"), Some(1234), Some(1234)).unwrap();
    sandbox.ok(&["cp", "h", "box:/d"]);
    assert_eq!(
        shell(&sandbox, "cat /d/h; stat -c %u:%g /d/h"),
        "host\n1234:1234"
    );
    sandbox.ok(&["cp", "h", "box:/d/other"]);
    sandbox.ok(&["cp", "h", "box:/d/f"]);
    assert_eq!(shell(&sandbox, "cat /d/other /d/f"), "host\nhost");
    sandbox.ok(&["cp", "tree", "box:/new"]);
    sandbox.ok(&["cp", "tree", "box:/new"]);
    sandbox.ok(&["cp", "tree/.", "box:/d/sub"]);
    assert_eq!(
        shell(
            &sandbox,
            "cat /new/b/c /new/tree/a /d/sub/a; readlink /new/s"
        ),
        "c\na\na\na"
    );
    // A link in the container leads to where the container would go, and no further.
    sandbox.ok(&["cp", "h", "box:/link/via"]);
    shell(
        &sandbox,
        "ln -s ../../../../../../etc /d/climb; ln -s /d/made /dangling",
    );
    sandbox.ok(&["cp", "h", "box:/d/climb/marker"]);
    sandbox.ok(&["cp", "h", "box:/dangling"]);
    assert_eq!(
        shell(&sandbox, "cat /d/via /etc/marker /d/made"),
        "host\nhost\nhost"
    );
    assert!(!std::path::Path::new("/etc/marker").exists());
    assert!(shell(&sandbox, "ls -l /dangling").contains("->"));
}

#[test]
fn with_archive_the_files_are_the_users() {
    let sandbox = Sandbox::new();
    sandbox.write("h", "");
    sandbox.ok(&["create", "--name", "box", "-u", "app", "busybox"]);
    sandbox.ok(&["cp", "-a", "h", "box:/h"]);
    sandbox.ok(&["cp", "-a", "box:/h", "back"]);
    assert_eq!(sandbox.path("back").metadata().unwrap().uid(), 1000);
}

#[test]
fn archives_stream_both_ways() {
    let sandbox = running();
    let list = |path: &str| sandbox.shell(&format!("{} cp {path} - | tar t", crate::sandbox::ARIL));
    assert_eq!(list("box:/etc/passwd"), "passwd");
    assert_eq!(list("box:/d/sub"), "sub/\nsub/g");
    assert_eq!(list("box:/d/sub/."), "./\n./g");
    sandbox.write("in/x", "x\n");
    sandbox.shell(&format!(
        "tar -C in -c x | {0} cp - box:/tmp; tar -C in -cz x | {0} cp - box:/d",
        crate::sandbox::ARIL
    ));
    assert_eq!(shell(&sandbox, "cat /tmp/x /d/x"), "x\nx");
    let error = sandbox.fails(1, &["cp", "-", "box:/nowhere"]);
    assert_eq!(
        error,
        "aril: destination \"box:/nowhere\" must be a directory"
    );
}

#[test]
fn stopped_and_new_containers_have_files_too() {
    let sandbox = Sandbox::new();
    sandbox.write("h", "host\n");
    sandbox.write("bound/b", "b\n");
    let bound = format!("{}:/bound", sandbox.path("bound").display());
    let create = [
        "create", "--name", "box", "-v", "vol:/vol", "-v", &bound, "busybox", "cat", "/h", "/vol/h",
    ];
    sandbox.ok(&create);
    sandbox.ok(&["cp", "h", "box:/h"]);
    sandbox.ok(&["cp", "h", "box:/vol/h"]);
    sandbox.ok(&["cp", "box:/bound/b", "out"]);
    assert_eq!(read(&sandbox, "out"), "b\n");
    assert_eq!(sandbox.ok(&["start", "-a", "box"]), "host\nhost");
    sandbox.ok(&["cp", "box:/h", "again"]);
    sandbox.ok(&["cp", "box:/vol/h", "volume"]);
    assert_eq!(
        read(&sandbox, "again") + &read(&sandbox, "volume"),
        "host\nhost\n"
    );
    // The volume's file is the volume's, not the container's.
    assert!(!sandbox.ok(&["diff", "box"]).contains("/vol/h"));
    let path = sandbox.root().join("volumes/vol/_data/h");
    assert_eq!(fs::read_to_string(path).unwrap(), "host\n");
}

#[test]
fn what_is_read_only_stays_so() {
    let sandbox = Sandbox::new();
    sandbox.write("h", "");
    let run = [
        "run",
        "-d",
        "--name",
        "box",
        "--read-only",
        "-v",
        "rw:/rw",
        "-v",
        "ro:/ro:ro",
        "--tmpfs",
        "/scratch",
        "busybox",
        "sleep",
        "1000",
    ];
    sandbox.ok(&run);
    let fails = |path: &str| sandbox.fails(1, &["cp", "h", path]);
    assert_eq!(
        fails("box:/h"),
        "aril: container rootfs is marked read-only"
    );
    assert_eq!(fails("box:/ro"), "aril: mounted volume is marked read-only");
    sandbox.ok(&["cp", "h", "box:/rw"]);
    sandbox.ok(&["cp", "h", "box:/scratch"]);
    assert_eq!(
        shell(&sandbox, "ls /rw /scratch"),
        "/rw:\nh\n\n/scratch:\nh"
    );
}

#[test]
fn mistakes_have_dockers_texts() {
    let sandbox = running();
    sandbox.write("h", "");
    sandbox.write("tree/a", "");
    let check = |from: &str, to: &str, want: &str| {
        let error = sandbox.fails(1, &["cp", from, to]);
        assert!(error.ends_with(want), "{from} {to}: {error}");
    };
    check(
        "box:/nosuch",
        "x",
        "Could not find the file /nosuch in container box",
    );
    check("h", "box:/nodir/", "no such directory");
    check(
        "h",
        "box:/nodir/x",
        "Could not find the file /nodir in container box",
    );
    check("tree", "box:/d/f", "cannot copy directory");
    for (from, to) in [("h", "box:"), ("box:", "x"), ("-", "box:"), ("box:", "-")] {
        check(from, to, "bad parameter: path cannot be empty");
    }
    check("h", "nosuch:/x", "No such container: nosuch");
    check("nosuch", "box:/x", "nosuch: no such file or directory");
    check("h", "x", "must specify at least one container source");
    check(
        "box:/d",
        "box:/e",
        "copying between containers is not supported",
    );
    check(
        "h",
        "box:/dev/null",
        "must be a directory or a regular file: got a device",
    );
    let missing = sandbox.path("no").display().to_string();
    check(
        "box:/d/f",
        "no/x",
        &format!("invalid output path: directory {missing:?} does not exist"),
    );
    shell(&sandbox, "mkdir /d/tree; touch /d/sub/tree; mkdir /d/h");
    check(
        "h",
        "box:/d",
        "cannot overwrite directory \"/d/h\" with non-directory \"/d\"",
    );
    check(
        "tree",
        "box:/d/sub",
        "cannot overwrite non-directory \"/d/sub/tree\" with directory \"/d/sub\"",
    );
}

#[test]
fn the_working_directory_of_a_new_container_is_there() {
    let sandbox = Sandbox::new();
    let create = [
        "create",
        "--name",
        "box",
        "-w",
        "/src/deep",
        "busybox",
        "sh",
        "-c",
        "pwd; cat f",
    ];
    sandbox.ok(&create);
    assert_eq!(sandbox.ok(&["diff", "box"]), "A /src\nA /src/deep");
    sandbox.write("f", "here\n");
    let archive = std::fs::read({
        sandbox.shell("tar -cf archive f");
        sandbox.path("archive")
    });
    sandbox
        .feed(&["cp", "-", "box:/src/deep"], &archive.unwrap())
        .says("");
    assert_eq!(sandbox.ok(&["start", "-a", "box"]), "/src/deep\nhere");
    // One that the image has is left alone.
    sandbox.ok(&["create", "--name", "other", "-w", "/etc", "busybox"]);
    assert_eq!(sandbox.ok(&["diff", "other"]), "");
}

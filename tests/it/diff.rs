//! `diff`, and `diff --content`.

use crate::sandbox::Sandbox;

const SCRIPT: &str = "
cd /etc
printf 'one\\ntwo\\nthree\\n' > /etc/numbers
chmod 640 /etc/group && chown 1:2 /etc/group
printf 'x' >> /etc/passwd
rm -r /var/www
mkdir /new && printf 'a\\0b' > /new/binary && : > /new/empty
ln -s /etc/numbers /new/link
dd if=/dev/zero of=/new/large bs=1M count=5 2>/dev/null
touch /tmp/file
";

fn made(sandbox: &Sandbox) {
    // What is taken away and changed must be in the image first.
    let script = "mkdir -p /var/www/deep; echo page > /var/www/index; echo deep > /var/www/deep/x; ln -s /etc /configuration";
    sandbox.ok(&["run", "--name", "base", "busybox", "sh", "-c", script]);
    sandbox.ok(&["commit", "base", "base:1"]);
    sandbox.ok(&["run", "--name", "cc", "base:1", "sh", "-c", SCRIPT]);
}

#[test]
fn contents_are_compared_with_the_image() {
    let sandbox = Sandbox::new();
    made(&sandbox);
    let text = sandbox.ok(&["diff", "--content", "cc"]);
    for part in [
        "A /etc/numbers (file, mode 644, owner 0:0)\n--- /dev/null\n+++ b/etc/numbers\n@@ -0,0 +1,3 @@\n+one\n+two\n+three\n",
        "C /etc/group (mode 644 -> 640, owner 0:0 -> 1:2)\n",
        "C /etc/passwd\n--- a/etc/passwd\n+++ b/etc/passwd\n",
        "\n+x\n\\ No newline at end of file\n",
        "D /var/www (directory)\n",
        "D /var/www/deep (directory)\n",
        "D /var/www/deep/x (file)\n--- a/var/www/deep/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-deep\n",
        "D /var/www/index (file)\n--- a/var/www/index\n",
        "A /new (directory, mode 755, owner 0:0)\n",
        "A /new/binary (file, mode 644, owner 0:0, binary, 3B)\n",
        "A /new/empty (file, mode 644, owner 0:0)\n",
        "A /new/large (file, mode 644, owner 0:0, large, 5.243MB)\n",
        "A /new/link (link to /etc/numbers, owner 0:0)\n",
        "C /tmp\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // Without its flag it is docker's.
    let plain = sandbox.ok(&["diff", "cc"]);
    assert!(
        plain.contains("C /etc\nC /etc/group\nA /etc/numbers\nC /etc/passwd\n"),
        "{plain}"
    );
    assert!(!plain.contains("www/index"), "{plain}");
    // A path, also by a link of the image, and one that is in a directory that is gone.
    let only = |path: &str| sandbox.ok(&["diff", "--content", "cc", path]);
    assert_eq!(
        only("/etc/group"),
        "C /etc/group (mode 644 -> 640, owner 0:0 -> 1:2)"
    );
    assert_eq!(only("/configuration/group"), only("/etc/group"));
    assert!(only("configuration/numbers").starts_with("A /etc/numbers"));
    assert!(only("/var/www/deep").starts_with("D /var/www/deep (directory)\nD /var/www/deep/x"));
    assert_eq!(only("/bin"), "");
    assert_eq!(sandbox.ok(&["diff", "cc", "/new/link"]), "A /new/link");
    let none = ["diff", "--content", "cc", "/nowhere/x"];
    sandbox
        .aril(&none)
        .fails(1, "Could not find the file /nowhere/x in container cc");
    sandbox
        .aril(&["diff", "--content", "cc", "/etc/../x"])
        .fails(1, "..");
    sandbox
        .aril(&["diff", "--content"])
        .fails(1, "requires 1 argument");
}

#[test]
fn contents_of_a_running_container_and_patch() {
    let sandbox = Sandbox::new();
    let script = "echo changed > /etc/group; echo new > /file; echo ready; sleep 1000";
    sandbox.ok(&["run", "-d", "--name", "cc", "busybox", "sh", "-c", script]);
    sandbox.wait_for_log("cc", "ready");
    let text = sandbox.ok(&["diff", "--content", "cc"]);
    assert!(
        text.contains("\n+changed\n") && text.contains("+++ b/file\n"),
        "{text}"
    );
    // Where a container's file has become a directory or a link out of it, nothing of the host is read.
    sandbox.ok(&[
        "exec",
        "cc",
        "sh",
        "-c",
        "rm -r /etc/group; ln -s /etc/shadow /etc/group",
    ]);
    let text = sandbox.ok(&["diff", "--content", "cc", "/etc/group"]);
    assert!(
        text.starts_with("C /etc/group (file -> link to /etc/shadow"),
        "{text}"
    );
    assert!(text.contains("+++ /dev/null\n"), "{text}");
    sandbox.ok(&[
        "exec",
        "cc",
        "sh",
        "-c",
        "rm /etc/group; mkdir /etc/group; echo x > /etc/group/x",
    ]);
    let text = sandbox.ok(&["diff", "--content", "cc", "/etc/group"]);
    assert!(
        text.starts_with("C /etc/group (file -> directory, mode 644 -> 755)\n"),
        "{text}"
    );
    assert!(text.contains("A /etc/group/x"), "{text}");
}

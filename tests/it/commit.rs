//! `commit` and `diff`: every kind of change, what the new image says of itself, and that it is always the same.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

fn config(sandbox: &Sandbox, image: &str) -> Value {
    let text = sandbox.ok(&["image", "inspect", image]);
    serde_json::from_str::<Value>(&text).unwrap()[0].clone()
}

fn layers(sandbox: &Sandbox, image: &str) -> Vec<String> {
    let list = config(sandbox, image)["RootFS"]["Layers"].clone();
    serde_json::from_value(list).unwrap()
}

/// Runs a script in container `box`, commits it as `new`, and removes it.
fn change(sandbox: &Sandbox, image: &str, script: &str) {
    sandbox.ok(&["run", "--name", "box", image, "sh", "-ec", script]);
    sandbox.ok(&["commit", "box", "new"]);
}

fn look(sandbox: &Sandbox, script: &str) -> String {
    sandbox.ok(&["run", "--rm", "new", "sh", "-c", script])
}

/// Says everything of every file that the tests make; not of the root directory, which no layer tells of.
const DESCRIBE: &str = r"find /data /done /home /root /tmp /var /usr -print0 | sort -z \
                          | xargs -0 stat -c '%n|%F|%a|%u|%g|%s|%h|%t,%T|%Y'";

#[test]
fn the_same_tree_comes_back() {
    let sandbox = Sandbox::new();
    let script = r#"
        mkdir -p /data/deep/er; echo text > /data/file; chown 1000:7 /data/file; chmod 4751 /data/file; chmod 1777 /data/deep
        ln /data/file /data/hard; ln -s file /data/soft; ln -s /nowhere /data/dangling; mkfifo /data/fifo; mknod /data/null c 1 3
        mknod /data/block b 7 200
        printf 'x' > "/data/$(printf 'not\377utf8\001')"; : > '/data/with space'; : > "/data/$(printf 'new\nline')"
        : > /data/empty; dd if=/dev/zero of=/data/sparse bs=1 count=1 seek=50000000 2>/dev/null
        head -c 3000000 /dev/urandom > /data/large; touch -d '1970-01-02 03:04:05' /data/old
        mkdir "/data/$(printf '%0200d' 0)"; echo long > "/data/$(printf '%0200d' 0)/$(printf '%0200d' 1)"
        chmod 000 /data/empty; chmod 2755 /data/deep/er
    "#;
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-ec",
        &format!("{script}\ntouch /done; sleep 1000"),
    ]);
    crate::sandbox::wait_until("all is made", || {
        sandbox.aril(&["exec", "box", "test", "-e", "/done"]).code == 0
    });
    let before = sandbox.aril(&["exec", "box", "sh", "-c", DESCRIBE]).bytes;
    sandbox.ok(&["commit", "box", "new"]);
    let after = sandbox
        .aril(&["run", "--rm", "new", "sh", "-c", DESCRIBE])
        .bytes;
    assert_eq!(
        String::from_utf8_lossy(&before),
        String::from_utf8_lossy(&after)
    );
    let sums = "cd /data; md5sum file hard large sparse";
    assert_eq!(
        sandbox.ok(&["exec", "box", "sh", "-c", sums]),
        look(&sandbox, sums)
    );
    assert_eq!(
        look(
            &sandbox,
            "test /data/file -ef /data/hard && readlink /data/soft /data/dangling 2>&1 | head -n 1; du -k /data/sparse | cut -f1"
        ),
        look(
            &sandbox,
            "readlink /data/soft /data/dangling 2>&1 | head -n 1; echo 4"
        )
    );
    // What it saves and loads is the same again.
    sandbox.ok(&["save", "-o", "file", "new"]);
    let there = Sandbox::bare();
    there.ok(&["load", "-i", &sandbox.path("file").display().to_string()]);
    let loaded = there
        .aril(&["run", "--rm", "new", "sh", "-c", DESCRIBE])
        .bytes;
    assert_eq!(
        String::from_utf8_lossy(&after),
        String::from_utf8_lossy(&loaded)
    );
}

#[test]
fn what_is_removed_stays_away() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "first",
        "busybox",
        "sh",
        "-ec",
        "mkdir -p /a/b /c /d; touch /a/one /a/b/two /c/three /d/four /e",
    ]);
    sandbox.ok(&["commit", "first", "base"]);
    // A file, a folder, a folder that is made anew, a file that becomes a folder and the other way round.
    change(
        &sandbox,
        "base",
        "rm /a/one; rm -r /c; rm -r /d; mkdir /d; touch /d/new; rm /e; mkdir /e; touch /e/in; rm -r /a/b; echo file > /a/b",
    );
    assert_eq!(
        look(
            &sandbox,
            "ls -F /a; echo; ls -d /c 2>&1 | grep -c 'No such'; ls /d /e | tr '\\n' ' '"
        ),
        "b\n\n1\n/d: new  /e: in"
    );
    let said = sandbox.ok(&["diff", "box"]);
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A /d/new",
            "A /e/in",
            "C /a",
            "C /a/b",
            "C /d",
            "C /e",
            "D /a/one",
            "D /c",
            "D /d/four"
        ],
        "{said}"
    );
    // Once more on top: nothing comes back.
    sandbox.ok(&["rm", "box"]);
    change(&sandbox, "new", "touch /c; rm /d/new");
    assert_eq!(look(&sandbox, "ls -F /d; test -f /c && echo file"), "file");
}

#[test]
fn attributes_and_capabilities_of_files_are_kept() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "cp /bin/busybox /capable; touch /file; mkdir /dir; sleep 1000",
    ]);
    crate::sandbox::wait_until("the folder is there", || {
        sandbox.aril(&["exec", "box", "test", "-d", "/dir"]).code == 0
    });
    let id = sandbox.inspect("box", "{{.Id}}");
    let upper = sandbox.root().join("containers").join(id).join("upper");
    let flags = rustix::fs::XattrFlags::empty();
    // cap_net_raw=ep, as setcap writes it.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    // Through the container's own root, since nobody writes to a mounted upper directory.
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let root = format!("/proc/{pid}/root");
    rustix::fs::setxattr(
        format!("{root}/capable"),
        "security.capability",
        &capability,
        flags,
    )
    .unwrap();
    rustix::fs::setxattr(format!("{root}/file"), "user.note", b"\0\xff=\n", flags).unwrap();
    rustix::fs::setxattr(format!("{root}/dir"), "user.dir", b"x", flags).unwrap();
    drop(upper);
    sandbox.ok(&["commit", "box", "new"]);
    sandbox.ok(&["save", "-o", "file", "new"]);
    let there = Sandbox::bare();
    there.ok(&["load", "-i", &sandbox.path("file").display().to_string()]);
    for machine in [&sandbox, &there] {
        machine.ok(&["run", "-d", "--name", "other", "new", "sleep", "1000"]);
        let pid = machine.inspect("other", "{{.State.Pid}}");
        let get = |path: &str, name: &str| {
            let mut value = vec![0; 100];
            let length =
                rustix::fs::getxattr(format!("/proc/{pid}/root/{path}"), name, &mut value[..])
                    .unwrap();
            value.truncate(length);
            value
        };
        assert_eq!(get("capable", "security.capability"), capability);
        assert_eq!(get("file", "user.note"), b"\0\xff=\n");
        assert_eq!(get("dir", "user.dir"), b"x");
    }
}

#[test]
fn the_same_changes_make_the_same_layer() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "mkdir /x; for n in 9 3 5 1; do echo $n > /x/$n; done; rm /etc/group",
    ]);
    sandbox.ok(&["commit", "box", "one"]);
    sandbox.ok(&["commit", "-m", "again", "box", "two"]);
    assert_eq!(layers(&sandbox, "one"), layers(&sandbox, "two"));
    assert_eq!(layers(&sandbox, "one").len(), 2);
    // The same upper directory on another machine, in another order of names on disk.
    let there = Sandbox::new();
    let times = "find /x /etc -exec touch -h -d '2020-01-01 00:00:00' {} +";
    let make = |machine: &Sandbox, order: &str| {
        let script =
            format!("mkdir /x; for n in {order}; do echo $n > /x/$n; done; rm /etc/group; {times}");
        machine.ok(&["run", "--name", "fixed", "busybox", "sh", "-c", &script]);
        machine.ok(&["commit", "fixed", "fixed"]);
        layers(machine, "fixed")[1].clone()
    };
    assert_eq!(
        make(&sandbox, "1 2 3 4 5 6 7 8 9"),
        make(&there, "9 7 5 3 1 8 6 4 2")
    );
}

#[test]
fn nothing_changed_adds_no_layer() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "box",
        "-v",
        "/vol",
        "--tmpfs",
        "/scratch",
        "busybox",
        "sh",
        "-c",
        "touch /vol/x /scratch/x /dev/shm/x",
    ]);
    assert_eq!(
        sandbox
            .ok(&["diff", "box"])
            .lines()
            .filter(|line| !line.ends_with("/vol") && !line.ends_with("/scratch"))
            .count(),
        0
    );
    sandbox.ok(&["create", "--name", "made", "busybox"]);
    assert_eq!(sandbox.ok(&["diff", "made"]), "");
    sandbox.ok(&["commit", "-m", "nothing", "made", "new"]);
    assert_eq!(layers(&sandbox, "new"), layers(&sandbox, "busybox"));
    assert_eq!(
        sandbox
            .ok(&["history", "--format", "{{.Comment}} {{.Size}}", "new"])
            .lines()
            .next(),
        Some("nothing 0B")
    );
}

#[test]
fn the_new_image_says_how_it_was_made() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "box",
        "-e",
        "A=1",
        "-l",
        "of=run",
        "-w",
        "/tmp",
        "-u",
        "app",
        "--expose",
        "80",
        "-v",
        "/vol",
        "--stop-signal",
        "QUIT",
        "busybox",
        "sh",
        "-c",
        "touch /tmp/x",
    ]);
    let id = sandbox.ok(&[
        "commit",
        "-a",
        "Ada <ada@example.com>",
        "-m",
        "a message",
        "box",
        "new:1",
    ]);
    let it = config(&sandbox, "new:1");
    assert_eq!(it["Id"], json!(id));
    assert_eq!(it["Author"], json!("Ada <ada@example.com>"));
    assert_eq!(it["Comment"], json!("a message"));
    let inner = &it["Config"];
    assert_eq!(inner["Cmd"], json!(["sh", "-c", "touch /tmp/x"]));
    assert_eq!(inner["User"], json!("app"));
    assert_eq!(inner["WorkingDir"], json!("/tmp"));
    assert_eq!(inner["Labels"], json!({"of": "run"}));
    assert_eq!(inner["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(inner["Volumes"], json!({"/vol": {}}));
    assert_eq!(inner["StopSignal"], json!("QUIT"));
    assert!(inner["Env"].as_array().unwrap().contains(&json!("A=1")));
    assert_eq!(it["Os"], json!("linux"));
}

#[test]
fn changes_come_on_top() {
    let sandbox = Sandbox::new();
    let command = "create --name box -e A=1 -l of=run -u app --expose 80 -v /vol busybox true";
    let args: Vec<&str> = command.split(' ').collect();
    sandbox.ok(&args);
    let changes = [
        "CMD [\"echo\", \"hi\"]",
        "ENV B=2 C=3",
        "LABEL more=yes",
        "USER root",
        "WORKDIR /etc",
        "EXPOSE 443/udp",
        "VOLUME /more",
        "STOPSIGNAL HUP",
        "ENTRYPOINT [\"env\"]",
        "ONBUILD RUN true",
        "HEALTHCHECK --interval=5s CMD true",
    ];
    let mut args = vec!["commit"];
    for change in &changes {
        args.extend(["--change", change]);
    }
    args.extend(["box", "new:2"]);
    sandbox.ok(&args);
    let it = config(&sandbox, "new:2");
    let inner = &it["Config"];
    assert_eq!(inner["Cmd"], json!(["echo", "hi"]));
    assert_eq!(inner["Entrypoint"], json!(["env"]));
    assert_eq!(
        (&inner["User"], &inner["WorkingDir"], &inner["StopSignal"]),
        (&json!("root"), &json!("/etc"), &json!("HUP"))
    );
    assert_eq!(inner["Labels"], json!({"of": "run", "more": "yes"}));
    assert_eq!(inner["ExposedPorts"], json!({"443/udp": {}, "80/tcp": {}}));
    assert_eq!(inner["Volumes"], json!({"/more": {}, "/vol": {}}));
    assert_eq!(inner["OnBuild"], json!(["RUN true"]));
    assert_eq!(inner["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
    for variable in ["A=1", "B=2", "C=3"] {
        assert!(
            inner["Env"].as_array().unwrap().contains(&json!(variable)),
            "{inner}"
        );
    }
}

#[test]
fn what_cannot_be_committed_and_names_that_move() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "box", "busybox"]);
    sandbox.ok(&["commit", "box", "new:1"]);
    let error = sandbox.fails(1, &["commit", "-c", "RUN true", "box"]);
    assert!(
        error
            .to_lowercase()
            .contains("run is not a valid change command"),
        "{error}"
    );
    let error = sandbox.fails(1, &["commit", "box", "Upper"]);
    assert!(error.contains("must be lowercase"), "{error}");
    let error = sandbox.fails(1, &["commit", "nosuch"]);
    assert!(error.contains("No such container: nosuch"), "{error}");
    // Without a name it has none, and a name that is taken moves.
    let id = sandbox.ok(&["commit", "box"]);
    assert_eq!(
        sandbox.ok(&["images", "-q", "--no-trunc", "-f", "dangling=true"]),
        id
    );
    sandbox.ok(&["commit", "box", "new:1"]);
    assert_eq!(
        sandbox
            .ok(&["images", "-q", "-f", "dangling=true"])
            .lines()
            .count(),
        2
    );
}

#[test]
fn a_running_container_is_paused_meanwhile() {
    let sandbox = Sandbox::new();
    let script = "i=0; while :; do i=$((i + 1)); echo $i > /a; cp /a /b; done";
    sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    crate::sandbox::wait_until("it works", || {
        sandbox.aril(&["exec", "box", "test", "-e", "/b"]).code == 0
    });
    for options in [&["commit"][..], &["commit", "-p=false"]] {
        let mut args = options.to_vec();
        args.extend(["box", "new"]);
        sandbox.ok(&args);
        assert_eq!(sandbox.inspect("box", "{{.State.Status}}"), "running");
    }
    sandbox.ok(&["pause", "box"]);
    sandbox.ok(&["commit", "box", "new"]);
    assert_eq!(
        sandbox.inspect("box", "{{.State.Status}}"),
        "paused",
        "it stays as it was"
    );
    assert_eq!(look(&sandbox, "test -e /a && echo there"), "there");
}

#[test]
fn placeholders_of_the_runtime_are_no_changes() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "box",
        "-h",
        "host",
        "--add-host",
        "x:10.0.0.1",
        "busybox",
        "touch",
        "/only",
    ]);
    assert_eq!(sandbox.ok(&["diff", "box"]), "A /only");
    sandbox.ok(&["commit", "box", "new"]);
    sandbox.ok(&["save", "-o", "file", "new"]);
    // Blobs that are no archives are passed over.
    let layer = sandbox.shell(
        "mkdir x; tar -C x -xf file; for blob in x/blobs/sha256/*; do tar -tf $blob 2>/dev/null > list || continue; \
         if grep -qx only list; then cat list; fi; done",
    );
    assert_eq!(layer, "only");
}

#[test]
fn images_on_images() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["tag", "busybox", "new"]);
    for number in 1..=12 {
        sandbox.ok(&[
            "run",
            "--name",
            "box",
            "new",
            "sh",
            "-c",
            &format!("echo {number} > /{number}; rm -f /{}", number - 3),
        ]);
        sandbox.ok(&["commit", "box", "new"]);
        sandbox.ok(&["rm", "box"]);
    }
    assert_eq!(layers(&sandbox, "new").len(), 13);
    assert_eq!(
        look(&sandbox, "ls / | grep '^[0-9]' | tr '\\n' ' '"),
        "10 11 12"
    );
}

//! Holes that other engines have had: images and containers that reach for the host, which must be untouched. Those of the
//! runtime are in `oci/cves.rs`, those of archives in `hostile.rs`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::oci::cves::Spinner;
use crate::sandbox::{ARIL, Ran, Sandbox, wait_until};

/// A machine with a folder of the host that nothing may touch.
struct Host {
    sandbox: Sandbox,
    canary: PathBuf,
}

const SECRET: &str = "secret of the host";

/// Options that keep a container out of the networks, of which these holes know nothing.
const ALONE: [&str; 2] = ["--network", "none"];

impl Host {
    fn new() -> Host {
        Host::around(Sandbox::new())
    }

    /// One with a container `box` that waits.
    fn with_box(options: &[&str]) -> Host {
        Host::around(Sandbox::with_box(&[&ALONE, options].concat()))
    }

    fn around(sandbox: Sandbox) -> Host {
        let canary = sandbox.path("canary");
        std::fs::create_dir(&canary).unwrap();
        std::fs::write(canary.join("file"), SECRET).unwrap();
        Host { sandbox, canary }
    }

    /// Makes the image `evil` of busybox by a script, in which `$HOST` is the folder, with changes as of a Dockerfile.
    fn image(&self, script: &str, changes: &[&str]) -> &Sandbox {
        let host = format!("HOST={}", self.canary.display());
        let script = format!("set -e; {script}");
        let run = ["run", "--name", "maker", "--network", "none", "-e", &host];
        self.sandbox
            .ok(&[&run[..], &["busybox", "sh", "-c", &script]].concat());
        let mut commit = vec!["commit"];
        for change in changes.iter().chain(&["CMD [\"sh\"]", "ENV HOST="]) {
            commit.extend(["-c", change]);
        }
        self.sandbox.ok(&[&commit[..], &["maker", "evil"]].concat());
        self.sandbox.ok(&["rm", "maker"]);
        &self.sandbox
    }

    /// Makes the image `evil` of busybox with `programs` in `folders` that leave a mark in the container and on the host.
    fn trapped(&self, folders: &str, programs: &str) -> &Sandbox {
        let script = format!(
            "for dir in {folders}; do mkdir -p /$dir; for name in {programs}; do rm -f /$dir/$name
             printf '#!/bin/sh\\ntouch /marker %s/marker\\n' $HOST > /$dir/$name; chmod 755 /$dir/$name; done; done"
        );
        self.image(&script, &[])
    }

    /// Runs a container alone and to its end, by these arguments.
    fn run(&self, args: &[&str]) -> Ran {
        self.sandbox
            .aril(&[&["run", "--rm"], &ALONE[..], args].concat())
    }

    /// Runs a shell script that calls `aril`.
    #[track_caller]
    fn shell(&self, script: &str) -> String {
        let aril = Path::new(ARIL).parent().unwrap().display();
        self.sandbox.shell(&format!("PATH={aril}:$PATH; {script}"))
    }

    #[track_caller]
    fn is_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(&self.canary)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["file"]);
        let file = self.canary.join("file");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), SECRET);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }
}

#[test]
fn cve_2025_24965_and_2024_5154_files_of_ours_follow_no_links() {
    let host = Host::new();
    let sandbox = &host.sandbox;
    sandbox.ok(&["create", "--name", "box", "busybox", "true"]);
    let tree = sandbox.path("tree");
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    for name in [
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/mtab",
        ".dockerenv",
    ] {
        std::os::unix::fs::symlink(host.canary.join("file"), tree.join(name)).unwrap();
    }
    sandbox.ok(&["cp", &format!("{}/.", tree.display()), "box:/"]);
    drop(sandbox.aril(&["start", "-a", "box"]));
    host.is_untouched();
    let up = "../".repeat(20);
    let canary = host.canary.display();
    host.shell(&format!(
        "aril create --name raw busybox >/dev/null; mkdir raw; aril export raw | tar -x -C raw; aril rm raw >/dev/null
         rm -r raw/etc; ln -s {up}{canary} raw/etc; tar -C raw -c . | aril import - evil >/dev/null"
    ));
    drop(sandbox.aril(&["run", "--rm", "evil", "true"]));
    host.is_untouched();
}

#[test]
fn cve_2020_15257_no_socket_of_ours_is_reached_by_the_host_s_network() {
    let sandbox = Sandbox::with_box(&["--network", "host"]);
    let sockets = sandbox.ok(&["exec", "box", "cat", "/proc/net/unix"]);
    let abstract_ones: Vec<&str> = sockets.lines().filter(|line| line.contains(" @")).collect();
    assert!(abstract_ones.is_empty(), "{abstract_ones:?}");
}

#[test]
fn cve_2022_1227_top_runs_nothing_of_the_container() {
    let host = Host::new();
    let sandbox = host.trapped("bin usr/bin sbin", "ps nsenter");
    sandbox.ok(&["run", "-d", "--name", "box", "evil", "sleep", "1000"]);
    let shown = sandbox.ok(&["top", "box"]);
    assert!(shown.contains("sleep 1000"), "{shown}");
    sandbox.ok(&["exec", "box", "test", "!", "-e", "/marker"]);
    host.is_untouched();
}

#[test]
fn cve_2018_10856_and_2021_20188_users_have_no_capabilities() {
    let sandbox = Sandbox::new();
    let script =
        "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u; cat /root-only";
    let user = ["run", "--rm", "--network", "none", "--user", "1000"];
    let volume = sandbox.write("root-only", "of root");
    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o600)).unwrap();
    let bind = format!("{volume}:/root-only");
    let ran = sandbox.aril(&[&user[..], &["-v", &bind, "busybox", "sh", "-c", script]].concat());
    assert_eq!(ran.out, "0000000000000000\n");
    assert!(ran.err.contains("Permission denied"), "{ran:?}");
    assert_ne!(ran.code, 0);
}

#[test]
fn cve_2022_36109_and_2023_25173_all_groups_count() {
    let host = Host::new();
    host.image(
        "echo app:x:1000:1000::/:/bin/sh >> /etc/passwd; printf 'app:x:1000:\\nkept-out:x:2000:app\\n' >> /etc/group
         echo text > /file; chown 0:2000 /file; chmod 0707 /file",
        &[],
    );
    for user in ["app", "1000"] {
        let ran = host.run(&["--user", user, "evil", "sh", "-c", "id -G; cat /file"]);
        assert_eq!(ran.out, "1000 2000\n", "{user}");
        assert!(ran.err.contains("Permission denied"), "{ran:?}");
    }
}

#[test]
fn cve_2024_40635_and_2026_46680_large_users_are_not_root() {
    let host = Host::new();
    for user in [
        "4294967296",
        "2147483648",
        "99999999999",
        "0x0",
        "4294967296:0",
    ] {
        let change = format!("USER {user}");
        let sandbox = host.image("for name in 4294967296 2147483648 99999999999; do echo $name:x:0:0::/:/bin/sh >> /etc/passwd; done", &[&change]);
        let error = sandbox.fails(
            125,
            &["run", "--rm", "--network", "none", "evil", "id", "-u"],
        );
        let known = ["uids and gids must be in range", "unable to find user"];
        assert!(
            known.iter().any(|text| error.contains(text)),
            "{user}: {error}"
        );
        sandbox.ok(&["rmi", "evil"]);
    }
}

#[test]
fn cve_2024_9676_and_2025_4437_accounts_are_files_of_some_size() {
    let host = Host::with_box(&[]);
    let sandbox = &host.sandbox;
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let secret = host.canary.join("file");
    let link = format!("ln -s {} passwd", secret.display());
    for script in [
        "mkfifo passwd",
        &link,
        "ln -s /dev/zero passwd",
        "mknod passwd c 1 5",
        "mkdir passwd",
        "truncate -s 5G passwd",
        "echo root:x:0:0::/:/bin/sh >passwd; rm group; mkfifo group",
    ] {
        sandbox.shell(&format!("cd /proc/{pid}/root/etc; rm -rf passwd; {script}"));
        let ran = sandbox.aril(&["exec", "--user", "nobody-at-all", "box", "true"]);
        assert_ne!(ran.code, 0, "{script}");
        assert!(!ran.err.contains(SECRET), "{ran:?}");
        if !script.starts_with("truncate") {
            // A number needs no names.
            let grep = ["grep", "^Uid:", "/proc/self/status"];
            let ran = sandbox.aril(&[&["exec", "--user", "7:8", "box"][..], &grep].concat());
            assert_eq!(ran.out, "Uid:\t7\t7\t7\t7\n", "{script}: {ran:?}");
        }
    }
    host.is_untouched();
}

#[test]
fn cve_2022_4318_and_2021_21334_variables_are_the_container_s_own() {
    let sandbox = Sandbox::new();
    let home = "HOME=/x\nevil:x:0:0::/:/bin/sh";
    let files = ["/etc/passwd", "/etc/group", "/etc/hosts"];
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        "-e",
        home,
        "busybox",
        "grep",
        "evil",
    ];
    let ran = sandbox.aril(&[&run[..], &files].concat());
    assert_eq!((ran.code, &*ran.out), (1, ""), "{ran:?}");
}

#[test]
fn cve_2018_15664_and_2019_10152_cp_stays_inside_of_a_root_that_changes() {
    const ROUNDS: usize = 40;
    let host = Host::with_box(&[]);
    let sandbox = &host.sandbox;
    let link = format!(
        "mkdir -p /w/dir; echo inside >/w/dir/file; ln -s {} /w/link",
        host.canary.display()
    );
    sandbox.ok(&["exec", "box", "sh", "-c", &link]);
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let inside = PathBuf::from(format!("/proc/{pid}/root/w"));
    let spinner = Spinner::new(&inside.join("dir"), &inside.join("link"));
    let tree = sandbox.path("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("new"), "new").unwrap();
    let (into, out) = (tree.join("new"), sandbox.path("out"));
    for _ in 0..ROUNDS {
        drop(sandbox.aril(&["cp", "box:/w/dir/file", out.to_str().unwrap()]));
        if let Ok(text) = std::fs::read_to_string(&out) {
            assert_eq!(text, "inside\n");
            std::fs::remove_file(&out).unwrap();
        }
        drop(sandbox.aril(&["cp", into.to_str().unwrap(), "box:/w/dir/"]));
    }
    drop(spinner);
    host.is_untouched();
}

#[test]
fn cve_2026_41568_and_2026_42306_cp_through_a_volume_that_is_swapped() {
    const ROUNDS: usize = 40;
    let host = Host::with_box(&["-v", "kept:/w/volume/below"]);
    let sandbox = &host.sandbox;
    let link = format!("ln -s {} /w/link", host.canary.display());
    sandbox.ok(&["exec", "box", "sh", "-c", &link]);
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let inside = PathBuf::from(format!("/proc/{pid}/root/w"));
    let spinner = Spinner::new(&inside.join("volume"), &inside.join("link"));
    let new = sandbox.write("new", "new");
    let mounts = || sandbox.shell("grep -c . /proc/self/mountinfo");
    let before = mounts();
    for _ in 0..ROUNDS {
        drop(sandbox.aril(&["cp", &new, "box:/w/volume/below/"]));
        drop(sandbox.aril(&["cp", "box:/w/volume/below", "-"]));
    }
    drop(spinner);
    assert_eq!(mounts(), before);
    host.is_untouched();
}

#[test]
fn cve_2026_41567_archives_are_unpacked_by_nothing_of_the_container() {
    let host = Host::new();
    let programs = "xz unxz gzip unpigz pigz zstd bzip2 tar";
    let sandbox = host.trapped("bin usr/bin", programs);
    let run = ["run", "-d", "--name", "box"];
    sandbox.ok(&[&run[..], &ALONE, &["evil", "sleep", "1000"]].concat());
    let file = sandbox.write("file", "text");
    for program in ["gzip", "xz", "zstd", "bzip2", "cat"] {
        let script = format!(
            "tar -cC $(dirname {file}) file | {program} > archive; aril cp - box:/ < archive || true"
        );
        host.shell(&script);
    }
    let said = sandbox.ok(&["exec", "box", "sh", "-c", "test ! -e /marker && cat /file"]);
    assert_eq!(said, "text");
    host.is_untouched();
}

#[test]
fn cve_2022_23648_and_2026_55686_places_in_an_image_lead_nowhere() {
    let host = Host::new();
    let canary = host.canary.display().to_string();
    let up = "../".repeat(20);
    let volume = format!("VOLUME [\"/{up}{}\"]", &canary[1..]);
    host.image("ln -s $HOST /link", &[&volume, "WORKDIR /link/sub"]);
    let script = format!("ls {canary} | wc -l; cat {canary}/file");
    let ran = host.run(&["-w", "/", "evil", "sh", "-c", &script]);
    assert!(!ran.out.contains(SECRET), "{ran:?}");
    // Made below the root of the container, if at all.
    drop(host.run(&["evil", "true"]));
    drop(host.run(&["-w", "/link/other/more", "evil", "true"]));
    host.is_untouched();
}

#[test]
fn cve_2025_0750_names_are_no_paths() {
    let host = Host::new();
    let sandbox = &host.sandbox;
    for name in ["../../canary/x", "..", "a/../b", "/x", "x\ny", ""] {
        // Without a name it gets one.
        let created = sandbox.aril(&["create", "--name", name, "busybox"]);
        assert_eq!(created.code == 0, name.is_empty(), "{created:?}");
        drop(sandbox.aril(&["volume", "create", name]));
        drop(sandbox.aril(&["rm", "-f", name]));
        drop(sandbox.aril(&["logs", name]));
    }
    host.is_untouched();
}

#[test]
fn cve_2021_41091_what_is_stored_is_root_s_alone() {
    let sandbox = Sandbox::with_box(&["--network", "none", "-v", "kept:/kept"]);
    for folder in ["layers", "containers", "volumes", "tops", "images"] {
        let mode = std::fs::metadata(sandbox.root().join(folder))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{folder} has mode {mode:o}");
    }
}

#[test]
fn cve_2024_36620_images_go_while_they_are_looked_at() {
    let host = Host::with_box(&[]);
    let script = "for n in 1 2 3 4 5 6; do aril commit box one >/dev/null & aril history one >/dev/null 2>&1 &
        aril image inspect one >/dev/null 2>&1 & aril rmi -f one >/dev/null 2>&1 & wait; done
        aril commit box one >/dev/null; aril history -q one | wc -l";
    assert_eq!(host.shell(script), "2");
}

#[test]
fn cve_2026_53488_labels_and_options_of_an_image_have_no_power() {
    let host = Host::new();
    let canary = host.canary.display().to_string();
    let logger = format!("binary:///bin/sh?-c=touch+{canary}/marker");
    let labels: Vec<String> = [
        "containerd.io/restart.loguri",
        "containerd.io/restart.status",
        "io.containerd.image.label",
        "org.systemd.property.ExecStart",
        "run.oci.hooks.stdout",
        "io.podman.annotations.privileged",
        "aril.loopback",
        "aril.root",
        "aril.log",
        "com.docker.network.endpoint.ifname",
    ]
    .iter()
    .map(|key| format!("LABEL {key}=\"{logger}\""))
    .collect();
    let changes: Vec<&str> = labels.iter().map(String::as_str).collect();
    let sandbox = host.image("true", &changes);
    sandbox.ok(&["create", "--name", "plain", "busybox", "true"]);
    sandbox.ok(&["create", "--name", "box", "evil", "true"]);
    for name in ["plain", "box"] {
        sandbox.ok(&["start", "-a", name]);
    }
    for part in [
        "{{json .HostConfig}}",
        "{{json .Mounts}}",
        "{{.State.ExitCode}} {{.RestartCount}}",
    ] {
        let of = |name| sandbox.inspect(name, part).replace("evil", "busybox");
        assert_eq!(of("box"), of("plain"), "{part}");
    }
    host.is_untouched();
}

#[test]
fn cve_2022_23471_and_2025_64329_sessions_that_are_left_leave_nothing() {
    const SESSIONS: u16 = 30;
    let sandbox = Sandbox::with_box(&ALONE);
    let monitor = sandbox.monitor("box").as_raw_nonzero();
    let monitor = PathBuf::from(format!("/proc/{monitor}"));
    let descriptors = || std::fs::read_dir(monitor.join("fd")).unwrap().count();
    let memory_kib = || {
        let status = std::fs::read_to_string(monitor.join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.unwrap().trim().trim_end_matches(" kB");
        number.parse::<u64>().unwrap()
    };
    // What the first of all brings stays.
    sandbox.ok(&["exec", "box", "true"]);
    let (files, memory) = (descriptors(), memory_kib());
    for session in 0..SESSIONS {
        let mut terminal = sandbox.terminal(&["exec", "-it", "box", "sh"]);
        terminal.send("echo $((6 * 7))\n");
        terminal.expect("42");
        terminal.resize((20 + session, 80));
        terminal.signal(rustix::process::Signal::KILL);
        assert!(!terminal.close().success());
    }
    // Far more than any buffer holds, to somebody who reads a little of it, and to nobody.
    let aril = Path::new(ARIL).parent().unwrap().display();
    let output = format!(
        "PATH={aril}:$PATH; aril exec box head -c 2000000000 /dev/zero | head -c 1000 | wc -c
         aril exec -d box head -c 2000000000 /dev/zero"
    );
    assert_eq!(sandbox.shell(&output).trim(), "1000");
    sandbox.aril(&["exec", "box", "killall", "-9", "sh"]);
    wait_until("the sessions have gone", || {
        // The first client was perhaps not quite gone when they were counted.
        descriptors() <= files && sandbox.ok(&["top", "box"]).lines().count() == 2
    });
    let grown = memory_kib().saturating_sub(memory);
    assert!(grown < 4 << 10, "{grown} KiB more than before");
}

#[test]
fn cve_2021_41089_files_of_the_host_keep_their_modes() {
    let host = Host::with_box(&[]);
    let sandbox = &host.sandbox;
    let canary = host.canary.display();
    let script = format!(
        "umask 0; for mask in 0 077 777; do umask $mask; aril cp {canary} box:/copy-$mask; aril cp {canary}/file box:/file-$mask
         aril cp box:/file-$mask out-$mask; aril commit box copied >/dev/null; aril rmi copied >/dev/null; done
         stat -c %a out-0 out-077 out-777 {canary} {canary}/file | tr '\\n' ' '"
    );
    assert_eq!(host.shell(&script).trim(), "644 644 644 755 644");
    assert_eq!(
        sandbox.ok(&["exec", "box", "stat", "-c", "%a", "/file-777", "/copy-077"]),
        "644\n755"
    );
    host.is_untouched();
}

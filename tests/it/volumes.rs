//! Mounts: binds, volumes, tmpfs, and the `volume` commands.

use crate::sandbox::Sandbox;

#[track_caller]
fn says(sandbox: &Sandbox, options: &[&str], script: &str) -> String {
    let mut args = vec!["run", "--rm"];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", script]);
    sandbox.ok(&args)
}

#[test]
fn folders_and_files_of_the_host_are_bound() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("dir/file", "of the host\n");
    let dir = sandbox.path("dir").display().to_string();
    let bind = |options: &str| format!("{dir}:/data{options}");
    assert_eq!(
        says(
            &sandbox,
            &["-v", &bind("")],
            "cat /data/file; echo new > /data/new"
        ),
        "of the host"
    );
    assert_eq!(
        std::fs::read_to_string(sandbox.path("dir/new")).unwrap(),
        "new\n"
    );
    assert_eq!(
        says(
            &sandbox,
            &["-v", &bind(":ro")],
            "touch /data/x 2>/dev/null || echo no"
        ),
        "no"
    );
    let mount = format!("type=bind,source={dir},target=/data,readonly");
    assert_eq!(
        says(
            &sandbox,
            &["--mount", &mount],
            "touch /data/x 2>/dev/null || echo no"
        ),
        "no"
    );
    assert_eq!(
        says(
            &sandbox,
            &["-v", &format!("{file}:/etc/one")],
            "cat /etc/one"
        ),
        "of the host"
    );
    // Relative to where the caller is, as a flag; one that is missing is made.
    assert_eq!(
        says(
            &sandbox,
            &["-v", "./fresh:/data"],
            "touch /data/x; ls /data"
        ),
        "x"
    );
    assert!(sandbox.path("fresh/x").exists());
    // Below another mount, in whatever order they are given.
    assert_eq!(
        says(
            &sandbox,
            &["-v", &format!("{dir}:/a/b"), "--tmpfs", "/a"],
            "ls /a/b | head -n 1; touch /a/x && echo ok"
        ),
        "file\nok"
    );
}

#[test]
fn a_symbolic_link_of_the_image_does_not_lead_a_mount_out() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/file", "x");
    let bind = format!("{}:/link/place", sandbox.path("dir").display());
    sandbox.ok(&[
        "run",
        "--name",
        "box",
        "busybox",
        "ln",
        "-s",
        "../../../../../../tmp",
        "/link",
    ]);
    sandbox.ok(&["commit", "box", "linked"]);
    let said = sandbox.ok(&[
        "run",
        "--rm",
        "-v",
        &bind,
        "linked",
        "sh",
        "-c",
        "ls /tmp/place; readlink /link",
    ]);
    assert_eq!(said, "file\n../../../../../../tmp");
    assert!(!std::path::Path::new("/tmp/place").exists());
}

#[test]
fn volumes_outlive_containers() {
    let sandbox = Sandbox::new();
    assert_eq!(
        says(
            &sandbox,
            &["-v", "data:/data"],
            "echo kept > /data/file; ls -ld /data | cut -c1-10"
        ),
        "drwxr-xr-x"
    );
    assert_eq!(
        says(
            &sandbox,
            &["-v", "data:/elsewhere:ro"],
            "cat /elsewhere/file; touch /elsewhere/x 2>/dev/null || echo no"
        ),
        "kept\nno"
    );
    assert_eq!(
        says(
            &sandbox,
            &["--mount", "source=data,target=/data"],
            "cat /data/file"
        ),
        "kept"
    );
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "data");
    let place = sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]);
    assert_eq!(
        std::fs::read_to_string(format!("{place}/file")).unwrap(),
        "kept\n"
    );
    assert_eq!(sandbox.ok(&["volume", "rm", "data"]), "data");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    assert!(!std::path::Path::new(&place).exists());
}

#[test]
fn cve_2020_1726_what_the_image_has_at_the_place_is_copied_in_once() {
    let sandbox = Sandbox::new();
    let script = "mkdir -p /data/sub; echo one > /data/sub/file; chown -R app:app /data; chmod 2750 /data; \
                  ln -s sub /data/link; ln /data/sub/file /data/hard; mkfifo /data/fifo";
    sandbox.ok(&["run", "--name", "box", "busybox", "sh", "-c", script]);
    sandbox.ok(&["commit", "box", "filled"]);
    let run = |options: &[&str], script: &str| {
        let mut args = vec!["run", "--rm"];
        args.extend(options);
        args.extend(["filled", "sh", "-c", script]);
        sandbox.ok(&args)
    };
    let look =
        "cd /data; stat -c '%U %a' .; cat link/file; stat -c %h hard; test -p fifo && echo fifo";
    assert_eq!(run(&["-v", "vol:/data"], look), "app 2750\none\n2\nfifo");
    run(&["-v", "vol:/data"], "rm -r /data/sub /data/link");
    assert_eq!(
        run(&["-v", "vol:/data"], "ls /data | tr '\\n' ' '"),
        "fifo hard"
    );
    assert_eq!(run(&["-v", "/data"], look), "app 2750\none\n2\nfifo");
    assert_eq!(run(&["-v", "bare:/data:nocopy"], "ls /data"), "");
    assert_eq!(
        run(
            &["--mount", "type=volume,src=bare2,dst=/data,volume-nocopy"],
            "ls /data"
        ),
        ""
    );
}

#[test]
fn an_images_volumes_are_anonymous_ones() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "--name", "base", "busybox"]);
    sandbox.ok(&["commit", "-c", "VOLUME /data", "base", "vol"]);
    sandbox.ok(&["run", "--name", "box", "vol", "touch", "/data/x"]);
    let name = sandbox.inspect("box", "{{(index .Mounts 0).Name}}");
    assert_eq!(name.len(), 64);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), name);
    // rm leaves it, rm -v takes it, and neither touches one with a name.
    sandbox.ok(&[
        "run",
        "--name",
        "other",
        "-v",
        "named:/named",
        "vol",
        "true",
    ]);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]).lines().count(), 3);
    sandbox.ok(&["rm", "box"]);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]).lines().count(), 3);
    sandbox.ok(&["rm", "-v", "other"]);
    let left = sandbox.ok(&["volume", "ls", "-q"]);
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    let mut expected = vec![name.as_str(), "named"];
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[test]
fn mounts_of_other_containers_are_taken_over() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/file", "bound\n");
    let bind = format!("{}:/bound", sandbox.path("dir").display());
    sandbox.ok(&[
        "run",
        "--name",
        "first",
        "-v",
        "data:/data",
        "-v",
        &bind,
        "busybox",
        "sh",
        "-c",
        "echo shared > /data/file",
    ]);
    assert_eq!(
        says(
            &sandbox,
            &["--volumes-from", "first"],
            "cat /data/file /bound/file"
        ),
        "shared\nbound"
    );
    assert_eq!(
        says(
            &sandbox,
            &["--volumes-from", "first:ro"],
            "touch /data/x /bound/x 2>/dev/null || echo no"
        ),
        "no"
    );
}

#[test]
fn memory_file_systems() {
    let sandbox = Sandbox::new();
    assert_eq!(
        says(
            &sandbox,
            &["--tmpfs", "/one:size=1m,mode=1700"],
            "df -k /one | tail -n 1 | awk '{print $1, $2}'; stat -c %a /one"
        ),
        "tmpfs 1024\n1700"
    );
    assert_eq!(
        says(
            &sandbox,
            &[
                "--mount",
                "type=tmpfs,destination=/two,tmpfs-size=2m,tmpfs-mode=0711"
            ],
            "df -k /two | tail -n 1 | awk '{print $1, $2}'; stat -c %a /two"
        ),
        "tmpfs 2048\n711"
    );
    let options = says(
        &sandbox,
        &["--tmpfs", "/three"],
        "grep ' /three ' /proc/mounts",
    );
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(options.contains(option), "{options}");
    }
}

#[test]
fn volumes_are_made_listed_and_removed() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.ok(&["volume", "create", "--label", "a=1", "vol"]),
        "vol"
    );
    assert_eq!(
        sandbox.ok(&["volume", "create", "vol"]),
        "vol",
        "making it again changes nothing"
    );
    let anonymous = sandbox.ok(&["volume", "create"]);
    assert_eq!(anonymous.len(), 64);
    assert_eq!(
        sandbox.ok(&[
            "volume",
            "ls",
            "--format",
            "{{.Name}} {{.Driver}}",
            "-f",
            "label=a"
        ]),
        "vol local"
    );
    let table = sandbox.ok(&["volume", "ls"]);
    assert!(table.starts_with("DRIVER    VOLUME NAME\n"), "{table}");
    assert_eq!(
        sandbox.ok(&[
            "volume",
            "inspect",
            "-f",
            "{{.Name}} {{.Scope}} {{json .Labels}}",
            "vol"
        ]),
        r#"vol local {"a":"1"}"#
    );
    let error = sandbox.fails(1, &["volume", "inspect", "nosuch"]);
    assert!(error.contains("get nosuch: no such volume"), "{error}");
    sandbox.ok(&["create", "--name", "box", "-v", "vol:/x", "busybox"]);
    let error = sandbox.fails(1, &["volume", "rm", "vol"]);
    assert!(
        error.contains("remove vol: volume is in use - ["),
        "{error}"
    );
    sandbox.ok(&["rm", "box"]);
    let error = sandbox.fails(1, &["volume", "rm", "vol", "nosuch"]);
    assert!(error.contains("get nosuch: no such volume"), "{error}");
    assert_eq!(
        sandbox.ok(&["volume", "ls", "-q"]),
        anonymous,
        "the one that was there is gone"
    );
    sandbox.ok(&["volume", "rm", "-f", "nosuch"]);
    let error = sandbox.fails(1, &["volume", "create", "a/b"]);
    assert!(
        error.contains("includes invalid characters for a local volume name"),
        "{error}"
    );
}

#[test]
fn pruning_takes_unused_anonymous_volumes_and_all_on_request() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["volume", "create", "named"]);
    sandbox.ok(&["volume", "create", "used"]);
    sandbox.ok(&["volume", "create"]);
    sandbox.ok(&["create", "-v", "used:/x", "busybox"]);
    let said = sandbox.ok(&["volume", "prune", "-f"]);
    assert!(
        said.starts_with("Deleted Volumes:\n") && said.contains("Total reclaimed space: 0B"),
        "{said}"
    );
    let names = || sandbox.ok(&["volume", "ls", "-q"]);
    assert_eq!(names(), "named\nused");
    sandbox.ok(&["volume", "prune", "-f", "-a"]);
    assert_eq!(names(), "used");
    // Without -f it asks first.
    let ran = sandbox.feed(&["volume", "prune", "-a"], b"n\n");
    assert!(
        ran.out.contains("Are you sure you want to continue? [y/N]"),
        "{ran:?}"
    );
    assert_eq!(names(), "used");
}

#[test]
fn a_containers_mounts_are_gone_with_it() {
    let sandbox = Sandbox::new();
    sandbox.shell("mkdir dir; mount --bind dir dir; mount --make-shared dir");
    let bind = format!("{}:/x:rshared", sandbox.path("dir").display());
    let options = ["-v", &bind, "-v", "vol:/v", "--tmpfs", "/t"];
    let mut args = vec!["run", "-d", "--name", "box"];
    args.extend(options);
    args.extend(["busybox", "sleep", "1000"]);
    sandbox.ok(&args);
    sandbox.ok(&["rm", "-f", "box"]);
    sandbox.shell("umount dir");
    let mounts = sandbox.shell("cat /proc/self/mountinfo");
    assert!(
        !mounts.contains(sandbox.root().to_str().unwrap()),
        "{mounts}"
    );
}

#[test]
fn names_in_filters_are_regular_expressions() {
    let sandbox = Sandbox::new();
    for name in ["data", "data-old", "more.data"] {
        sandbox.ok(&["volume", "create", name]);
        sandbox.ok(&["network", "create", name]);
    }
    for kind in ["volume", "network"] {
        let found = |filter: &str| sandbox.ok(&[kind, "ls", "-f", filter, "--format", "{{.Name}}"]);
        assert_eq!(found("name=data"), "data\ndata-old\nmore.data");
        assert_eq!(found("name=^data$"), "data");
        assert_eq!(found("name=^data"), "data\ndata-old");
        assert_eq!(found("name=e.d"), "more.data");
        assert_eq!(found("name=nosuch"), "");
    }
    let id = sandbox.ok(&["network", "inspect", "-f", "{{slice .Id 0 20}}", "data"]);
    let filter = format!("id=^{id}");
    let names = sandbox.ok(&["network", "ls", "-f", &filter, "--format", "{{.Name}}"]);
    assert_eq!(names, "data");
}

#[test]
fn ids_of_binds_are_mapped() {
    let sandbox = Sandbox::new();
    // The machine's own file system may not be one that can.
    let disk = sandbox.path("disk");
    let script = format!(
        "mkdir {0} && mount -t tmpfs -o mode=755 disk {0} && mkdir {0}/home && echo mine > {0}/home/file && \
         chown -R 1234:567 {0}/home && echo root > {0}/home/root",
        disk.display()
    );
    sandbox.shell(&script);
    let home = format!("{}/home", disk.display());
    let stat = |name: &str| sandbox.shell(&format!("stat -c %u:%g {home}/{name}"));
    let script = "stat -c '%u:%g %n' /data/*; touch /data/new";
    let run = |options: &[&str]| says(&sandbox, options, script);
    // Owner and user change places; what is made belongs to the owner.
    let mapped = "0:0 /data/file\n1234:567 /data/root";
    assert_eq!(run(&["-v", &format!("{home}:/data:idmap")]), mapped);
    assert_eq!(stat("new"), "1234:567");
    sandbox.shell(&format!("rm {home}/new"));
    let mount = format!("type=bind,source={home},target=/data,idmap");
    let user = run(&["--mount", &mount, "-u", "77:88"]);
    assert_eq!(user, "77:88 /data/file\n0:0 /data/root");
    assert_eq!(stat("new"), "1234:567");
    sandbox.shell(&format!("rm {home}/new"));
    // Ranges.
    let ranges = format!("{home}:/data:rw,idmap=uids=1234-5-1#0-0-1;gids=567-6-1#0-0-1");
    assert_eq!(
        run(&["-v", &ranges, "-u", "5:6"]),
        "5:6 /data/file\n0:0 /data/root"
    );
    assert_eq!(stat("new"), "1234:567");
    let plan = [
        "explain",
        "run",
        "-v",
        &format!("{home}:/data:idmap"),
        "busybox",
    ];
    assert!(sandbox.ok(&plan).contains("ids mapped"));
    sandbox
        .aril(&[
            "run",
            "-v",
            &format!("{home}:/data:idmap=uids=1"),
            "busybox",
        ])
        .fails(125, "invalid id map \"uids=1\": a range has three numbers");
    // proc cannot, and is named.
    sandbox
        .aril(&[
            "run",
            "--rm",
            "-v",
            "/proc/sys:/data:idmap",
            "busybox",
            "true",
        ])
        .fails(125, "proc cannot map ids on this kernel");
    sandbox.shell(&format!("umount {}", disk.display()));
}

#[test]
fn images_are_mounted_read_only() {
    let sandbox = Sandbox::new();
    sandbox.ok(&[
        "run",
        "--name",
        "base",
        "busybox",
        "sh",
        "-c",
        "mkdir -p /tool/bin; ln -s ../../etc /tool/etc; cp /bin/busybox /tool/bin/busybox",
    ]);
    sandbox.ok(&["commit", "base", "tools"]);
    sandbox.ok(&["rm", "base"]);
    let script = "/tools/tool/bin/busybox echo runs; touch /tools/x; ls /part; test -e /link/passwd && echo linked";
    let ran = sandbox.aril(&[
        "run",
        "--name",
        "box",
        "--mount",
        "type=image,src=tools,dst=/tools",
        "--mount",
        "type=image,src=tools,dst=/part,image-subpath=tool",
        "--mount",
        // A link that leads out of the part, but not of the image.
        "type=image,src=tools,dst=/link,image-subpath=tool/etc",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(ran.out, "runs\nbin\netc\nlinked\n", "{ran:?}");
    assert!(
        ran.err.contains("/tools/x: Read-only file system"),
        "{ran:?}"
    );
    let shown = sandbox.inspect(
        "box",
        "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}, {{end}}",
    );
    assert_eq!(
        shown,
        "image tools /link false, image tools /part false, image tools /tools false,"
    );
    // Whoever mounts an image needs it, also when its name has moved.
    sandbox
        .aril(&["rmi", "tools"])
        .fails(1, "is using its referenced image");
    sandbox.ok(&["tag", "busybox", "tools"]);
    sandbox.ok(&["image", "prune", "-f"]);
    sandbox.ok(&["start", "-a", "box"]);
    sandbox.ok(&["cp", "box:/tools/tool/bin/busybox", "copy"]);
    sandbox.ok(&["rm", "box"]);
    let run = ["run", "--rm", "--mount"];
    let part = |part: &str| {
        let mount = format!("type=image,src=busybox,dst=/part,image-subpath={part}");
        sandbox.aril(&[&run[..], &[&mount, "busybox", "ls", "/part"]].concat())
    };
    part("nosuch").fails(127, "find nosuch in the image");
    part("../etc").fails(125, "subpath must be a relative path within the image");
    let missing = "type=image,src=nosuch,dst=/x";
    let missing = [&run[..], &[missing, "busybox", "true"]].concat();
    sandbox
        .aril(&missing)
        .fails(125, "No such image: nosuch:latest");
    let checked = sandbox.ok(&["system", "check"]);
    assert!(checked.ends_with(": no damage"), "{checked}");
}

#[test]
fn mounts_are_shared_with_a_host_that_shares_them() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("dir/place")).unwrap();
    let path = sandbox.path("dir").display().to_string();
    let run = |options: &str| {
        let volume = format!("{path}:/dir:{options}");
        let args = [
            "run", "-d", "--rm", "--name", "box", "-v", &volume, "busybox", "sleep", "1000",
        ];
        sandbox.aril(&args)
    };
    run("rshared").fails(125, "but it is not a shared mount");
    run("rslave").fails(125, "but it is not a shared or slave mount");
    sandbox.shell("mount --bind dir dir; mount --make-shared dir");
    run("rslave").ok();
    sandbox.shell("mount -t tmpfs here dir/place");
    assert_eq!(
        sandbox.ok(&[
            "exec",
            "box",
            "grep",
            "-c",
            "^here /dir/place ",
            "/proc/mounts"
        ]),
        "1"
    );
    sandbox.ok(&["rm", "-f", "box"]);
    sandbox.shell("umount dir/place; umount dir");
}

#[test]
fn a_file_system_of_a_volume_is_there_as_long_as_it_is_used() {
    let sandbox = Sandbox::new();
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m"];
    let create: Vec<&str> = [&["volume", "create"], &options[..], &["vv"]].concat();
    sandbox.ok(&create);
    let data = sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "vv"]);
    let mounts = || sandbox.shell(&format!("grep -c ' {data} tmpfs ' /proc/mounts || true"));
    for name in ["aa", "bb"] {
        sandbox.ok(&[
            "run", "-d", "--name", name, "-v", "vv:/v", "busybox", "sleep", "100",
        ]);
    }
    // One, which both have, and the host sees.
    assert_eq!(mounts(), "1");
    sandbox.ok(&["exec", "aa", "sh", "-c", "echo common > /v/f"]);
    assert_eq!(sandbox.ok(&["exec", "bb", "cat", "/v/f"]), "common");
    assert_eq!(sandbox.shell(&format!("cat {data}/f")), "common");
    sandbox.ok(&["rm", "-f", "aa"]);
    assert_eq!(mounts(), "1");
    sandbox.ok(&["stop", "-t", "0", "bb"]);
    assert_eq!(mounts(), "0");
    // Whoever looks into a container that does not run has it for so long.
    sandbox.shell("echo text > f");
    sandbox.ok(&["cp", "f", "bb:/v/f"]);
    assert_eq!(mounts(), "0");
    // A start that fails leaves nothing, nor does one of a file system that is none.
    sandbox
        .aril(&["run", "--rm", "-v", "vv:/v", "busybox", "nosuch"])
        .fails(127, "executable file not found");
    assert_eq!(mounts(), "0");
    sandbox.ok(&[
        "volume",
        "create",
        "-o",
        "type=nosuch",
        "-o",
        "device=x",
        "ww",
    ]);
    sandbox
        .aril(&[
            "run", "--rm", "-v", "vv:/v", "-v", "ww:/w", "busybox", "true",
        ])
        .fails(125, "failed to mount local volume: mount x:");
    assert_eq!(mounts(), "0");
}

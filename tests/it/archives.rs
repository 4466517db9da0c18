//! `import`, `export`, `load` and `save`.

use crate::sandbox::{ARIL, Sandbox, image};

/// Makes image `name` with a second layer.
fn two_layers(sandbox: &Sandbox, name: &str) -> String {
    sandbox.ok(&[
        "run",
        "--name",
        "maker",
        "busybox",
        "sh",
        "-c",
        "echo second > /second; rm /etc/group",
    ]);
    let id = sandbox.ok(&["commit", "-m", "second", "-c", "ENV A=1", "maker", name]);
    sandbox.ok(&["rm", "maker"]);
    id
}

/// A file for each image below its folder of root file systems.
fn rootfs_tar(sandbox: &Sandbox) -> String {
    let tar = sandbox.path("rootfs.tar").display().to_string();
    sandbox.shell(&format!("tar -C {} -cf {tar} .", image::rootfs().display()));
    tar
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let sandbox = Sandbox::bare();
    let tar = rootfs_tar(&sandbox);
    let changes = [
        "-c",
        r#"CMD ["cat", "/etc/passwd"]"#,
        "--change",
        "ENV A=1",
        "-c",
        "USER app",
        "-m",
        "imported by hand",
    ];
    let mut args = vec!["import"];
    args.extend(changes);
    args.extend([tar.as_str(), "root:1"]);
    let id = sandbox.ok(&args);
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert!(
        sandbox
            .ok(&["run", "--rm", "root:1"])
            .starts_with("root:x:0:0")
    );
    assert_eq!(
        sandbox.ok(&["run", "--rm", "root:1", "sh", "-c", "id -un; echo $A"]),
        "app\n1"
    );
    assert_eq!(
        sandbox.ok(&["history", "--format", "{{.Comment}}", "root:1"]),
        "imported by hand"
    );
    // From standard input, and without a name.
    let bytes = std::fs::read(&tar).unwrap();
    let id = sandbox.feed(&["import", "-"], &bytes).ok();
    sandbox.ok(&["run", "--rm", &id, "true"]);
    assert_eq!(
        sandbox.ok(&["images", "-q", "--no-trunc", "-f", "dangling=true"]),
        id
    );
    let error = sandbox.fails(1, &["import", "-c", "NOSUCH x", &tar]);
    assert!(
        error
            .to_lowercase()
            .contains("nosuch is not a valid change command"),
        "{error}"
    );
    let error = sandbox.fails(1, &["import", "nosuch.tar"]);
    assert!(error.contains("nosuch.tar"), "{error}");
}

#[test]
fn compressed_in_any_way() {
    let sandbox = Sandbox::bare();
    let tar = rootfs_tar(&sandbox);
    let plain = sandbox.ok(&["import", &tar]);
    let layer =
        |id: &str| sandbox.ok(&["image", "inspect", "-f", "{{index .RootFS.Layers 0}}", id]);
    for (program, end) in [
        ("gzip", "gz"),
        ("xz -0", "xz"),
        ("zstd -q", "zst"),
        ("bzip2 -1", "bz2"),
    ] {
        sandbox.shell(&format!("{program} -c {tar} > file.{end}"));
        let id = sandbox.ok(&["import", &format!("file.{end}")]);
        assert_eq!(layer(&id), layer(&plain), "{program}");
    }
}

#[test]
fn saved_and_loaded_an_image_is_the_same() {
    let sandbox = Sandbox::new();
    let id = two_layers(&sandbox, "app:1");
    sandbox.ok(&["tag", "app:1", "app:2"]);
    sandbox.ok(&["save", "-o", "both.tar", "app:1", "app:2", "busybox"]);
    let listed = sandbox.shell("tar -tf both.tar");
    for member in ["manifest.json", "index.json", "oci-layout", "repositories"] {
        assert!(listed.lines().any(|line| line == member), "{listed}");
    }
    let there = Sandbox::bare();
    let tar = sandbox.path("both.tar").display().to_string();
    let said = there.ok(&["load", "-i", &tar]);
    for name in ["app:1", "app:2", "busybox:latest"] {
        assert!(said.contains(&format!("Loaded image: {name}")), "{said}");
    }
    assert_eq!(
        there.ok(&["image", "inspect", "-f", "{{.Id}}", "app:2"]),
        id
    );
    assert_eq!(
        there.ok(&[
            "run",
            "--rm",
            "app:1",
            "sh",
            "-c",
            "cat /second; ls /etc; echo $A"
        ]),
        "second\nhostname\nhosts\nmtab\npasswd\nresolv.conf\n1"
    );
    // The same again, byte for byte, and through pipes.
    let bytes = there.aril(&["save", "app:1"]).bytes;
    assert!(bytes == sandbox.aril(&["save", "app:1"]).bytes);
    let said = there.feed(&["load"], &bytes).ok();
    assert!(said.contains("Loaded image: app:1"), "{said}");
    let said = there.feed(&["load", "-q"], &bytes).ok();
    assert!(said.contains("Loaded image: app:1"), "{said}");
    // By its id it comes without a name.
    let bytes = sandbox.aril(&["save", &id]).bytes;
    let third = Sandbox::bare();
    assert!(
        third
            .feed(&["load"], &bytes)
            .ok()
            .contains(&format!("Loaded image ID: {id}"))
    );
}

#[test]
fn archives_of_old_docker_and_of_the_oci_load_too() {
    let sandbox = Sandbox::new();
    let id = two_layers(&sandbox, "app:1");
    sandbox.ok(&["save", "-o", "new.tar", "app:1"]);
    // Only the layout: what skopeo and buildx write.
    sandbox.shell("mkdir new oci && tar -C new -xf new.tar && cp -a new/blobs new/index.json new/oci-layout oci && tar -C oci -cf oci.tar .");
    let there = Sandbox::bare();
    let oci = sandbox.path("oci.tar").display().to_string();
    let said = there.ok(&["load", "-i", &oci]);
    assert!(said.contains("Loaded image"), "{said}");
    assert_eq!(there.ok(&["run", "--rm", &id, "cat", "/second"]), "second");
    // A folder per layer, links between equal ones, no blobs: what docker wrote before version 25.
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("new/manifest.json")).unwrap()).unwrap();
    let old = sandbox.path("old");
    std::fs::create_dir(&old).unwrap();
    let config = manifest[0]["Config"].as_str().unwrap();
    let hex = id.trim_start_matches("sha256:");
    std::fs::copy(
        sandbox.path("new").join(config),
        old.join(format!("{hex}.json")),
    )
    .unwrap();
    let mut layers = Vec::new();
    for (number, layer) in manifest[0]["Layers"].as_array().unwrap().iter().enumerate() {
        let folder = format!("{number:064}");
        std::fs::create_dir(old.join(&folder)).unwrap();
        let from = sandbox.path("new").join(layer.as_str().unwrap());
        std::fs::copy(from, old.join(&folder).join("layer.tar")).unwrap();
        std::fs::write(old.join(&folder).join("VERSION"), "1.0").unwrap();
        layers.push(format!("{folder}/layer.tar"));
    }
    let manifest = serde_json::json!([{"Config": format!("{hex}.json"), "RepoTags": ["app:old"], "Layers": layers}]);
    std::fs::write(old.join("manifest.json"), manifest.to_string()).unwrap();
    sandbox.shell("tar -C old -czf old.tar.gz .");
    let there = Sandbox::bare();
    let tar = sandbox.path("old.tar.gz").display().to_string();
    assert_eq!(there.ok(&["load", "-i", &tar]), "Loaded image: app:old");
    assert_eq!(
        there.ok(&["image", "inspect", "-f", "{{.Id}}", "app:old"]),
        id
    );
    assert_eq!(
        there.ok(&["run", "--rm", "app:old", "cat", "/second"]),
        "second"
    );
}

#[test]
fn a_name_that_was_another_images_moves() {
    let sandbox = Sandbox::new();
    two_layers(&sandbox, "app");
    sandbox.ok(&["save", "-o", "app.tar", "app"]);
    let new = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "app"]);
    let old = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "busybox"]);
    sandbox.ok(&["tag", "busybox", "app"]);
    let said = sandbox.ok(&["load", "-i", "app.tar"]);
    assert!(said.contains(&format!("The image app:latest already exists, renaming the old one with ID {old} to empty string")), "{said}");
    assert_eq!(
        sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "app"]),
        new
    );
}

#[test]
fn a_containers_files_are_exported() {
    let sandbox = Sandbox::new();
    let script = "echo new > /new; rm /etc/group; ln /new /hard; ln -s new /soft; mkfifo /fifo; chown 7:8 /new; chmod 4711 /new; \
                  echo in-volume > /vol/file";
    sandbox.ok(&[
        "run", "--name", "box", "-v", "/vol", "busybox", "sh", "-c", script,
    ]);
    sandbox.ok(&["export", "-o", "box.tar", "box"]);
    let listed = sandbox.shell("tar -tvf box.tar --numeric-owner");
    let line = |end: &str| {
        let found = listed.lines().find(|line| line.ends_with(end));
        found
            .unwrap_or_else(|| panic!("{end}: {listed}"))
            .to_owned()
    };
    assert!(line(" hard").starts_with("-rws--x--x 7/8"));
    assert!(line(" new link to hard").starts_with("hrws--x--x 7/8"));
    assert!(line(" soft -> new").starts_with('l'));
    assert!(line(" fifo").starts_with('p'));
    assert!(!listed.contains(" etc/group"), "{listed}");
    assert!(!listed.contains("vol/file"), "{listed}");
    assert!(listed.contains(" bin/busybox"), "{listed}");
    // As a pipe, of a running container, and back again.
    sandbox.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    sandbox.shell(&format!("{ARIL} export runs | {ARIL} import - copy"));
    assert_eq!(
        sandbox.ok(&["run", "--rm", "copy", "echo", "works"]),
        "works"
    );
    let error = sandbox.fails(1, &["export", "nosuch"]);
    assert!(error.contains("No such container: nosuch"), "{error}");
}

#[test]
fn no_archive_is_written_to_a_terminal() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&["save", "busybox"]);
    terminal.expect("owardly refusing to save to a terminal. Use the -o flag or redirect");
    assert_eq!(terminal.wait().0, 1);
    sandbox.ok(&["create", "--name", "box", "busybox"]);
    let mut terminal = sandbox.terminal(&["export", "box"]);
    terminal.expect("owardly refusing to export to a terminal");
    assert_eq!(terminal.wait().0, 1);
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_half() {
    let sandbox = Sandbox::new();
    sandbox.fails(1, &["save", "-o", "no/such/folder/file", "busybox"]);
    sandbox.write("file", "old");
    let error = sandbox.fails(1, &["save", "-o", "file", "busybox", "nosuch"]);
    assert!(error.contains("nosuch"), "{error}");
    assert_eq!(
        std::fs::read_to_string(sandbox.path("file")).unwrap(),
        "old"
    );
    assert_eq!(sandbox.shell("ls -A"), "file");
}

//! Hostile archives through `import` and `load`: whatever they hold, the host stays untouched.
//!
//! The cases of the archive reader are tested beside it; these are the ways out of a root that others had to mend.

use std::path::Path;

use aril::image::tarball::{Device, Entry, Kind};
use serde_json::json;

use crate::sandbox::Sandbox;

/// An archive, member by member.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn put(&mut self, path: &str, kind: Kind, mode: u32, content: &str) -> &mut Archive {
        let entry = Entry::new(path, kind, mode);
        aril::image::tarball::write::append(&mut self.0, &entry, content.as_bytes()).unwrap();
        self
    }

    fn file(&mut self, path: &str, content: &str) -> &mut Archive {
        self.put(path, Kind::File, 0o644, content)
    }

    fn symlink(&mut self, path: &str, target: &str) -> &mut Archive {
        self.put(path, Kind::Symlink(target.into()), 0o777, "")
    }

    fn hard_link(&mut self, path: &str, target: &str) -> &mut Archive {
        self.put(path, Kind::HardLink(target.into()), 0o644, "")
    }

    fn end(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

/// A folder of the host that an archive would like to reach.
struct Host {
    sandbox: Sandbox,
    before: String,
}

impl Host {
    fn new() -> Host {
        let sandbox = Sandbox::bare();
        sandbox.write("host/secret", "untouched\n");
        let before = Host::look(&sandbox);
        Host { sandbox, before }
    }

    fn look(sandbox: &Sandbox) -> String {
        sandbox.shell("cd host; find . -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort; md5sum secret")
    }

    fn path(&self) -> String {
        self.sandbox.path("host").display().to_string()
    }

    /// Imports an archive, and loads an image with it as its layer; either may refuse it. Then runs what has come of it.
    #[track_caller]
    fn try_both(&self, archive: &[u8]) {
        let imported = self.sandbox.feed(&["import", "-", "imported"], archive);
        Host::judge(&imported.err, imported.code);
        let loaded = self.sandbox.feed(&["load"], &image_of(archive));
        Host::judge(&loaded.err, loaded.code);
        assert_eq!(
            Host::look(&self.sandbox),
            self.before,
            "the host is touched"
        );
        assert_eq!(
            std::fs::read_dir(self.sandbox.root().join("tmp"))
                .unwrap()
                .count(),
            0
        );
    }

    #[track_caller]
    fn judge(error: &str, code: i32) {
        assert!(
            code == 0 || code == 1 && error.contains("aril: "),
            "{code}: {error}"
        );
        assert!(!error.contains("panicked"), "{error}");
    }
}

/// Returns a docker-archive of an image whose only layer is `layer`.
fn image_of(layer: &[u8]) -> Vec<u8> {
    let digest = aril::oci::digest::sha256(layer);
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
                        "rootfs": {"type": "layers", "diff_ids": [digest.to_string()]}});
    let mut archive = Archive::default();
    archive.file("config.json", &config.to_string());
    let entry = Entry::new("layer.tar", Kind::File, 0o644);
    aril::image::tarball::write::append(&mut archive.0, &entry, layer).unwrap();
    let manifest =
        json!([{"Config": "config.json", "RepoTags": ["loaded:1"], "Layers": ["layer.tar"]}]);
    archive.file("manifest.json", &manifest.to_string());
    archive.end()
}

#[test]
fn cve_2020_10696_paths_that_climb() {
    let host = Host::new();
    let up = "../".repeat(20);
    for path in [
        format!("{up}{}/new", &host.path()[1..]),
        format!("{}/new", host.path()),
        "a/../../../x".to_owned(),
        "..".to_owned(),
    ] {
        host.try_both(&Archive::default().file(&path, "x").end());
    }
}

#[test]
fn cve_2018_15664_and_2021_30465_links_on_the_way() {
    let host = Host::new();
    let there = host.path();
    // A link, then a file through it; a link to a link; a relative one.
    host.try_both(
        &Archive::default()
            .symlink("link", &there)
            .file("link/new", "x")
            .file("link/secret", "changed")
            .end(),
    );
    let up = "../".repeat(20);
    host.try_both(
        &Archive::default()
            .symlink("a", &format!("{up}{}", &there[1..]))
            .symlink("b", "a")
            .file("b/secret", "changed")
            .end(),
    );
    host.try_both(
        &Archive::default()
            .symlink("dir", &there)
            .put("dir", Kind::Directory, 0o777, "")
            .file("dir/secret", "changed")
            .end(),
    );
}

#[test]
fn cve_2019_14271_and_2020_14370_a_member_over_a_link() {
    let host = Host::new();
    let secret = format!("{}/secret", host.path());
    host.try_both(
        &Archive::default()
            .symlink("file", &secret)
            .file("file", "changed")
            .end(),
    );
    host.try_both(
        &Archive::default()
            .symlink("fifo", &secret)
            .put("fifo", Kind::Fifo, 0o777, "")
            .end(),
    );
}

#[test]
fn cve_2021_29136_the_root_is_a_link() {
    let host = Host::new();
    for name in [".", "/", "/.", "./", "//"] {
        host.try_both(
            &Archive::default()
                .symlink(name, &host.path())
                .file("secret", "changed")
                .end(),
        );
    }
}

#[test]
fn cve_2020_27534_hard_links_out() {
    let host = Host::new();
    let secret = format!("{}/secret", host.path());
    let up = "../".repeat(20);
    for target in [secret.clone(), format!("{up}{}", &secret[1..])] {
        host.try_both(
            &Archive::default()
                .hard_link("link", &target)
                .file("link", "changed")
                .end(),
        );
    }
    host.try_both(
        &Archive::default()
            .symlink("dir", &host.path())
            .hard_link("link", "dir/secret")
            .put("link", Kind::File, 0o777, "changed")
            .end(),
    );
}

#[test]
fn cve_2021_32760_and_2026_0067_modes_and_owners_through_links() {
    let host = Host::new();
    let secret = format!("{}/secret", host.path());
    host.try_both(
        &Archive::default()
            .symlink("link", &secret)
            .hard_link("other", "link")
            .put("other", Kind::File, 0o777, "changed")
            .end(),
    );
    host.try_both(
        &Archive::default()
            .symlink("dir", &host.path())
            .put("dir/", Kind::Directory, 0o777, "")
            .end(),
    );
}

#[test]
fn deletions_that_climb() {
    let host = Host::new();
    host.try_both(
        &Archive::default()
            .symlink("dir", &host.path())
            .file("dir/.wh.secret", "")
            .end(),
    );
    host.try_both(
        &Archive::default()
            .symlink("dir", &host.path())
            .file("dir/.wh..wh..opq", "")
            .end(),
    );
    for name in [".wh..", ".wh...", ".wh.", "a/.wh...", ".wh.a/../../x"] {
        host.try_both(&Archive::default().file("a/b", "x").file(name, "").end());
    }
}

#[test]
fn cve_2025_62518_and_2026_0068_sizes_that_disagree() {
    // The longer size of a pax header counts: what stands in the content is no member.
    let host = Host::new();
    let hidden = Archive::default().file("hidden", "x").0.clone();
    let mut archive = Archive::default();
    let record = record("size", &hidden.len().to_string());
    raw(&mut archive.0, "pax", b'x', record.len(), record.as_bytes());
    raw(&mut archive.0, "outer", b'0', 0, &hidden);
    let bytes = archive.end();
    host.try_both(&bytes);
    let listed = host.sandbox.feed(&["import", "-", "sizes"], &bytes);
    if listed.code == 0 {
        host.sandbox.ok(&["create", "--name", "box", "sizes", "x"]);
        let members = host
            .sandbox
            .shell(&format!("{} export box | tar -t", crate::sandbox::ARIL));
        assert!(
            members.contains("outer") && !members.contains("hidden"),
            "{members}"
        );
    }
}

/// Returns a record of a pax header, which begins with its own length.
fn record(key: &str, value: &str) -> String {
    let body = format!("{key}={value}\n");
    let mut length = body.len() + 3;
    while format!("{length} {body}").len() != length {
        length += 1;
    }
    format!("{length} {body}")
}

/// Writes a member whose header says `size`, whatever `content` has.
fn raw(out: &mut Vec<u8>, name: &str, kind: u8, size: usize, content: &[u8]) {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend(header);
    out.extend(content);
    out.resize(out.len().next_multiple_of(512), 0);
}

#[test]
fn attributes_that_speak_for_overlayfs() {
    let host = Host::new();
    for (key, value) in [
        ("trusted.overlay.redirect", "/../../.."),
        ("trusted.overlay.opaque", "y"),
        ("user.overlay.opaque", "y"),
        ("security.selinux", "x"),
    ] {
        let text = record(&format!("SCHILY.xattr.{key}"), value);
        let mut archive = Archive::default();
        raw(&mut archive.0, "pax", b'x', text.len(), text.as_bytes());
        archive
            .put("dir", Kind::Directory, 0o755, "")
            .file("dir/file", "x");
        host.try_both(&archive.end());
    }
}

#[test]
fn devices_are_nothing_to_a_container() {
    let host = Host::new();
    let mut archive = Archive::default();
    for name in ["bin", "etc"] {
        archive.put(name, Kind::Directory, 0o755, "");
    }
    let kind = Kind::BlockDevice(Device {
        major: 254,
        minor: 0,
    });
    archive.put("disk", kind, 0o666, "");
    host.try_both(&archive.end());
}

#[test]
fn cve_2021_20291_a_bomb_of_zeros_is_stopped_by_the_disk() {
    let host = Host::new();
    let disk = host.sandbox.path("disk");
    std::fs::create_dir(&disk).unwrap();
    host.sandbox.inside(|| {
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), &disk, Some("tmpfs"), flags, Some("size=8m")).unwrap();
    });
    host.sandbox
        .shell("mkdir big; head -c 100000000 /dev/zero > big/zeros; tar -C big -czf bomb.tar.gz .");
    let mut command = host
        .sandbox
        .aril_command(&["import", "bomb.tar.gz", "bomb"]);
    command.env("ARIL_ROOT", disk.join("root"));
    host.sandbox.run(command).fails(1, "o space left on device");
    host.sandbox.inside(|| nix::mount::umount(&disk).unwrap());
}

#[test]
fn names_in_an_archive_of_images_lead_nowhere() {
    let host = Host::new();
    let check = |config: &str, layer: &str| {
        let manifest = json!([{"Config": config, "RepoTags": ["x:1"], "Layers": [layer]}]);
        let archive = Archive::default()
            .file("manifest.json", &manifest.to_string())
            .end();
        let ran = host.sandbox.feed(&["load"], &archive);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.err.contains("aril: ") && !ran.err.contains("root:"),
            "{ran:?}"
        );
    };
    check("/etc/passwd", "layer.tar");
    check("../../../../etc/passwd", "../../../../etc/shadow");
    let digest = "sha256:../../../../../../etc/passwd";
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 10}]});
    let archive = Archive::default()
        .file("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#)
        .file("index.json", &index.to_string())
        .end();
    let ran = host.sandbox.feed(&["load"], &archive);
    assert_eq!(ran.code, 1, "{ran:?}");
    // A link in place of the manifest.
    let archive = Archive::default()
        .symlink("manifest.json", "/etc/passwd")
        .end();
    assert_eq!(host.sandbox.feed(&["load"], &archive).code, 1);
    assert!(Path::new("/etc/passwd").exists());
    assert_eq!(Host::look(&host.sandbox), host.before);
}

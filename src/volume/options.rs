//! Options of a volume, `-o`: what it stands for. Pure; the texts are those of docker's driver `local`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::error;

/// Options as they are kept: `type`, `o` and `device`.
pub type Options = BTreeMap<String, String>;

/// Which options need which others.
const NEEDED: [(&str, &[&str]); 3] = [
    ("device", &["type"]),
    ("o", &["device", "type"]),
    ("type", &["device"]),
];

/// What a volume stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// Its own directory.
    Directory,
    /// A directory of the host.
    Bind(&'a Path),
    /// A file system that is mounted while somebody uses the volume.
    FileSystem(FileSystem<'a>),
}

/// A file system, as mount(8) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem<'a> {
    /// `tmpfs`, `nfs`, `ext4`.
    pub kind: &'a str,
    /// `tmpfs`, `:/exports/data`, `/dev/sdb1`.
    pub device: &'a str,
    /// `size=1m`, `ro`.
    pub options: &'a str,
}

/// Returns what the volume with these options stands for.
pub fn source(options: Option<&Options>) -> Source<'_> {
    let get = |key| options.and_then(|options| options.get(key));
    let get = |key| get(key).map_or("", String::as_str);
    let device = get("device");
    let is_bind = words(get("o")).any(|word| matches!(word, "bind" | "rbind"));
    match (device, is_bind) {
        ("", _) => Source::Directory,
        (_, true) => Source::Bind(Path::new(device)),
        (_, false) => Source::FileSystem(FileSystem {
            kind: get("type"),
            device,
            options: get("o"),
        }),
    }
}

/// The options in a list with commas.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| !word.is_empty())
}

/// Refuses options that cannot be; errors are of kind `Invalid`.
pub(super) fn check(options: &Options) -> Result<()> {
    let refuse = |why: String| Err(error::invalid(why));
    let known = |key: &str| key == "size" || NEEDED.iter().any(|(name, _)| *name == key);
    if let Some(key) = options.keys().find(|key| !known(key)) {
        return refuse(format!("invalid option: {key:?}"));
    }
    for (name, needed) in NEEDED {
        let lacking = needed.iter().find(|key| !options.contains_key(**key));
        if let Some(key) = lacking.filter(|_| options.contains_key(name)) {
            return refuse(format!("missing required option: {key:?}"));
        }
    }
    if options.contains_key("size") {
        return refuse("quota size requested but no quota support".to_owned());
    }
    match source(Some(options)) {
        Source::Bind(path) if !path.is_absolute() => refuse(format!(
            "the directory that is bound must have an absolute path: {}",
            path.display()
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[(&str, &str)]) -> Options {
        let pairs = list.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn options_say_what_a_volume_stands_for() {
        let file_system = |kind, device, options| {
            Source::FileSystem(FileSystem {
                kind,
                device,
                options,
            })
        };
        for (list, want) in [
            (&[][..], Source::Directory),
            (
                &[("type", "none"), ("o", "bind,ro"), ("device", "/srv")],
                Source::Bind(Path::new("/srv")),
            ),
            (
                &[("type", "tmpfs"), ("device", "tmpfs")],
                file_system("tmpfs", "tmpfs", ""),
            ),
            (
                &[("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/x")],
                file_system("nfs", ":/x", "addr=10.0.0.1"),
            ),
        ] {
            assert_eq!(source(Some(&options(list))), want);
        }
        assert_eq!(source(None), Source::Directory);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |list: &[(&str, &str)], want: &str| {
            let got = check(&options(list)).map_err(|error| error.to_string());
            assert_eq!(got.err().unwrap_or_default(), want);
        };
        check(&[("wat", "1")], "invalid option: \"wat\"");
        check(&[("device", "/x")], "missing required option: \"type\"");
        check(&[("type", "")], "missing required option: \"device\"");
        check(&[("o", "bind")], "missing required option: \"device\"");
        check(
            &[("size", "1m")],
            "quota size requested but no quota support",
        );
        check(
            &[("type", "none"), ("o", "bind"), ("device", "x")],
            "the directory that is bound must have an absolute path: x",
        );
        check(&[("type", "tmpfs"), ("device", "tmpfs")], "");
    }
}

//! Files that a container sees in its /etc: written in place, since the container sees these very files.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::container::Record;
use crate::dirs::Dirs;
use crate::network::files::{self, Resolver, Servers};
use crate::oci::digest;

/// Returns the text of a file of the host; empty if there is none.
pub(super) fn read_host(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Writes resolv.conf of a container, unless its user has changed it.
pub(super) fn write_resolver(dirs: &Dirs, record: &Record, whose: Servers) -> Result<()> {
    let host = &record.host_config;
    let asked = Resolver {
        servers: host.dns.clone(),
        search: host.dns_search.clone(),
        options: host.dns_options.clone(),
    };
    let resolver = files::parse_resolver(&read_host(files::HOST_FILE));
    let text = files::resolv_conf(&resolver, &asked, whose);
    write_unless_edited(&dirs.container(&record.id).join("resolv.conf"), &text)
}

/// A file that its user has changed stays as it is; what was written last is told by its digest beside it.
fn write_unless_edited(path: &Path, text: &str) -> Result<()> {
    let mark = path.with_extension("conf.digest");
    let digest_of = |text: &str| digest::sha256(text.as_bytes()).to_string();
    if let Ok(present) = std::fs::read_to_string(path)
        && std::fs::read_to_string(&mark).is_ok_and(|last| last != digest_of(&present))
    {
        return Ok(());
    }
    write(path, text)?;
    write(&mark, &digest_of(text))
}

/// Writes a file, in place and readable by all.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let open = || {
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(path)
    };
    open()
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}

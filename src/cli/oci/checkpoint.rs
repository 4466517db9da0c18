//! `checkpoint` and `restore`: what is asked of CRIU.

use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Result, bail};

use super::args::{Checkpoint, Cli, Images, Restore};
use super::named;
use super::start::{cgroups, hand_over, notifies, terminal};
use crate::cli::relay::{Signals, accompany};
use crate::error;
use crate::runtime::bundle::{self, RestoreInto};
use crate::runtime::criu::{CheckpointOptions, Common, ManageCgroups, RestoreOptions};

/// `checkpoint`.
pub(super) fn checkpoint(root: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let images = &checkpoint.images;
    let options = CheckpointOptions {
        common: common(images)?,
        parent: checkpoint.parent_path.clone(),
        pre_dump: checkpoint.pre_dump,
        leave_running: checkpoint.leave_running,
        tcp_skip_in_flight: checkpoint.tcp_skip_in_flight,
        link_remap: checkpoint.link_remap,
        page_server: checkpoint
            .page_server
            .as_deref()
            .map(page_server)
            .transpose()?,
    };
    named(bundle::checkpoint(root, &images.id, &options), &images.id)
}

/// `restore`; returns the exit code.
pub(super) fn restore(cli: &Cli, restore: &Restore) -> Result<u8> {
    let images = &restore.images;
    let options = RestoreOptions {
        common: common(images)?,
        lsm_profile: restore.lsm_profile.clone(),
        lsm_mount_context: restore.lsm_mount_context.clone(),
    };
    let bundle = bundle::open_bundle(&restore.bundle)?;
    let process = bundle.spec.process.as_ref();
    terminal(process, restore.console_socket.as_ref(), restore.detach)?;
    let signals = if restore.detach {
        None
    } else {
        Some(Signals::block()?)
    };
    let into = RestoreInto {
        root: &cli.root,
        id: &images.id,
        cgroups: cgroups(cli),
        notifies: notifies(),
    };
    let restored = bundle::restore_from_bundle(bundle, into, &options)?;
    hand_over(
        (restored.pid, restored.terminal.as_ref()),
        restore.console_socket.as_deref(),
        restore.pid_file.as_deref(),
    )?;
    let Some(signals) = signals else {
        return Ok(0);
    };
    let code = accompany(restored.pidfd.as_fd(), restored.terminal.as_ref(), &signals);
    bundle::delete(&cli.root, &images.id, true)?;
    code
}

fn common(images: &Images) -> Result<Common> {
    if images.lazy_pages {
        bail!(error::unavailable(
            "--lazy-pages is not supported: --pre-dump and --parent-path make the pause short, too"
        ));
    }
    if let Some(other) = images.empty_ns.iter().find(|kind| *kind != "network") {
        bail!(error::invalid(format!(
            "namespace {other:?} is not supported by --empty-ns"
        )));
    }
    Ok(Common {
        images: images.image_path.clone(),
        work: images.work_path.clone(),
        tcp_established: images.tcp_established,
        ext_unix_sk: images.ext_unix_sk,
        shell_job: images.shell_job,
        file_locks: images.file_locks,
        auto_dedup: images.auto_dedup,
        manage_cgroups: manage_cgroups(&images.manage_cgroups_mode)?,
    })
}

fn manage_cgroups(mode: &str) -> Result<ManageCgroups> {
    Ok(match mode {
        "" => ManageCgroups::Default,
        "ignore" => ManageCgroups::Ignore,
        "soft" => ManageCgroups::Soft,
        "full" => ManageCgroups::Full,
        "strict" => ManageCgroups::Strict,
        unknown => bail!(error::invalid(format!(
            "invalid manage-cgroups-mode value {unknown:?}: soft, full, strict or ignore"
        ))),
    })
}

/// Reads `ADDRESS:PORT`; an IPv6 address stands in brackets.
fn page_server(text: &str) -> Result<(String, u16)> {
    let parts = text.rsplit_once(':').and_then(|(address, port)| {
        let address = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'))
            .unwrap_or(address);
        Some((
            address.to_owned(),
            port.parse().ok().filter(|&port| port > 0)?,
        ))
    });
    parts
        .filter(|(address, _)| !address.is_empty())
        .ok_or_else(|| error::invalid(format!("--page-server {text:?} is not ADDRESS:PORT")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_servers_are_read() {
        for (text, expected) in [
            ("10.0.0.1:27000", Some(("10.0.0.1", 27000))),
            ("[::1]:1", Some(("::1", 1))),
            ("host", None),
            (":1", None),
            ("host:0", None),
            ("host:x", None),
        ] {
            let expected = expected.map(|(address, port)| (address.to_owned(), port));
            assert_eq!(page_server(text).ok(), expected, "{text}");
        }
    }
}

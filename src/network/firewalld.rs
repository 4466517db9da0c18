//! firewalld, which rejects what is forwarded between interfaces that it does not know.
//!
//! Its rules are its own: it is asked, by its own program, to trust a bridge, now and from its next start on. That takes a
//! quarter of a second, so it is done only where its rules do not name the bridge yet: once per network.

use std::process::Command;

use anyhow::Result;

use super::netlink::Socket;
use super::netlink::nft::{self, Table, TableFamily};
use crate::error;

const TABLE: Table<'static> = Table {
    family: TableFamily::Inet,
    name: "firewalld",
};
/// Where it sends packets to the rules of zones, by interface: since version 1.0, and before.
const DISPATCHERS: [&str; 2] = ["filter_FORWARD_ZONES", "filter_FORWARD_IN_ZONES"];
const ZONE: &str = "--zone=trusted";

/// Lets packets from and to a bridge pass, unless the administrator has put it into a zone.
pub(super) fn admit(socket: &Socket, bridge: &str) -> Result<()> {
    if !rejects(socket, bridge)? {
        return Ok(());
    }
    match ask("--add-interface", bridge) {
        Ok(()) => tracing::info!(bridge, "firewalld trusts it now"),
        Err(error) => tracing::warn!(
            "firewalld rejects what containers send: {error:#}; hint: \
             firewall-cmd --permanent {ZONE} --add-interface={bridge} && firewall-cmd --reload"
        ),
    }
    Ok(())
}

/// Takes a bridge out of the zone that [`admit`] has put it into.
pub(super) fn dismiss(socket: &Socket, bridge: &str) -> Result<()> {
    if nft::has_table(socket, TABLE)?
        && let Err(error) = ask("--remove-interface", bridge)
    {
        tracing::info!(bridge, "firewalld does not forget it: {error:#}");
    }
    Ok(())
}

/// Returns whether firewalld is there and does not know the bridge; one question to the kernel where it is not.
fn rejects(socket: &Socket, bridge: &str) -> Result<bool> {
    if !nft::has_table(socket, TABLE)? {
        return Ok(false);
    }
    let mut name = bridge.as_bytes().to_vec();
    name.push(0);
    for chain in DISPATCHERS {
        if nft::chain(socket, TABLE, chain)?.is_none() {
            continue;
        }
        let rules = nft::rules(socket, TABLE, chain)?;
        let names = |expressions: &[u8]| expressions.windows(name.len()).any(|part| part == name);
        return Ok(!rules.iter().any(|(_, expressions)| names(expressions)));
    }
    Ok(false)
}

/// Changes what holds now, and what holds from its next start on.
fn ask(action: &str, bridge: &str) -> Result<()> {
    for lasting in [None, Some("--permanent")] {
        let mut command = Command::new("firewall-cmd");
        command.args(lasting);
        command.args(["--quiet", ZONE, &format!("{action}={bridge}")]);
        let done = command
            .output()
            .map_err(|error| error::unavailable(format!("run firewall-cmd: {error}")))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(error::unavailable(format!("firewall-cmd: {}", said.trim())));
        }
    }
    Ok(())
}

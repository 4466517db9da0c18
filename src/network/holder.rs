//! Who holds a port of this host, from /proc.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name, as `ps` shows it.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Returns who holds a port; nothing if nobody does who can be seen from here.
///
/// `protocol` is `tcp` or `udp`.
pub fn of(protocol: &str, port: u16) -> Option<Holder> {
    let inodes = sockets(protocol, port);
    if inodes.is_empty() {
        return None;
    }
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut files = std::fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let holds = files.any(|file| {
            // Of what the link leads to; a link to a socket can be looked at, but not opened.
            std::fs::metadata(file.path()).is_ok_and(|meta| inodes.contains(&meta.ino()))
        });
        holds.then(|| describe(pid, &entry.path()))
    })
}

fn describe(pid: u32, dir: &Path) -> Holder {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    Holder {
        pid,
        program: read("comm").trim().to_owned(),
        arguments: read("cmdline").split('\0').map(str::to_owned).collect(),
    }
}

/// Returns the inodes of the sockets that are bound to a port and wait for whoever comes.
fn sockets(protocol: &str, port: u16) -> Vec<u64> {
    let tables = [protocol.to_owned(), format!("{protocol}6")];
    let mut inodes = Vec::new();
    for table in tables {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        inodes.extend(text.lines().skip(1).filter_map(|line| waiting(line, port)));
    }
    inodes
}

/// Returns the inode of a line of /proc/net/tcp or udp if it waits at this port: state 0A (listening) or 07 (unconnected).
fn waiting(line: &str, port: u16) -> Option<u64> {
    let mut words = line.split_whitespace().skip(1);
    let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
    let (_, local_port) = local.rsplit_once(':')?;
    let (_, remote_port) = remote.rsplit_once(':')?;
    let fits = u16::from_str_radix(local_port, 16).ok()? == port
        && remote_port == "0000"
        && matches!(state, "0A" | "07");
    let inode = words.nth(5)?.parse().ok()?;
    fits.then_some(inode)
}

/// Returns the ports that something waits at on this host.
pub fn taken(protocol: &str) -> Vec<u16> {
    let mut ports = Vec::new();
    for table in [protocol.to_owned(), format!("{protocol}6")] {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        ports.extend(text.lines().skip(1).filter_map(|line| {
            let local = line.split_whitespace().nth(1)?;
            u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()
        }));
    }
    ports
}

/// Returns a port above `port` that nothing waits at; nothing if all the next hundred are taken.
pub fn free_nearby(protocol: &str, port: u16) -> Option<u16> {
    let taken = taken(protocol);
    let mut candidates = port.checked_add(1)?..=port.saturating_add(100);
    candidates.find(|candidate| !taken.contains(candidate))
}

/// Returns how an address and a port are written together.
pub fn written(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = of("tcp", port).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(taken("tcp").contains(&port));
        assert_ne!(free_nearby("tcp", port), Some(port));
    }

    #[test]
    fn lines_of_other_states_and_ports_are_passed_over() {
        let line = |local: &str, remote: &str, state: &str| {
            format!(
                "   0: 00000000:{local} 00000000:{remote} {state} 00000000:00000000 00:00000000 00000000     0        0 77 1"
            )
        };
        assert_eq!(waiting(&line("1F90", "0000", "0A"), 8080), Some(77));
        assert_eq!(waiting(&line("1F90", "0000", "07"), 8080), Some(77));
        assert_eq!(waiting(&line("1F90", "1234", "01"), 8080), None);
        assert_eq!(waiting(&line("1F91", "0000", "0A"), 8080), None);
        assert_eq!(waiting("nonsense", 8080), None);
    }
}

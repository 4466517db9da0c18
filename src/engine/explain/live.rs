//! What is in force of a running container, from /proc and from the files of its cgroup.
//!
//! Each entry of the plan gets the value that is found; what cannot be read from outside, such as the sysctls of another
//! namespace, stays as the start has set it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use caps::Capability;

use super::Entry;
use super::describe::{
    CAPABILITIES, HOSTS, LIMITS, MASKED, MOUNTS, NAMESPACES, NETWORK, NONE, OWN, PROCESS_LIMITS,
    PROGRAM, READ_ONLY, RESTRICTIONS, SHARES, Shown, VARIABLES, bytes, capability, count, entry,
    quota, two_limits, user_text,
};
use crate::cgroup::{self, Cgroup};
use crate::container::Container;
use crate::network::bridge::Host;
use crate::network::{firewall, netlink::nft};
use crate::sys::mountinfo;
use crate::sys::rooted::Root;

/// Above it cgroup v1 means that there is no limit.
const UNLIMITED: u64 = 1 << 62;

/// Replaces what a plan says by what is there.
pub(super) fn read(container: &Container, root: &Root, plan: Vec<Entry>) -> Result<Vec<Entry>> {
    let pid = container.status.pid;
    let file = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        std::fs::read(&path).with_context(|| format!("read {path}"))
    };
    let text = |name: &str| file(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let status = fields(&text("status")?);
    let mounts = parse_mounts(&text("mountinfo")?);
    let cgroup = cgroup::open(
        cgroup::layout::detect()?,
        Path::new(&container.status.cgroup),
    )?;
    let limits = cgroup_limits(&cgroup);
    let process_limits = parse_limits(&text("limits")?);
    let score = text("oom_score_adj")?.trim().to_owned();
    let apparmor = text("attr/current").unwrap_or_default();
    // An init has none of its program's variables.
    let variables = variables(&file("environ")?);
    let mut entries = Vec::new();
    let mut planned = BTreeMap::new();
    for mut entry in plan {
        match entry.section {
            // They are read as a whole.
            CAPABILITIES => continue,
            VARIABLES if !variables.is_empty() => continue,
            NETWORK => {
                planned.insert(entry.name, entry.value);
                continue;
            }
            PROGRAM if entry.name == "user" => {
                entry.value = user_of(&status).unwrap_or(entry.value);
            }
            PROGRAM if entry.name == "out-of-memory score" => entry.value.clone_from(&score),
            NAMESPACES => entry.value = namespace(pid, &entry),
            MOUNTS => mount(&mounts, &mut entry),
            RESTRICTIONS => restriction(&status, apparmor.trim(), &mut entry),
            LIMITS => {
                if let Some(value) = limits.get(entry.name.as_str()) {
                    entry.value.clone_from(value);
                }
            }
            PROCESS_LIMITS => {
                if let Some(value) = process_limits.get(&entry.name) {
                    entry.value.clone_from(value);
                }
            }
            MASKED | READ_ONLY => covered(&mounts, root, &mut entry),
            _ => {}
        }
        if !entry.value.is_empty() {
            entries.push(entry);
        }
    }
    entries.extend(capabilities(&status));
    entries.extend(variables);
    entries.extend(network(container)?.into_iter().map(|entry| Entry {
        planned: planned.remove(&entry.name),
        ..entry
    }));
    Ok(entries)
}

/// The lines of /proc/PID/status.
fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn user_of(status: &BTreeMap<String, String>) -> Option<String> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let words = status.get(name)?.split_whitespace();
        words.map(|word| word.parse().ok()).collect()
    };
    // Real, effective, saved, of files.
    let (uid, gid) = (*numbers("Uid")?.get(1)?, *numbers("Gid")?.get(1)?);
    Some(user_text(uid, gid, &numbers("Groups")?))
}

fn namespace(pid: i32, entry: &Entry) -> String {
    let file = match entry.name.as_str() {
        "mount" => "mnt",
        "network" => "net",
        "host name" => "uts",
        "processes" => "pid",
        other => other,
    };
    let link = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{file}")).ok();
    match (link(&pid.to_string()), link("self")) {
        (Some(theirs), Some(ours)) if theirs == ours => HOSTS.to_owned(),
        (Some(_), Some(_)) if entry.value == HOSTS => OWN.to_owned(),
        _ => entry.value.clone(),
    }
}

fn capabilities(status: &BTreeMap<String, String>) -> Vec<Entry> {
    let bits = status
        .get("CapBnd")
        .map(|text| u64::from_str_radix(text, 16));
    let Some(Ok(bits)) = bits else {
        return Vec::new();
    };
    let mut all: Vec<Capability> = caps::all().into_iter().collect();
    all.sort_by_key(Capability::index);
    let granted = all.iter().filter(|one| bits & one.bitmask() != 0);
    granted.map(|one| capability(&one.to_string())).collect()
}

fn restriction(status: &BTreeMap<String, String>, apparmor: &str, entry: &mut Entry) {
    let field = |name: &str| status.get(name).map(String::as_str);
    match entry.name.as_str() {
        "no new privileges" => {
            let is = field("NoNewPrivs") == Some("1");
            if is { "yes" } else { "no" }.clone_into(&mut entry.value);
        }
        "AppArmor profile" => {
            let name = apparmor.split(' ').next().unwrap_or_default();
            let name = if matches!(name, "" | "unconfined") {
                NONE
            } else {
                name
            };
            name.clone_into(&mut entry.value);
        }
        _ => match field("Seccomp") {
            Some("0") => NONE.clone_into(&mut entry.value),
            Some("2") if entry.value == NONE => "a filter".clone_into(&mut entry.value),
            _ => {}
        },
    }
}

fn parse_limits(text: &str) -> BTreeMap<String, String> {
    let names = [
        ("Max cpu time", "cpu"),
        ("Max file size", "fsize"),
        ("Max data size", "data"),
        ("Max stack size", "stack"),
        ("Max core file size", "core"),
        ("Max resident set", "rss"),
        ("Max processes", "nproc"),
        ("Max open files", "nofile"),
        ("Max locked memory", "memlock"),
        ("Max address space", "as"),
        ("Max file locks", "locks"),
        ("Max pending signals", "sigpending"),
        ("Max msgqueue size", "msgqueue"),
        ("Max nice priority", "nice"),
        ("Max realtime priority", "rtprio"),
        ("Max realtime timeout", "rttime"),
    ];
    let line = |line: &str| {
        let (long, name) = names.iter().find(|(long, _)| line.starts_with(long))?;
        let mut words = line[long.len()..].split_whitespace();
        let number = |word: &str| match word {
            "unlimited" => Some(u64::MAX),
            word => word.parse().ok(),
        };
        let (soft, hard) = (number(words.next()?)?, number(words.next()?)?);
        Some(((*name).to_owned(), two_limits(soft, hard)))
    };
    text.lines().filter_map(line).collect()
}

/// Reads the limits that the kernel has, by the names of their entries.
fn cgroup_limits(cgroup: &Cgroup) -> BTreeMap<&'static str, String> {
    let is_v1 = |controller: &str| {
        let mut directories = cgroup.v1_directories();
        directories.any(|(controllers, _)| controllers.iter().any(|one| one == controller))
    };
    let read = |controller: &str, v1: &str, v2: &str| {
        let name = if is_v1(controller) { v1 } else { v2 };
        let path = cgroup.directory(controller)?.join(name);
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned())
    };
    let number = |text: Option<String>| {
        let text = text?;
        let number = if text == "max" {
            UNLIMITED
        } else {
            text.parse().ok()?
        };
        Some(i64::try_from(number).ok().filter(|_| number < UNLIMITED))
    };
    let mut found = BTreeMap::new();
    let mut set = |name, value: Option<String>| {
        value.map(|value| found.insert(name, value));
    };
    let memory = number(read("memory", "memory.limit_in_bytes", "memory.max"));
    set("memory", memory.map(bytes));
    let swap = number(read(
        "memory",
        "memory.memsw.limit_in_bytes",
        "memory.swap.max",
    ));
    let both = match (swap, memory) {
        (Some(Some(swap)), Some(Some(memory))) if !is_v1("memory") => Some(Some(swap + memory)),
        (swap, _) => swap,
    };
    set("memory and swap", both.map(bytes));
    let reserved = number(read("memory", "memory.soft_limit_in_bytes", "memory.low"));
    set("memory reservation", reserved.map(bytes));
    set(
        "processes",
        number(read("pids", "pids.max", "pids.max")).map(count),
    );
    if is_v1("cpu") {
        let period = read("cpu", "cpu.cfs_period_us", "").and_then(|text| text.parse().ok());
        let time = read("cpu", "cpu.cfs_quota_us", "").and_then(|text| text.parse().ok());
        set("processor time", time.map(|time| quota(Some(time), period)));
        set("processor shares", read("cpu", "cpu.shares", ""));
    } else if let Some(text) = read("cpu", "", "cpu.max") {
        let (time, period) = text.split_once(' ').unwrap_or((&text, ""));
        set(
            "processor time",
            Some(quota(time.parse().ok(), period.parse().ok())),
        );
        // A weight of 100 is what shares of 1024 become.
        let weight = read("cpu", "", "cpu.weight").filter(|weight| weight == "100");
        set("processor shares", weight.map(|_| SHARES.to_string()));
    }
    for (name, file) in [
        ("processors", "cpuset.cpus"),
        ("memory nodes", "cpuset.mems"),
    ] {
        let own = read("cpuset", file, file);
        // In v1 a group without a choice of its own has that of the one above.
        let parent = cgroup.directory("cpuset").and_then(Path::parent);
        let above = parent.and_then(|above| std::fs::read_to_string(above.join(file)).ok());
        let all = |own: &String| own.is_empty() || above.is_some_and(|above| above.trim() == own);
        set(
            name,
            own.map(|own| if all(&own) { "all".to_owned() } else { own }),
        );
    }
    found
}

/// Places in the container and what is mounted there.
fn parse_mounts(text: &str) -> BTreeMap<PathBuf, Shown> {
    let shown = |mount: mountinfo::Mount<'_>| {
        let words = mount.options.split(',');
        let words = words.chain(mount.super_options.split(','));
        let words: Vec<String> = words.map(str::to_owned).collect();
        let shown = Shown::with(mount.kind, &words);
        (mount.point.into_owned(), shown)
    };
    mountinfo::parse(text).map(shown).collect()
}

fn mount(mounts: &BTreeMap<PathBuf, Shown>, entry: &mut Entry) {
    let Some(found) = mounts.get(Path::new(&entry.name)) else {
        entry.value = String::new();
        return;
    };
    let planned = entry
        .value
        .split(", ")
        .next()
        .unwrap_or_default()
        .to_owned();
    let mut found = found.clone();
    if planned.starts_with("bind of ") {
        // Of which directory it is /proc does not tell in the host's words.
        found = Shown {
            kind: planned,
            flags: found
                .flags
                .into_iter()
                .filter(|flag| *flag == "ro")
                .collect(),
            mode: if entry.value.contains("ids mapped") {
                "ids mapped"
            } else {
                ""
            }
            .to_owned(),
            ..Shown::default()
        };
    } else if planned == "cgroup" {
        // On v1 a tmpfs with a directory for each hierarchy.
        found = Shown {
            kind: planned,
            flags: found.flags,
            ..Shown::default()
        };
    }
    entry.value = found.text();
}

/// Whether something is mounted over a path; what the container does not have needs no cover.
fn covered(mounts: &BTreeMap<PathBuf, Shown>, root: &Root, entry: &mut Entry) {
    let path = Path::new(&entry.name);
    let is_there = root.handle_nofollow(path).is_ok();
    if is_there && !mounts.contains_key(path) {
        "open".clone_into(&mut entry.value);
    }
}

fn variables(environ: &[u8]) -> Vec<Entry> {
    let words = environ
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    let one = |word: &[u8]| {
        let text = String::from_utf8_lossy(word).into_owned();
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        entry(VARIABLES, name, value)
    };
    words.map(one).collect()
}

fn network(container: &Container) -> Result<Vec<Entry>> {
    let record = &container.record;
    let status = &container.status.network;
    let mut entries = vec![entry(
        NETWORK,
        "mode",
        record.host_config.network_mode.clone(),
    )];
    for (name, place) in &status.endpoints {
        let addresses = [
            (&place.ip_address, place.ip_prefix_len),
            (&place.global_ipv6_address, place.global_ipv6_prefix_len),
        ];
        let mut words: Vec<String> = addresses
            .iter()
            .filter(|(address, _)| !address.is_empty())
            .map(|(address, length)| format!("{address}/{length}"))
            .collect();
        if !place.gateway.is_empty() {
            words.push(format!("by {}", place.gateway));
        }
        words.push(place.mac_address.clone());
        entries.push(entry(
            NETWORK,
            &format!("place in {name}"),
            words.join(", "),
        ));
    }
    for (port, places) in &status.ports {
        let places = places.iter().flatten();
        let places: Vec<String> = places
            .map(|place| format!("{}, {}", place.host_ip, place.host_port))
            .collect();
        if !places.is_empty() {
            entries.push(entry(NETWORK, &format!("port {port}"), places.join("; ")));
        }
    }
    let table = firewall::publication_name(&record.id);
    let found = nft::Table {
        family: nft::TableFamily::Inet,
        name: &table,
    };
    let has_ports = status.ports.values().any(Option::is_some);
    if has_ports {
        let rules = if nft::has_table(&Host::open()?.filter, found)? {
            format!("table inet {table}: destination NAT of its ports")
        } else {
            "no rules: its ports are published by the proxy".to_owned()
        };
        entries.push(entry(NETWORK, "firewall", rules));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_proc_read_as_those_of_the_plan() {
        let text = "36 35 0:30 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n\
                    37 35 0:31 / /dev/shm rw,nosuid,nodev,noexec - tmpfs shm rw,size=65536k\n\
                    38 35 0:32 /x /a\\040b ro,relatime master:1 - ext4 /dev/sda1 rw\n";
        let mounts = parse_mounts(text);
        let shown = |place: &str| mounts[Path::new(place)].text();
        assert_eq!(shown("/proc"), "proc, nosuid, nodev, noexec");
        assert_eq!(shown("/dev/shm"), "tmpfs, 65536 KiB, nosuid, nodev, noexec");
        assert_eq!(shown("/a b"), "ext4, ro");
        let mut bind = entry(MOUNTS, "/a b", "bind of /srv");
        mount(&mounts, &mut bind);
        assert_eq!(bind.value, "bind of /srv, ro");
        let mut gone = entry(MOUNTS, "/gone", "bind of /srv");
        mount(&mounts, &mut gone);
        assert_eq!(gone.value, "");
    }

    #[test]
    fn status_and_limits_are_read() {
        let status = fields(
            "Uid:\t5\t1000\t0\t0\nGid:\t0\t100\t0\t0\nGroups:\t4 100 \nCapBnd:\t0000000000000021\n",
        );
        assert_eq!(user_of(&status).unwrap(), "1000:100, groups 4");
        let names: Vec<String> = capabilities(&status)
            .into_iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(names, ["CHOWN", "KILL"]);
        let limits = parse_limits(
            "Limit  Soft Limit\nMax open files            1024                 unlimited            files\n",
        );
        assert_eq!(limits["nofile"], "1024, up to unlimited");
    }
}

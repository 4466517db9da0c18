//! Cgroups by systemd: a transient scope per container, where a host's rule is that only systemd makes cgroups (runc's
//! `--systemd-cgroup`; systemd's CGROUP_DELEGATION.md).
//!
//! ```text
//! cgroupsPath            machine.slice:podman:ID
//! slice and scope        machine.slice, podman-ID.scope
//! cgroup                 /machine.slice/podman-ID.scope
//! ```
//!
//! A scope needs a process to be born with. It is a [`Holder`], which waits in the new cgroup until the container's first
//! process has entered it as it enters any other.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use zbus::{OwnedObjectPath, Variant};

mod bus;
mod holder;
pub(super) mod properties;

pub use holder::Holder;

use super::devices::systemd_rules;
use super::layout::Host;
use super::plan::Write;
use super::{Cgroup, V1_UNLIMITED, v1, v2};
use crate::error;
use crate::oci::runtime::resources::{DeviceRule, Resources};
use bus::{Bus, Object, Refused};
use properties::{Property, Value, of_writes};

const MANAGER: Object = Object {
    service: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// Where systemd listens if the environment does not say so.
const SYSTEM_BUS: &str =
    "unix:path=/run/dbus/system_bus_socket;unix:path=/var/run/dbus/system_bus_socket";

/// The prefix of scopes whose path does not say one.
const PREFIX: &str = "aril";

/// A unit of systemd that holds a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `machine.slice`; empty for systemd's own default.
    pub slice: String,
    /// `podman-ID.scope`
    pub name: String,
    /// Whether it is the user's own manager instead of the system's.
    pub user: bool,
}

impl Unit {
    /// Returns the cgroup that systemd gives it, below what its manager has.
    pub fn path(&self) -> Result<PathBuf> {
        Ok(slice_path(&self.slice)?.join(&self.name))
    }
}

/// Reads a cgroupsPath of the form `SLICE:PREFIX:NAME`; an empty one is a scope of the container's id.
pub fn unit(cgroups_path: &str, id: &str) -> Result<Unit> {
    let user = !rustix::process::geteuid().is_root();
    let default_slice = if user { "user.slice" } else { "system.slice" };
    let parts: Vec<&str> = if cgroups_path.is_empty() {
        vec!["", PREFIX, id]
    } else {
        cgroups_path.split(':').collect()
    };
    let &[slice, prefix, name] = parts.as_slice() else {
        bail!(error::invalid(format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {cgroups_path:?} instead"
        )));
    };
    let slice = if slice.is_empty() {
        default_slice
    } else {
        slice
    };
    let name = match (is_slice(name), prefix) {
        (true, _) => name.to_owned(),
        (false, "") => format!("{name}.scope"),
        (false, prefix) => format!("{prefix}-{name}.scope"),
    };
    slice_path(slice)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@+".contains(c);
    if name.len() > 255 || !name.chars().all(plain) {
        bail!(error::invalid(format!(
            "invalid name of a systemd unit: {name:?}"
        )));
    }
    Ok(Unit {
        slice: slice.to_owned(),
        name,
        user,
    })
}

fn is_slice(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, kind)| kind == "slice")
}

/// Returns the cgroup of a slice: `a-b.slice` lies in `a.slice`.
fn slice_path(slice: &str) -> Result<PathBuf> {
    let invalid = || error::invalid(format!("invalid slice name {slice:?}"));
    let name = slice.strip_suffix(".slice").ok_or_else(invalid)?;
    let mut path = PathBuf::from("/");
    if name == "-" {
        return Ok(path);
    }
    if name.is_empty() || name.contains('/') {
        return Err(invalid());
    }
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err(invalid());
        }
        prefix.push_str(part);
        path.push(format!("{prefix}.slice"));
        prefix.push('-');
    }
    Ok(path)
}

/// Starts the unit and takes over the cgroup that it has; both stay as long as the holder is there or another process lives
/// in them.
///
/// Fails with `Conflict` if a unit of that name exists, and with `Unavailable` where systemd cannot be reached; what was made
/// is taken away then.
pub fn make(host: &Host, unit: &Unit, id: &str, resources: &Resources) -> Result<(Cgroup, Holder)> {
    let holder = Holder::new()?;
    let started = start(host, unit, id, resources, &holder);
    match started.and_then(|path| super::adopt(host, &path, resources)) {
        Ok(cgroup) => Ok((cgroup, holder)),
        Err(error) => {
            drop(holder);
            // A unit of this name that exists already is somebody else's, and runs on.
            if error::kind(&error) != Some(error::Kind::Conflict)
                && let Err(left) = stop(unit)
            {
                tracing::warn!("stop unit {}: {left:#}", unit.name);
            }
            Err(error)
        }
    }
}

/// Starts the unit with process `holder` in it; returns its cgroup below the root of each hierarchy.
fn start(
    host: &Host,
    unit: &Unit,
    id: &str,
    resources: &Resources,
    holder: &Holder,
) -> Result<PathBuf> {
    let mut bus = connect(unit)?;
    bus.listen(MANAGER)?;
    bus.call(MANAGER, "Subscribe", "", &())?;
    let mut all = birth(unit, id, holder.pid());
    all.extend(limits(host, resources)?);
    if start_once(&mut bus, unit, &all)? == Started::Exists {
        // What is left of one that has failed; a living one keeps its name.
        reset(&mut bus, unit)?;
        if start_once(&mut bus, unit, &all)? == Started::Exists {
            bail!(error::conflict(format!(
                "unit {} exists already",
                unit.name
            )));
        }
    }
    let expected = unit.path()?;
    let path = holder.cgroup(host)?;
    // A manager of a user's own lies deeper; elsewhere it would not be the cgroup whose limits were set.
    if !path.ends_with(expected.strip_prefix("/").unwrap_or(&expected)) {
        bail!(error::unavailable(format!(
            "systemd put the process into {} instead of {}",
            path.display(),
            expected.display()
        )));
    }
    Ok(path)
}

/// Ends a unit, if there is one, and forgets that it failed.
pub fn stop(unit: &Unit) -> Result<()> {
    let mut bus = connect(unit)?;
    bus.listen(MANAGER)?;
    bus.call(MANAGER, "Subscribe", "", &())?;
    match bus.call(MANAGER, "StopUnit", "ss", &(&unit.name, "replace")) {
        Ok(answer) => {
            let job: (OwnedObjectPath,) = answer.values()?;
            wait_for(&mut bus, &job.0)?;
        }
        Err(error) if is_refusal(&error, "NoSuchUnit") => {}
        Err(error) => return Err(error).with_context(|| format!("stop unit {}", unit.name)),
    }
    reset(&mut bus, unit)
}

/// Tells systemd of other limits, which it would undo otherwise when it reloads.
pub fn update(host: &Host, unit: &Unit, resources: &Resources) -> Result<()> {
    let limits = limits(host, resources)?;
    if limits.is_empty() {
        return Ok(());
    }
    // At runtime: a transient unit is not on disk.
    let values = (&unit.name, true, variants(&limits));
    connect(unit)?
        .call(MANAGER, "SetUnitProperties", "sba(sv)", &values)
        .map(drop)
        .with_context(|| format!("change limits of unit {}", unit.name))
}

fn connect(unit: &Unit) -> Result<Bus> {
    let variable = if unit.user {
        "DBUS_SESSION_BUS_ADDRESS"
    } else {
        "DBUS_SYSTEM_BUS_ADDRESS"
    };
    let given = std::env::var(variable)
        .ok()
        .filter(|given| !given.is_empty());
    if given.is_none() && !Path::new("/run/systemd/system").is_dir() {
        bail!(error::with_hint(
            error::unavailable(
                "systemd not running on this host, cannot use systemd cgroups manager"
            ),
            "let the caller use the driver cgroupfs: native.cgroupdriver=cgroupfs among exec-opts in daemon.json, podman \
             --cgroup-manager cgroupfs, SystemdCgroup = false for containerd",
        ));
    }
    let address = given.unwrap_or_else(|| {
        if unit.user {
            let uid = rustix::process::geteuid().as_raw();
            format!("unix:path=/run/user/{uid}/bus")
        } else {
            SYSTEM_BUS.to_owned()
        }
    });
    Bus::connect(&address).context("reach systemd")
}

/// The properties that a unit is born with, limits apart.
fn birth(unit: &Unit, id: &str, pid: u32) -> Vec<Property> {
    let mut all = vec![
        ("Description", Value::Text(format!("aril container {id}"))),
        ("DefaultDependencies", Value::Bool(false)),
    ];
    if is_slice(&unit.name) {
        all.push(("Wants", Value::Texts(vec![unit.slice.clone()])));
    } else {
        all.push(("Slice", Value::Text(unit.slice.clone())));
        // Below the scope all is the container's.
        all.push(("Delegate", Value::Bool(true)));
    }
    for accounting in [
        "CPUAccounting",
        "MemoryAccounting",
        "IOAccounting",
        "TasksAccounting",
    ] {
        all.push((accounting, Value::Bool(true)));
    }
    all.push(("PIDs", Value::Pids(vec![pid])));
    all
}

fn limits(host: &Host, resources: &Resources) -> Result<Vec<Property>> {
    let writes: Vec<Write> = if host.is_v2() {
        v2::plan(resources)?
    } else {
        v1::plan(resources, V1_UNLIMITED)?
    };
    let mut limits = of_writes(&writes);
    if !resources.devices.is_empty() {
        limits.extend(devices(&resources.devices)?);
    }
    Ok(limits)
}

fn devices(rules: &[DeviceRule]) -> Result<Vec<Property>> {
    let known = std::fs::read_to_string("/proc/devices").context("read /proc/devices")?;
    let allowed = systemd_rules(rules, &known)?;
    let policy = if allowed.is_some() { "strict" } else { "auto" };
    Ok(vec![
        ("DevicePolicy", Value::Text(policy.to_owned())),
        ("DeviceAllow", Value::Devices(allowed.unwrap_or_default())),
    ])
}

#[derive(PartialEq, Eq)]
enum Started {
    Done,
    Exists,
}

fn start_once(bus: &mut Bus, unit: &Unit, all: &[Property]) -> Result<Started> {
    let auxiliary: Vec<(String, Vec<(String, Variant<'_>)>)> = Vec::new();
    let values = (&unit.name, "replace", variants(all), auxiliary);
    match bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", &values) {
        Ok(answer) => {
            let job: (OwnedObjectPath,) = answer.values()?;
            let result = wait_for(bus, &job.0)?;
            if result != "done" {
                bail!(error::unavailable(format!(
                    "error creating systemd unit {}: got {result:?}",
                    unit.name
                )));
            }
            Ok(Started::Done)
        }
        Err(error) if is_refusal(&error, "UnitExists") => Ok(Started::Exists),
        Err(error) => Err(error).with_context(|| format!("start unit {}", unit.name)),
    }
}

/// Waits until a job is done; returns what came of it.
fn wait_for(bus: &mut Bus, job: &OwnedObjectPath) -> Result<String> {
    bus.signal(|signal| {
        if signal.member != "JobRemoved" {
            return Ok(None);
        }
        let (_, removed, _, result): (u32, OwnedObjectPath, String, String) = signal.values()?;
        Ok((removed == *job).then_some(result))
    })
    .context("wait for systemd's job")
}

fn reset(bus: &mut Bus, unit: &Unit) -> Result<()> {
    match bus.call(MANAGER, "ResetFailedUnit", "s", &(&unit.name,)) {
        // Nothing has failed, and a unit that has ended well is forgotten at once.
        Err(error) if error.is::<Refused>() => {
            tracing::debug!("reset unit {}: {error}", unit.name);
            Ok(())
        }
        done => done.map(drop),
    }
}

fn is_refusal(error: &anyhow::Error, name: &str) -> bool {
    error
        .downcast_ref::<Refused>()
        .is_some_and(|refused| refused.name.ends_with(name))
}

fn variants(properties: &[Property]) -> Vec<(&'static str, Variant<'static>)> {
    let value = |value: &Value| match value.clone() {
        Value::Bool(value) => Variant::from(value),
        Value::Number(value) => Variant::from(value),
        Value::Text(value) => Variant::from(value),
        Value::Texts(value) => Variant::from(value),
        Value::Bytes(value) => Variant::from(value),
        Value::Pids(value) => Variant::from(value),
        Value::Devices(value) => Variant::from(value),
    };
    properties
        .iter()
        .map(|(name, of)| (*name, value(of)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_units() {
        for (path, slice, name) in [
            ("", "system.slice", "aril-c1.scope"),
            ("machine.slice:podman:x", "machine.slice", "podman-x.scope"),
            (":docker:x", "system.slice", "docker-x.scope"),
            ("a-b.slice::x", "a-b.slice", "x.scope"),
            ("a.slice:cri:pod.slice", "a.slice", "pod.slice"),
        ] {
            let unit = unit(path, "c1").unwrap();
            assert_eq!(
                (unit.slice.as_str(), unit.name.as_str()),
                (slice, name),
                "{path}"
            );
        }
        for path in [
            "/docker/x",
            "a:b",
            "a:b:c:d",
            "x:a:b",
            "a.slice:a:b/c",
            "a--b.slice:a:b",
        ] {
            assert!(unit(path, "c1").is_err(), "{path}");
        }
    }

    #[test]
    fn slices_lie_in_each_other() {
        let path = |slice| {
            slice_path(slice)
                .ok()
                .map(|path| path.display().to_string())
        };
        assert_eq!(path("-.slice").as_deref(), Some("/"));
        assert_eq!(path("a.slice").as_deref(), Some("/a.slice"));
        assert_eq!(
            path("a-b-c.slice").as_deref(),
            Some("/a.slice/a-b.slice/a-b-c.slice")
        );
        assert_eq!(path("a"), None);
        assert_eq!(path("-a.slice"), None);
    }
}

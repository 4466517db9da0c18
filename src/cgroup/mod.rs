//! The cgroup of a container on v1, hybrid and v2 hosts: create with limits, enter, update, remove.
//!
//! A cgroup is named by its path below the root of every hierarchy (`/aril/ID`). Writing directories and files is all that
//! happens here; which values go where is decided by the pure plans of `v1` and `v2`. Freezing, killing and listing
//! are in [`control`], reading in [`stats`].
//!
//! A process enters by itself: on v1 it writes `0` to the `tasks` file of each hierarchy. Since kernel 5.5 a thread that
//! moves itself there takes no machine-wide lock, where a pid in `cgroup.procs` waits for an RCU grace period (5 to 16 ms
//! on an idle machine). On v2 it is born inside (CLONE_INTO_CGROUP).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags};

pub mod control;
mod create;
mod devices;
pub mod layout;
pub mod leave;
mod plan;
pub mod stats;
pub mod sub;
pub mod systemd;
mod v1;
mod v2;

use layout::Host;
use plan::{carry_out, missing};

use crate::error;
use crate::oci::runtime::resources::{DeviceRule, Resources};
use crate::sys::bpf;
use crate::sys::kernel::{self, Interface};
use crate::sys::pseudo;

/// The parent of all our cgroups; it is removed with the last of them.
pub const PARENT: &str = "/aril";

/// The memory limit of a v1 cgroup that has none.
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;

/// The cgroup of one container, in every hierarchy that it needs.
#[derive(Debug)]
pub struct Cgroup {
    /// Below the root of each hierarchy; absolute in form.
    path: PathBuf,
    /// One directory per v1 hierarchy.
    v1: Vec<Directory>,
    /// The directory in the v2 hierarchy.
    unified: Option<PathBuf>,
}

/// A v1 directory.
#[derive(Clone, Debug)]
struct Directory {
    controllers: Arc<[String]>,
    path: PathBuf,
}

/// What a new process needs to enter a cgroup; opened by the parent, who may do so.
#[derive(Debug, Default)]
pub struct Entry {
    /// Files that take the process which writes `0`.
    files: Vec<(PathBuf, File)>,
    /// A v2 directory for CLONE_INTO_CGROUP.
    directory: Option<OwnedFd>,
}

/// Makes the cgroup at `path` (absolute in form, such as `/aril/ID`) with `resources`.
///
/// Parents are made as needed. On a hybrid host the v2 hierarchy is left alone unless a limit needs it. Fails with
/// `Conflict` if processes live there already, and with `Unavailable` for a limit whose controller the host lacks; what
/// was made is removed then.
pub fn create(host: &Host, path: &Path, resources: &Resources) -> Result<Cgroup> {
    let path = normal(path)?;
    let cgroup = locate(host, &path, resources)?;
    let made = create::make_directories(host, &cgroup).and_then(|existed| {
        if existed {
            create::check_unused(&cgroup)?;
        }
        Ok(())
    });
    match made.and_then(|()| cgroup.limit(host, resources)) {
        Ok(()) => Ok(cgroup),
        Err(error) => {
            if error::kind(&error) != Some(error::Kind::Conflict)
                && let Err(left) = cgroup.remove()
            {
                tracing::warn!("remove cgroup {}: {left:#}", path.display());
            }
            Err(error)
        }
    }
}

/// Ends all processes in a cgroup and takes it away, with the unit that it belongs to if systemd has made it.
///
/// All steps are tried; the first error is returned.
pub fn end(cgroup: &Cgroup, unit: Option<&systemd::Unit>) -> Result<()> {
    let killed = if cgroup.vanishes() {
        Ok(())
    } else {
        cgroup.kill_all()
    };
    let stopped = unit.map_or(Ok(()), systemd::stop);
    killed.and(stopped).and(cgroup.remove())
}

/// Makes the cgroup as [`create`] does, for who is root of a user namespace only.
///
/// Rules for devices are left out: nobody may set them there, and nobody there may make a device. Where no cgroup may be made
/// and nothing else is asked of it, the result is one without a directory, and its processes stay in ours.
pub fn create_in_user_namespace(host: &Host, path: &Path, resources: &Resources) -> Result<Cgroup> {
    let resources = Resources {
        devices: Vec::new(),
        ..resources.clone()
    };
    match create(host, path, &resources) {
        Err(error) if is_refused(&error) && resources == Resources::default() => {
            tracing::debug!("stay in our own cgroup: {error:#}");
            Ok(Cgroup {
                path: normal(path)?,
                v1: Vec::new(),
                unified: None,
            })
        }
        made => made,
    }
}

/// Returns whether an error is that the kernel did not let us.
pub fn is_refused(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    let errno = cause.and_then(io::Error::raw_os_error);
    matches!(errno, Some(libc::EACCES | libc::EPERM | libc::EROFS))
}

/// Makes every plan of `resources`: each is made or refused, whatever stands in it.
#[cfg(any(test, fuzzing))]
pub fn plan_everything(resources: &Resources) {
    let made = [v1::plan(resources, V1_UNLIMITED), v2::plan(resources)];
    for writes in made.into_iter().flatten() {
        drop(systemd::properties::of_writes(&writes));
    }
    drop(devices::plan_v1(&resources.devices));
    drop(devices::program(&resources.devices));
}

/// Takes over the cgroup that systemd has made at `path`: what it has not made is, and `resources` are set.
fn adopt(host: &Host, path: &Path, resources: &Resources) -> Result<Cgroup> {
    let path = normal(path)?;
    let mut cgroup = locate(host, &path, resources)?;
    // On a hybrid host systemd looks there for who lives in a unit, and ends one in which nobody does.
    cgroup.unified = host
        .unified
        .as_ref()
        .map(|unified| below(&unified.mount, &path));
    create::make_directories(host, &cgroup)?;
    cgroup.limit(host, resources)?;
    Ok(cgroup)
}

/// Returns the cgroup at `path` as far as it exists.
pub fn open(host: &Host, path: &Path) -> Result<Cgroup> {
    let path = normal(path)?;
    let mut cgroup = locate(host, &path, &Resources::default())?;
    // Each by itself: a hierarchy may have been mounted since the cgroup was made.
    cgroup.v1.retain(|directory| directory.path.is_dir());
    cgroup.unified = host
        .unified
        .as_ref()
        .map(|unified| below(&unified.mount, &path))
        .filter(|directory| directory.is_dir());
    Ok(cgroup)
}

impl Cgroup {
    /// Returns the path below the root of each hierarchy.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory where `controller` is managed, v1 first.
    pub fn directory(&self, controller: &str) -> Option<&Path> {
        self.v1_directory(controller).or(self.unified.as_deref())
    }

    /// Returns the v1 directories with their controllers, in the order of the mount table.
    pub fn v1_directories(&self) -> impl Iterator<Item = (&Arc<[String]>, &Path)> {
        self.v1
            .iter()
            .map(|directory| (&directory.controllers, directory.path.as_path()))
    }

    /// Returns the v2 directory.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// Returns whether it has directories; one that was opened has only what exists.
    pub fn has_directories(&self) -> bool {
        !self.v1.is_empty() || self.unified.is_some()
    }

    fn v1_directory(&self, controller: &str) -> Option<&Path> {
        self.v1
            .iter()
            .find(|directory| directory.controllers.iter().any(|c| c == controller))
            .map(|directory| directory.path.as_path())
    }

    /// Opens what a child needs to enter. All of it is close-on-exec.
    pub fn entry(&self) -> Result<Entry> {
        let mut entry = Entry::default();
        let file = if kernel::forced_off(Interface::CgroupTasks) {
            "cgroup.procs"
        } else {
            "tasks"
        };
        for directory in &self.v1 {
            entry.open(directory.path.join(file))?;
        }
        if let Some(unified) = &self.unified {
            if kernel::forced_off(Interface::CloneIntoCgroup) {
                entry.open(unified.join("cgroup.procs"))?;
            } else {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = rustix::fs::open(unified, flags, Mode::empty())
                    .with_context(|| format!("open {}", unified.display()))?;
                entry.directory = Some(directory);
            }
        }
        Ok(entry)
    }

    /// Changes the limits to `resources`; what those leave out stays. Device rules replace the old ones.
    pub fn update(&self, host: &Host, resources: &Resources) -> Result<()> {
        if let Some(memory) = &resources.memory
            && memory.check_before_update == Some(true)
            && let Some(limit) = memory.limit.and_then(|limit| u64::try_from(limit).ok())
            && let Some(directory) = self.unified.as_deref().filter(|_| self.v1.is_empty())
            && let Some(used) = number(&directory.join("memory.current"))
            && used > limit
        {
            bail!(error::conflict(format!(
                "rejecting memory limit {limit} because it's lower than current usage {used}"
            )));
        }
        match (&resources.cpu, self.unified.as_deref()) {
            // Here quota and period are one value, and what is left out stays.
            (Some(cpu), Some(directory)) if self.v1.is_empty() => {
                let file = directory.join("cpu.max");
                let present = pseudo::read_text(file).unwrap_or_default();
                let resources = Resources {
                    cpu: Some(v2::with_present_quota(cpu, &present)),
                    ..resources.clone()
                };
                self.limit(host, &resources)
            }
            _ => self.limit(host, resources),
        }
    }

    fn limit(&self, host: &Host, resources: &Resources) -> Result<()> {
        if !self.has_directories() {
            return Ok(());
        }
        if self.v1.is_empty() {
            let writes = v2::plan(resources)?;
            let offered = host.unified_controllers();
            carry_out(&writes, |controller| {
                self.unified
                    .as_deref()
                    .filter(|_| controller == "cgroup" || offered.iter().any(|c| c == controller))
            })?;
            return self.limit_devices_v2(&resources.devices);
        }
        let memory = resources.memory.as_ref();
        let limit = memory
            .and_then(|_| self.v1_directory("memory"))
            .and_then(|directory| number(&directory.join("memory.limit_in_bytes")))
            .unwrap_or(V1_UNLIMITED);
        let mut writes = v1::plan(resources, limit)?;
        let elsewhere = on_unified(host, &writes, resources)?;
        writes.retain(|write| host.v1_of(&write.controller).is_some());
        carry_out(&writes, |controller| self.v1_directory(controller))?;
        carry_out(&elsewhere, |_| self.unified.as_deref())?;
        if resources.devices.is_empty() {
            return Ok(());
        }
        match self.v1_directory("devices") {
            Some(directory) => {
                carry_out(&devices::plan_v1(&resources.devices)?, |_| Some(directory))
            }
            None => Err(missing("devices")),
        }
    }

    /// Attaches a program for `rules` and then takes the old ones away: while both are there, both must allow.
    fn limit_devices_v2(&self, rules: &[DeviceRule]) -> Result<()> {
        let Some(unified) = self.unified.as_deref().filter(|_| !rules.is_empty()) else {
            return Ok(());
        };
        let directory =
            File::open(unified).with_context(|| format!("open {}", unified.display()))?;
        let attach = || -> io::Result<OwnedFd> {
            let instructions = devices::program(rules).map_err(io::Error::other)?;
            let program = bpf::load_device_program(&instructions)?;
            let old = bpf::device_programs(directory.as_fd())?;
            bpf::attach_device_program(directory.as_fd(), program.as_fd())?;
            for old in old {
                bpf::detach_device_program(directory.as_fd(), old.as_fd())?;
            }
            Ok(program)
        };
        attach()
            .map(drop)
            .with_context(|| format!("attach the device program of {}", unified.display()))
    }
}

impl Entry {
    fn open(&mut self, path: PathBuf) -> Result<()> {
        let file = File::options()
            .write(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        self.files.push((path, file));
        Ok(())
    }

    /// Returns the directory that the process must be cloned into, if it enters that way.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(OwnedFd::as_fd)
    }

    /// Moves this process, which must have one thread, into the cgroup. For the child, before it leaves the host's
    /// namespaces or gives up any right; needs no path and no memory.
    pub fn enter(&self) -> Result<(), (i32, &Path)> {
        for (path, file) in &self.files {
            let mut file: &File = file;
            if let Err(error) = file.write_all(b"0") {
                return Err((error.raw_os_error().unwrap_or(libc::EIO), path));
            }
        }
        Ok(())
    }
}

/// Checks a path from outside and gives it the one form that it has in messages and comparisons.
fn normal(path: &Path) -> Result<PathBuf> {
    use std::path::Component;
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => normal.push(name),
            Component::ParentDir | Component::Prefix(_) => bail!(error::invalid(format!(
                "cgroup path {:?} must not contain \"..\"",
                path.display().to_string()
            ))),
        }
    }
    if normal.parent().is_none() {
        bail!(error::invalid("the root cgroup is no container's"));
    }
    Ok(normal)
}

/// Returns where `path`, which begins with a slash, is in the hierarchy at `mount`.
fn below(mount: &Path, path: &Path) -> PathBuf {
    let mut below = OsString::with_capacity(mount.as_os_str().len() + path.as_os_str().len());
    below.push(mount);
    below.push(path);
    below.into()
}

/// Which directories the cgroup has on this host.
fn locate(host: &Host, path: &Path, resources: &Resources) -> Result<Cgroup> {
    let directory = |hierarchy: &layout::Hierarchy| Directory {
        controllers: Arc::clone(&hierarchy.controllers),
        path: below(&hierarchy.mount, path),
    };
    let needs_unified = host.v1.is_empty() || {
        let writes = v1::plan(resources, V1_UNLIMITED)?;
        !on_unified(host, &writes, resources)?.is_empty()
    };
    Ok(Cgroup {
        path: path.to_owned(),
        v1: host.v1.iter().map(directory).collect(),
        unified: host
            .unified
            .as_ref()
            .filter(|_| needs_unified)
            .map(|unified| below(&unified.mount, path)),
    })
}

/// The writes of a hybrid host that go to its v2 hierarchy: limits of controllers that are not mounted on v1, and what
/// the caller addresses to v2 by name.
fn on_unified(
    host: &Host,
    v1_writes: &[plan::Write],
    resources: &Resources,
) -> Result<Vec<plan::Write>> {
    let absent: Vec<&str> = v1_writes
        .iter()
        .map(|write| &*write.controller)
        .filter(|controller| host.v1_of(controller).is_none())
        .collect();
    if absent.is_empty() && resources.unified.is_empty() {
        return Ok(Vec::new());
    }
    let offered = host.unified_controllers();
    let name_on_v2 = |controller: &str| {
        if controller == "blkio" {
            "io"
        } else {
            controller
        }
        .to_owned()
    };
    if let Some(controller) = absent
        .iter()
        .find(|controller| !offered.contains(&name_on_v2(controller)))
    {
        return Err(missing(controller));
    }
    let absent: Vec<String> = absent.into_iter().map(name_on_v2).collect();
    let mut writes = v2::plan(&Resources {
        network: None,
        ..resources.clone()
    })?;
    writes.retain(|write| {
        absent.iter().any(|c| *c == write.controller)
            || resources.unified.contains_key(&*write.file)
    });
    if let Some(write) = writes.iter().find(|write| {
        write.controller != "cgroup" && !offered.iter().any(|c| *c == write.controller)
    }) {
        bail!(error::unavailable(format!(
            "invalid configuration: unified resource {:?} can't be set: controller {:?} not available",
            write.file, write.controller
        )));
    }
    Ok(writes)
}

/// Reads a file that holds one number.
fn number(file: &Path) -> Option<u64> {
    pseudo::read_text(file).ok()?.trim().parse().ok()
}

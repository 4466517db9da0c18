//! Cgroups below a container's, for processes that join it: one that the caller names, or on v2 the one that the
//! container's first process has moved to.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::layout::{self, Host};
use super::{Cgroup, Entry, below};
use crate::error;
use crate::sys::pseudo;

/// A cgroup below a container's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubCgroup {
    /// The v1 controllers that this is about; none are all hierarchies.
    pub controllers: Vec<String>,
    /// Relative to the container's cgroup.
    pub path: PathBuf,
}

/// Reads what runc's `exec --cgroup` takes: `PATH` alone, or `CONTROLLER[,CONTROLLER]:PATH` several times.
pub fn parse(arguments: &[String]) -> Result<Vec<SubCgroup>> {
    let mut all: Vec<SubCgroup> = Vec::new();
    for argument in arguments {
        let invalid = |why: &str| {
            error::invalid(format!(
                "invalid --cgroup argument: {argument}{why}: it is PATH or CONTROLLERS:PATH"
            ))
        };
        let (controllers, path) = match argument.split_once(':') {
            None if arguments.len() == 1 => (Vec::new(), argument.as_str()),
            None => bail!(invalid(" (missing <controller>: prefix)")),
            Some((_, path)) if path.contains(':') => bail!(invalid("")),
            Some((controllers, path)) => {
                (controllers.split(',').map(str::to_owned).collect(), path)
            }
        };
        let known = |name: &String| all.iter().any(|sub| sub.controllers.contains(name));
        if controllers
            .iter()
            .any(|name| name.is_empty() || known(name))
        {
            bail!(invalid(" (empty or repeated <controller>)"));
        }
        all.push(SubCgroup {
            controllers,
            path: inside(path)?,
        });
    }
    Ok(all)
}

/// Cleans a path, which must not lead out.
fn inside(path: &str) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir if clean.pop() => {}
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => bail!(error::invalid(format!(
                "bad sub cgroup path: {path} is not a sub cgroup path"
            ))),
        }
    }
    Ok(clean)
}

impl Cgroup {
    /// Opens what a child needs to enter the cgroups below this one that `subs` name, and this one where they name none.
    pub fn entry_below(&self, subs: &[SubCgroup]) -> Result<Entry> {
        if subs.is_empty() {
            return self.entry();
        }
        let mut wanted = Cgroup {
            path: self.path.clone(),
            v1: self.v1.clone(),
            unified: self.unified.clone(),
        };
        for sub in subs {
            if sub.controllers.is_empty() {
                for directory in &mut wanted.v1 {
                    directory.path.push(&sub.path);
                }
                wanted.unified = wanted.unified.map(|unified| unified.join(&sub.path));
            }
            for name in &sub.controllers {
                let has = |controllers: &[String]| {
                    controllers
                        .iter()
                        .any(|c| c.trim_start_matches("name=") == name)
                };
                let own = self.v1.iter().zip(&mut wanted.v1);
                let Some((own, directory)) = own.into_iter().find(|(own, _)| has(&own.controllers))
                else {
                    bail!(error::invalid(format!(
                        "unknown controller {name} in --cgroup"
                    )));
                };
                directory.path = own.path.join(&sub.path);
            }
        }
        wanted.exists().context("error adding pid to cgroups")?;
        wanted.entry()
    }

    /// Fails if a directory is missing, with the file that runc would have opened.
    fn exists(&self) -> Result<()> {
        let v1 = self.v1.iter().map(|directory| &directory.path);
        for directory in v1.chain(&self.unified) {
            let file = directory.join("cgroup.procs");
            if !file.exists() {
                bail!(error::not_found(format!(
                    "open {}: no such file or directory",
                    file.display()
                )));
            }
        }
        Ok(())
    }

    /// Opens what a child needs to enter the v2 cgroup that process `pid` of this cgroup is in.
    ///
    /// Where the container has enabled controllers for cgroups of its own, nobody may enter its topmost one any more
    /// (`EBUSY`); its first process has moved down then.
    pub fn entry_beside(&self, pid: i32) -> Result<Entry> {
        let file = format!("/proc/{pid}/cgroup");
        let own = pseudo::read_text(&file).with_context(|| format!("read {file}"))?;
        let unified = unified_path(layout::detect()?, &own)
            .filter(|path| self.unified().is_some_and(|top| path.starts_with(top)))
            .context("the container's first process has left the container's cgroup")?;
        Cgroup {
            path: self.path.clone(),
            v1: Vec::new(),
            unified: Some(unified),
        }
        .entry()
    }
}

/// Returns the v2 directory that a /proc/PID/cgroup is about.
fn unified_path(host: &Host, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(below(&host.unified.as_ref()?.mount, Path::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Vec<SubCgroup>, String> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        parse(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_name_cgroups_below() {
        let check = |arguments: &[&str], expected: &[(&str, &str)]| {
            let expected: Vec<SubCgroup> = expected
                .iter()
                .map(|(controllers, path)| SubCgroup {
                    controllers: controllers
                        .split_terminator(',')
                        .map(str::to_owned)
                        .collect(),
                    path: path.into(),
                })
                .collect();
            assert_eq!(parsed(arguments), Ok(expected), "{arguments:?}");
        };
        check(&["/"], &[("", "")]);
        check(&["a/../b"], &[("", "b")]);
        check(
            &["memory:m", "cpu,cpuacct:/c"],
            &[("memory", "m"), ("cpu,cpuacct", "c")],
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, text) in [
            (
                &[".."] as &[&str],
                "bad sub cgroup path: .. is not a sub cgroup path",
            ),
            (&["a/../../b"], "bad sub cgroup path"),
            (&["a", "b"], "missing <controller>: prefix"),
            (&["cpu:a:b"], "invalid --cgroup argument: cpu:a:b"),
            (&["cpu:a", "cpu:b"], "repeated <controller>"),
            (&[":a"], "empty or repeated"),
        ] {
            let error = parsed(arguments).unwrap_err();
            assert!(error.contains(text), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn the_v2_line_counts() {
        let host = Host {
            v1: Vec::new(),
            unified: Some(layout::Hierarchy {
                controllers: std::sync::Arc::default(),
                mount: "/sys/fs/cgroup".into(),
            }),
        };
        assert_eq!(
            unified_path(&host, "1:cpu:/x\n0::/aril/1/init\n"),
            Some("/sys/fs/cgroup/aril/1/init".into())
        );
        assert_eq!(unified_path(&host, "1:cpu:/x\n"), None);
    }
}

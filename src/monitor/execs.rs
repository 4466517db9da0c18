//! More processes in the running container: started for a client, reaped here, their ends told to whoever waits.
//!
//! The client's own streams become those of the process: nothing here stands between them. The monitor is the parent, so the
//! exit status survives a client that dies. It also keeps each terminal open, or a client that detaches would hang it up; of
//! a terminal that no client has any more it reads what is written, or the program would wait for somebody to read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::process::Pid;

use super::bring_up::{self, Run};
use super::control::ExecRequest;
use crate::container::spec::capability_sets;
use crate::container::{ExitStatus, Record, merge};
use crate::oci::runtime::Process;
use crate::{error, runtime, store};

/// The exec sessions that run.
#[derive(Debug)]
pub struct Execs {
    running: BTreeMap<String, Session>,
    /// Where others see which ones run, [`crate::dirs::Dirs::execs`].
    dir: PathBuf,
}

#[derive(Debug)]
struct Session {
    pid: Pid,
    command: String,
    /// The master side of its terminal.
    terminal: Option<OwnedFd>,
}

/// A session that was started.
#[derive(Debug)]
pub struct Started {
    /// Names the session.
    pub id: String,
    /// As the host numbers it.
    pub pid: i32,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// A session that has ended.
#[derive(Debug)]
pub struct Ended {
    /// As in [`Started`].
    pub id: String,
    /// As events show it.
    pub command: String,
    /// How.
    pub status: ExitStatus,
}

impl Execs {
    /// Returns none, to be listed in `dir`.
    pub fn new(dir: PathBuf) -> Execs {
        Execs {
            running: BTreeMap::new(),
            dir,
        }
    }

    /// Starts a process with the client's streams; without any and without terminal it gets the null device.
    pub fn start(
        &mut self,
        run: &Run,
        record: &Record,
        request: ExecRequest,
        streams: &[OwnedFd],
    ) -> Result<Started> {
        let process = complete(run, record, &request)?;
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .context("open /dev/null")?;
        let stdio = match streams {
            _ if process.terminal => runtime::Stdio::Terminal(process.console_size),
            [stdin, stdout, stderr] => {
                runtime::Stdio::Given([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
            }
            [] => runtime::Stdio::Given([null.as_fd(); 3]),
            _ => {
                return Err(error::invalid(
                    "an exec session takes three streams or none",
                ));
            }
        };
        let options = runtime::ExecOptions {
            process: &process,
            stdio,
            wait: false,
            preserved_fds: 0,
            keep_keyring: false,
            sub_cgroups: &[],
        };
        let mut started = runtime::exec(run.as_running(), options).map_err(exec_error)?;
        let id = store::random_id()?;
        let terminal = started.terminal.take();
        let kept = terminal.as_ref().map(OwnedFd::try_clone).transpose();
        let session = Session {
            pid: started.pid,
            command: request.command,
            terminal: kept.context("keep the terminal open")?,
        };
        self.running.insert(id.clone(), session);
        self.list(&id);
        Ok(Started {
            id,
            pid: started.pid.as_raw_nonzero().get(),
            terminal,
        })
    }

    /// Shows others that a session runs; it runs without that, too.
    fn list(&self, id: &str) {
        let file = self.dir.join(id);
        let listed = File::create_new(&file).or_else(|_| {
            std::fs::create_dir(&self.dir)?;
            File::create_new(&file)
        });
        if let Err(error) = listed {
            tracing::warn!("list exec session {id}: {error}");
        }
    }

    /// Returns the session whose process has ended, if it was one.
    pub fn reaped(&mut self, pid: Pid, status: ExitStatus) -> Option<Ended> {
        let id = self
            .running
            .iter()
            .find(|(_, session)| session.pid == pid)
            .map(|(id, _)| id.clone())?;
        let session = self.running.remove(&id)?;
        if let Err(error) = std::fs::remove_file(self.dir.join(&id)) {
            tracing::debug!("strike an exec session off the list: {error}");
        }
        Some(Ended {
            id,
            command: session.command,
            status,
        })
    }

    /// Returns the terminals of the sessions that are not in `watched`, with their processes.
    pub fn unwatched_terminals(
        &self,
        watched: &[String],
    ) -> impl Iterator<Item = (Pid, BorrowedFd<'_>)> {
        let unwatched = self
            .running
            .iter()
            .filter(|(id, _)| !watched.contains(id))
            .map(|(_, session)| session);
        unwatched.filter_map(|session| Some((session.pid, session.terminal.as_ref()?.as_fd())))
    }

    /// Reads what the session of process `pid` has written to its terminal; nobody will see it.
    pub fn discard_output(&mut self, pid: Pid) {
        let session = self.running.values_mut().find(|session| session.pid == pid);
        let Some(session) = session else { return };
        let Some(terminal) = &session.terminal else {
            return;
        };
        let mut buffer = [0; 4096];
        match rustix::io::read(terminal, &mut buffer) {
            Ok(count) if count > 0 => {}
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody has the other side open any more.
            Ok(_) | Err(_) => session.terminal = None,
        }
    }

    /// Forgets all sessions, whose processes have ended with the container's, and returns them.
    pub fn end_all(&mut self, status: ExitStatus) -> Vec<Ended> {
        let sessions = std::mem::take(&mut self.running);
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::debug!("delete the list of exec sessions: {error}");
        }
        sessions
            .into_iter()
            .map(|(id, session)| Ended {
                id,
                command: session.command,
                status,
            })
            .collect()
    }
}

/// Fills in what the container decides: who runs, with which variables, capabilities and limits.
fn complete(run: &Run, record: &Record, request: &ExecRequest) -> Result<Process> {
    let first = run.first.clone();
    let asked = &request.process;
    let groups = record.host_config.group_add.as_deref().unwrap_or_default();
    let wanted = if request.user.is_empty() {
        &record.config.user
    } else {
        &request.user
    };
    let user = bring_up::find_user(&run.root, wanted, groups)?;
    let mut env = first.env;
    if asked.terminal {
        merge::replace_env(&mut env, &["TERM=xterm".to_owned()]);
    }
    merge::replace_env(&mut env, &asked.env);
    let names = match (request.privileged, first.capabilities) {
        (true, _) => bring_up::available_capabilities()?,
        (false, sets) => sets.map(|sets| sets.bounding).unwrap_or_default(),
    };
    Ok(Process {
        terminal: asked.terminal,
        console_size: asked.console_size,
        user: crate::oci::runtime::User {
            uid: user.uid,
            gid: user.gid,
            umask: None,
            additional_gids: user.groups,
        },
        args: asked.args.clone(),
        env,
        cwd: if asked.cwd.as_os_str().is_empty() {
            first.cwd
        } else {
            asked.cwd.clone()
        },
        capabilities: Some(capability_sets(names, user.uid)),
        rlimits: first.rlimits,
        no_new_privileges: first.no_new_privileges,
        apparmor_profile: first.apparmor_profile,
        oom_score_adj: first.oom_score_adj,
        ..Process::default()
    })
}

/// Tells errors of the program from ours, and words them as docker does.
fn exec_error(error: anyhow::Error) -> anyhow::Error {
    bring_up::program_error(
        error,
        "OCI runtime exec failed: exec failed: unable to start container process",
        ExitStatus::exec_not_started,
    )
}

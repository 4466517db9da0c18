//! What can be said to the runtime: commands and options of runc.

use std::path::PathBuf;

use clap::{ArgAction, ArgMatches, Args, FromArgMatches as _, Parser, ValueEnum};

/// Where containers are recorded if nothing else is said.
const ROOT: &str = "/run/aril-oci";

/// Open Container Initiative runtime: runs containers from OCI bundles.
#[derive(Parser)]
#[command(
    name = "aril-oci",
    disable_help_subcommand = true,
    disable_version_flag = true
)]
pub(super) struct Cli {
    /// Directory of the containers' records
    #[arg(long, value_name = "DIR", default_value = ROOT)]
    pub(super) root: PathBuf,
    /// File that errors and warnings are appended to
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// Form of the log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
    /// Log every decision
    #[arg(long)]
    pub(super) debug: bool,
    /// Let systemd make the cgroups, with a cgroupsPath SLICE:PREFIX:NAME
    #[arg(long)]
    pub(super) systemd_cgroup: bool,
    /// Do without cgroups that may not be made: true, false, or auto for all but the host's root
    #[arg(long, value_name = "WHEN", hide = true)]
    pub(super) rootless: Option<String>,
    /// Path of criu, which is found on PATH
    #[arg(long, value_name = "FILE", hide = true)]
    pub(super) criu: Option<PathBuf>,
    /// Print versions
    #[arg(long, short = 'v', action = ArgAction::SetTrue)]
    pub(super) version: bool,
    /// The verb, which is described and read apart from these.
    #[arg(skip)]
    pub(super) command: Option<Command>,
}

/// Forms of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// `time="…" level=error msg="…"`
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

/// Makes the enum of the verbs from lines of what each is for, its name and its arguments.
///
/// clap's own `derive(Subcommand)` would describe all verbs and their options to clap at each call, in a third of the memory
/// that a start touches; so, only that is described which is asked for.
macro_rules! verbs {
    ($(#[doc = $about:literal] $verb:literal => $name:ident($arguments:ty),)+) => {
        pub(super) enum Command {
            $(#[doc = $about] $name($arguments),)+
        }

        impl Command {
            /// Describes those verbs to clap that are wanted, and their options once one is called.
            pub(super) fn describe(
                mut command: clap::Command,
                is_wanted: impl Fn(&str) -> bool,
            ) -> clap::Command {
                $(if is_wanted($verb) {
                    command = command.subcommand(
                        clap::Command::new($verb)
                            .about($about.trim())
                            .defer(<$arguments as Args>::augment_args),
                    );
                })+
                command
            }

            /// Takes the verb that was called, if one was.
            pub(super) fn take(matches: &mut ArgMatches) -> Result<Option<Command>, clap::Error> {
                let Some((verb, mut matches)) = matches.remove_subcommand() else {
                    return Ok(None);
                };
                let called = match verb.as_str() {
                    $($verb => Command::$name(<$arguments>::from_arg_matches_mut(&mut matches)?),)+
                    _ => return Ok(None),
                };
                Ok(Some(called))
            }
        }
    };
}

verbs! {
    /// Create a container; `start` runs its program
    "create" => Create(Create),
    /// Run the program of a created container
    "start" => Start(Named),
    /// Show the state of a container
    "state" => State(Named),
    /// Send a signal to the first process of a container
    "kill" => Kill(Kill),
    /// Delete a stopped container
    "delete" => Delete(Delete),
    /// Create and start a container, wait for it, and delete it
    "run" => Run(Run),
    /// Run a process in a running container
    "exec" => Exec(Exec),
    /// Stop all processes of a container
    "pause" => Pause(Named),
    /// Let the processes of a paused container go on
    "resume" => Resume(Named),
    /// List all containers
    "list" => List(List),
    /// Show the processes of a container
    "ps" => Ps(Ps),
    /// Show what a container uses, and when it runs out of memory
    "events" => Events(Events),
    /// Change the limits of a container
    "update" => Update(Update),
    /// Write an example of a configuration, config.json
    "spec" => Spec(Spec),
    /// Show what this runtime can do, as JSON
    "features" => Features(Nothing),
    /// Save a running container by CRIU, and end it
    "checkpoint" => Checkpoint(Checkpoint),
    /// Create and start a container from what was saved by CRIU
    "restore" => Restore(Restore),
}

#[derive(Args)]
pub(super) struct Nothing {}

// What is said to a verb that needs no more than a container. No documentation, which clap would take for the verb's.
#[derive(Args)]
pub(super) struct Named {
    /// The container
    pub(super) id: String,
}

#[derive(Args)]
pub(super) struct Kill {
    /// Send it to all processes of the container
    #[arg(long, short)]
    pub(super) all: bool,
    /// The container
    pub(super) id: String,
    /// Name or number
    #[arg(default_value = "SIGTERM")]
    pub(super) signal: String,
}

#[derive(Args)]
pub(super) struct Delete {
    /// Kill it first if it runs
    #[arg(long, short)]
    pub(super) force: bool,
    /// The container
    pub(super) id: String,
}

#[derive(Args)]
pub(super) struct List {
    /// table or json
    #[arg(long, short, default_value = "table")]
    pub(super) format: String,
    /// Ids only
    #[arg(long, short)]
    pub(super) quiet: bool,
}

#[derive(Args)]
pub(super) struct Ps {
    /// table or json
    #[arg(long, short, default_value = "table")]
    pub(super) format: String,
    /// The container
    pub(super) id: String,
    /// Options of ps(1), by default -ef
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) options: Vec<String>,
}

#[derive(Args)]
pub(super) struct Events {
    /// Time between two reports, such as 500ms or 1m
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub(super) interval: String,
    /// Show the statistics once
    #[arg(long)]
    pub(super) stats: bool,
    /// The container
    pub(super) id: String,
}

#[derive(Args)]
pub(super) struct Spec {
    /// Directory that it is written to
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(super) bundle: PathBuf,
    /// Write one that the present user may run
    #[arg(long)]
    pub(super) rootless: bool,
}

/// What a checkpoint and a restore have in common.
#[derive(Args)]
pub(super) struct Images {
    /// Directory of the saved processes
    #[arg(long, value_name = "DIR", default_value = "checkpoint")]
    pub(super) image_path: PathBuf,
    /// Directory of CRIU's log and of what it needs in between
    #[arg(long, value_name = "DIR")]
    pub(super) work_path: Option<PathBuf>,
    /// Keep established TCP connections
    #[arg(long)]
    pub(super) tcp_established: bool,
    /// Let unix sockets be connected to others outside
    #[arg(long)]
    pub(super) ext_unix_sk: bool,
    /// Let the session be led by a process outside
    #[arg(long)]
    pub(super) shell_job: bool,
    /// Keep locks on files
    #[arg(long)]
    pub(super) file_locks: bool,
    /// What CRIU does with cgroups: soft, full, strict, or ignore; by default soft
    #[arg(
        long,
        value_name = "MODE",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) manage_cgroups_mode: String,
    /// Namespace that is restored without its content; network always is
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) empty_ns: Vec<String>,
    /// Drop pages of memory from earlier images that later ones have
    #[arg(long)]
    pub(super) auto_dedup: bool,
    /// Send memory as it is needed; not supported
    #[arg(long, hide = true)]
    pub(super) lazy_pages: bool,
    /// The container
    pub(super) id: String,
}

#[derive(Args)]
pub(super) struct Checkpoint {
    #[command(flatten)]
    pub(super) images: Images,
    /// Directory of an earlier --pre-dump, relative to that of the images
    #[arg(long, value_name = "DIR")]
    pub(super) parent_path: Option<PathBuf>,
    /// Save the memory only, and let the container run on
    #[arg(long)]
    pub(super) pre_dump: bool,
    /// Let the container run on
    #[arg(long)]
    pub(super) leave_running: bool,
    /// Leave out TCP connections that are being made
    #[arg(long)]
    pub(super) tcp_skip_in_flight: bool,
    /// Let files that have lost their names get one for as long as they are saved
    #[arg(long)]
    pub(super) link_remap: bool,
    /// Page server that memory is sent to
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) page_server: Option<String>,
    /// Descriptor that is told when pages can be fetched, which are never lazy here
    #[arg(long, value_name = "N", hide = true, allow_hyphen_values = true)]
    pub(super) status_fd: Option<i32>,
}

#[derive(Args)]
pub(super) struct Restore {
    #[command(flatten)]
    pub(super) images: Images,
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(super) bundle: PathBuf,
    /// Do not wait for it
    #[arg(long, short)]
    pub(super) detach: bool,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Of no effect: CRIU changes the root in its own way
    #[arg(long, hide = true)]
    pub(super) no_pivot: bool,
    /// Of no effect: nobody reaps for others here
    #[arg(long, hide = true)]
    pub(super) no_subreaper: bool,
    /// Security profile instead of the saved one
    #[arg(long, value_name = "TYPE:NAME")]
    pub(super) lsm_profile: Option<String>,
    /// SELinux context of mounts instead of the saved one
    #[arg(long, value_name = "CONTEXT")]
    pub(super) lsm_mount_context: Option<String>,
}

// Limits; those that are not given stay.
#[derive(Args)]
pub(super) struct Update {
    /// Read the limits from a file, or with - from the standard input
    #[arg(long, short, value_name = "FILE")]
    pub(super) resources: Option<PathBuf>,
    /// Weight for block devices, 10 to 1000
    #[arg(long, value_name = "N")]
    pub(super) blkio_weight: Option<u16>,
    /// Length of a CPU period in microseconds
    #[arg(long, value_name = "N")]
    pub(super) cpu_period: Option<u64>,
    /// CPU time per period in microseconds; -1 is unlimited
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) cpu_quota: Option<i64>,
    /// CPU time that may be saved up in microseconds
    #[arg(long, value_name = "N")]
    pub(super) cpu_burst: Option<u64>,
    /// CPU weight
    #[arg(long, value_name = "N")]
    pub(super) cpu_share: Option<u64>,
    /// Real-time period in microseconds
    #[arg(long, value_name = "N")]
    pub(super) cpu_rt_period: Option<u64>,
    /// Real-time share of a period in microseconds
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// CPUs, such as 0-2,7
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_mems: Option<String>,
    /// 1 lets it run only when nothing else does
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) cpu_idle: Option<i64>,
    /// Memory, in bytes or such as 64M; -1 is unlimited
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) memory: Option<String>,
    /// Memory that it keeps when there is little
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) memory_reservation: Option<String>,
    /// Memory and swap together; -1 is unlimited
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) memory_swap: Option<String>,
    /// Kernel memory; of no effect any more
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, hide = true)]
    pub(super) kernel_memory: Option<String>,
    /// Memory of TCP buffers (cgroup v1)
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(super) kernel_memory_tcp: Option<String>,
    /// Number of processes; -1 is unlimited
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
    /// The container
    pub(super) id: String,
}

#[derive(Args)]
pub(super) struct Create {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(super) bundle: PathBuf,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Give the container an init that reaps for its program
    #[arg(long)]
    pub(super) init: bool,
    /// Cover the old root instead of taking it away
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// Pass on so many descriptors from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) preserve_fds: u32,
    /// Name of the new container
    pub(super) id: String,
}

#[derive(Args)]
pub(super) struct Run {
    /// Do not wait for it
    #[arg(long, short)]
    pub(super) detach: bool,
    /// Do not delete it when it has ended
    #[arg(long)]
    pub(super) keep: bool,
    #[command(flatten)]
    pub(super) create: Create,
}

#[derive(Args)]
pub(super) struct Exec {
    /// File with the process, in the form of `process` in a configuration
    #[arg(long, short, value_name = "FILE")]
    pub(super) process: Option<PathBuf>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<PathBuf>,
    /// Add an environment variable, NAME=VALUE
    #[arg(long, short, value_name = "ENV")]
    pub(super) env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    pub(super) tty: bool,
    /// User and group, UID[:GID]
    #[arg(long, short, value_name = "USER")]
    pub(super) user: Option<String>,
    /// Add a supplementary group
    #[arg(long, short = 'g', value_name = "GID")]
    pub(super) additional_gids: Vec<u32>,
    /// Add a capability
    #[arg(long, short, value_name = "CAP")]
    pub(super) cap: Vec<String>,
    /// Keep it from gaining privileges
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// Let it live in a cgroup below the container's: PATH, or CONTROLLERS:PATH several times
    #[arg(long, value_name = "CGROUP")]
    pub(super) cgroup: Vec<String>,
    /// Let it wait if the container is paused
    #[arg(long)]
    pub(super) ignore_paused: bool,
    /// Do not wait for it
    #[arg(long, short)]
    pub(super) detach: bool,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// Pass on so many descriptors from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) preserve_fds: u32,
    /// The container
    pub(super) id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) args: Vec<String>,
}

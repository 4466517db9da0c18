//! Cgroups by systemd. Its part is played by a thread that speaks D-Bus: it makes the scope's cgroup, moves the process that
//! it is given, and writes down what it was asked for.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::json;
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{LE, to_bytes};
use zbus::{DynamicType, ObjectPath, OwnedVariant, Signature, Variant};

use super::Sandbox;

const SLICE: &str = "ariltest.slice";

/// What it was asked for: the call, and its arguments as text.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A systemd that knows one slice.
struct Systemd {
    asked: Asked,
    address: String,
    _thread: std::thread::JoinHandle<()>,
}

impl Systemd {
    /// With `taken`, the first unit that is started exists already.
    fn start(dir: &Path, taken: bool) -> Systemd {
        let socket = dir.join("bus");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Asked::default();
        let writes = asked.clone();
        let thread = std::thread::spawn(move || {
            let mut taken = taken;
            // The listener goes with the test's process.
            while let Ok((stream, _)) = listener.accept() {
                serve(stream, &writes, &mut taken);
            }
        });
        Systemd {
            asked,
            address: format!("unix:path={}", socket.display()),
            _thread: thread,
        }
    }

    /// What a call was given, the last time.
    fn asked(&self, call: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        let found = asked.iter().rev().find(|(name, _)| name == call);
        found.map(|(_, arguments)| arguments.clone())
    }
}

/// The hierarchy that systemd manages.
fn hierarchy() -> PathBuf {
    let own = Path::new("/sys/fs/cgroup/systemd");
    let is_own = own.join("cgroup.procs").exists();
    if is_own {
        own.into()
    } else {
        "/sys/fs/cgroup".into()
    }
}

struct Call {
    serial: u32,
    member: String,
    body: Data<'static, 'static>,
}

fn read_call(stream: &mut BufReader<UnixStream>) -> Option<Call> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    let fields = number(12) as usize;
    let mut rest = vec![0; fields.next_multiple_of(8) + number(4) as usize];
    stream.read_exact(&mut rest).unwrap();
    let mut array = head[12..].to_vec();
    array.extend(&rest[..fields]);
    let array = Data::new(array, Context::new(LE, 12));
    let (fields, size): (HashMap<u8, OwnedVariant>, _) = {
        let (list, size): (Vec<(u8, OwnedVariant)>, _) = array.deserialize().unwrap();
        (list.into_iter().collect(), size)
    };
    let Variant::Str(member) = &*fields[&3] else {
        panic!("a member is text");
    };
    let body = rest[(size - 4).next_multiple_of(8)..].to_vec();
    Some(Call {
        serial: number(8),
        member: member.to_string(),
        body: Data::new(body, Context::new(LE, 0)),
    })
}

/// Sends a message of `kind` with `fields`, and values of which `signature` is the one type.
fn send<T: Serialize + DynamicType>(
    stream: &mut BufReader<UnixStream>,
    kind: u8,
    mut fields: Vec<(u8, Variant<'_>)>,
    signature: &str,
    values: &T,
) {
    let body = to_bytes(Context::new(LE, 0), values)
        .unwrap()
        .bytes()
        .to_vec();
    // Of one complete type there are no parentheses to leave out.
    let signature = Signature::try_from(signature).unwrap();
    fields.push((8, Variant::Signature(signature)));
    let length = u32::try_from(body.len()).unwrap();
    let head = (b'l', kind, 1_u8, 1_u8, length, 99_u32, fields);
    let mut message = to_bytes(Context::new(LE, 0), &head)
        .unwrap()
        .bytes()
        .to_vec();
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    // A client that has what it wants does not wait for the rest.
    drop(stream.get_mut().write_all(&message));
}

fn serve(stream: UnixStream, asked: &Asked, taken: &mut bool) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("\0AUTH EXTERNAL 30"), "{line:?}");
    stream.get_mut().write_all(b"OK 1234\r\n").unwrap();
    line.clear();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "BEGIN\r\n");
    while let Some(call) = read_call(&mut stream) {
        let reply = vec![(5, Variant::from(call.serial))];
        let error = |name: &str| {
            vec![
                (4, Variant::from(name.to_owned())),
                (5, Variant::from(call.serial)),
            ]
        };
        let (text, job) = match call.member.as_str() {
            "StartTransientUnit" if std::mem::take(taken) => {
                let name = error("org.freedesktop.systemd1.UnitExists");
                send(&mut stream, 3, name, "s", &("Unit exists",));
                continue;
            }
            "StartTransientUnit" => (start_unit(&call), true),
            "StopUnit" => {
                let (name, mode): (String, String) = call.body.deserialize().unwrap().0;
                remove(&hierarchy().join(SLICE).join(&name));
                (format!("{name} {mode}"), true)
            }
            "ResetFailedUnit" => {
                let name = error("org.freedesktop.systemd1.NoSuchUnit");
                send(&mut stream, 3, name, "s", &("Unit not loaded",));
                continue;
            }
            "SetUnitProperties" => {
                type Arguments = (String, bool, Vec<(String, OwnedVariant)>);
                let (name, at_runtime, properties): Arguments = call.body.deserialize().unwrap().0;
                (format!("{name} {at_runtime} {}", shown(&properties)), false)
            }
            _ => (String::new(), false),
        };
        asked.lock().unwrap().push((call.member.clone(), text));
        let path = ObjectPath::try_from("/org/freedesktop/systemd1/job/7").unwrap();
        if job {
            send(&mut stream, 2, reply, "o", &(&path,));
            let fields = vec![
                (
                    1,
                    Variant::from(ObjectPath::try_from("/org/freedesktop/systemd1").unwrap()),
                ),
                (2, Variant::from("org.freedesktop.systemd1.Manager")),
                (3, Variant::from("JobRemoved")),
            ];
            send_removed(&mut stream, fields, &path);
        } else {
            send(&mut stream, 2, reply, "s", &(":1.7",));
        }
    }
}

/// The signal of a job's end: the signature of several values has no parentheses, so its text is put together here.
fn send_removed(
    stream: &mut BufReader<UnixStream>,
    fields: Vec<(u8, Variant<'_>)>,
    job: &ObjectPath<'_>,
) {
    let body = to_bytes(Context::new(LE, 0), &(7_u32, job, "x.scope", "done")).unwrap();
    let length = u32::try_from(body.bytes().len()).unwrap();
    let head = (b'l', 4_u8, 1_u8, 1_u8, length, 98_u32, fields);
    let mut message = to_bytes(Context::new(LE, 0), &head)
        .unwrap()
        .bytes()
        .to_vec();
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body.bytes());
    drop(stream.get_mut().write_all(&message));
}

/// `NAME=VALUE` of each property; numbers and texts only.
fn shown(properties: &[(String, OwnedVariant)]) -> String {
    let value = |value: &Variant<'_>| match value {
        Variant::Str(text) => text.to_string(),
        Variant::U64(number) => number.to_string(),
        Variant::Bool(value) => value.to_string(),
        other => format!("{}", other.value_signature()),
    };
    let mut all: Vec<String> = properties
        .iter()
        .map(|(name, of)| format!("{name}={}", value(of)))
        .collect();
    all.sort();
    all.join(" ")
}

fn start_unit(call: &Call) -> String {
    type Auxiliary = Vec<(String, Vec<(String, OwnedVariant)>)>;
    type Arguments = (String, String, Vec<(String, OwnedVariant)>, Auxiliary);
    let (name, mode, properties, _): Arguments = call.body.deserialize().unwrap().0;
    let pids = properties.iter().find(|(name, _)| name == "PIDs").unwrap();
    let pids = Vec::<u32>::try_from(pids.1.try_clone().unwrap()).unwrap();
    let cgroup = hierarchy().join(SLICE).join(&name);
    std::fs::create_dir_all(&cgroup).unwrap();
    for pid in pids {
        std::fs::write(cgroup.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    format!("{name} {mode} {}", shown(&properties))
}

/// Removes a cgroup whose processes are ending.
fn remove(cgroup: &Path) {
    super::until("the cgroup is empty", || {
        !cgroup.exists() || std::fs::remove_dir(cgroup).is_ok()
    });
}

/// Removes the slice from all hierarchies, which real ones outlive their containers in.
fn remove_slice() {
    let top = Path::new("/sys/fs/cgroup");
    let below = std::fs::read_dir(top)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for hierarchy in below.chain([top.to_owned()]) {
        let slice = hierarchy.join(SLICE);
        if slice.exists() {
            std::fs::remove_dir(slice).unwrap();
        }
    }
}

fn call(sandbox: &Sandbox, systemd: &Systemd, args: &[&str]) {
    let mut all = vec!["--systemd-cgroup"];
    all.extend(args);
    let log = std::fs::File::create(sandbox.dir.join("log")).unwrap();
    let mut command = sandbox.command(&all);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", &systemd.address);
    let status = command
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
    let log = std::fs::read_to_string(sandbox.dir.join("log")).unwrap();
    assert!(status.success(), "{args:?}: {log}");
}

/// One after the other: they share the slice.
#[test]
fn systemd_makes_the_scope_of_a_container() {
    for taken in [false, true] {
        let mut sandbox = Sandbox::new("exec sleep 1000");
        let id = sandbox.id("c");
        let scope = format!("test-{id}.scope");
        sandbox
            .set("/linux/cgroupsPath", json!(format!("{SLICE}:test:{id}")))
            .set("/linux/resources/memory", json!({"limit": 33_554_432}))
            .set("/linux/resources/pids", json!({"limit": 30}));
        let systemd = Systemd::start(&sandbox.dir, taken);
        call(&sandbox, &systemd, &["create", &id]);
        let started = systemd.asked("StartTransientUnit").unwrap();
        assert!(
            started.starts_with(&format!("{scope} replace ")),
            "{started}"
        );
        let memory = if hierarchy().ends_with("systemd") {
            "MemoryLimit"
        } else {
            "MemoryMax"
        };
        for property in [
            "Delegate=true",
            "DevicePolicy=strict",
            "DeviceAllow=a(ss)",
            "PIDs=au",
            &format!("Slice={SLICE}"),
            "TasksMax=30",
            &format!("{memory}=33554432"),
        ] {
            assert!(
                started.contains(&format!(" {property}")),
                "{property}: {started}"
            );
        }
        call(&sandbox, &systemd, &["start", &id]);
        // The process that the scope was born with is gone, the container's is in it.
        let pid = sandbox.state(&id)["pid"].to_string();
        let procs = hierarchy().join(SLICE).join(&scope).join("cgroup.procs");
        assert_eq!(std::fs::read_to_string(procs).unwrap().trim(), pid);
        let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let place = format!("/{SLICE}/{scope}");
        assert!(
            own.lines().filter(|line| line.ends_with(&place)).count() > 0,
            "{own}"
        );
        sandbox
            .exec(&id, &["sh", "-c", "grep -c / /proc/self/cgroup"])
            .ok();
        call(&sandbox, &systemd, &["update", "--pids-limit", "20", &id]);
        let set = systemd.asked("SetUnitProperties").unwrap();
        assert_eq!(set, format!("{scope} true TasksMax=20"));
        call(&sandbox, &systemd, &["delete", "--force", &id]);
        assert_eq!(
            systemd.asked("StopUnit").unwrap(),
            format!("{scope} replace")
        );
        remove_slice();
    }
}

#[test]
fn without_systemd_that_is_said() {
    let mut sandbox = Sandbox::new("true");
    let id = sandbox.id("run");
    let run = |sandbox: &Sandbox, address: &str| {
        let mut command = sandbox.command(&["--systemd-cgroup", "run", &id]);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", address);
        super::Ran::from(command.output().unwrap())
    };
    if !Path::new("/run/systemd/system").exists() {
        run(&sandbox, "").fails(
            1,
            "systemd not running on this host, cannot use systemd cgroups manager",
        );
    }
    run(&sandbox, "unix:path=/no/such/bus").fails(1, "connect to the message bus at /no/such/bus");
    sandbox.set("/linux/cgroupsPath", json!("/not/for/systemd"));
    run(&sandbox, "unix:path=/no/such/bus").fails(
        1,
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups",
    );
}

//! A client of D-Bus that blocks: one connection, one call at a time, and a deadline for each answer.
//!
//! Values travel in the encoding of the `zbus` crate, of which only that is linked; its connections need an executor and
//! threads, and a process that clones has one thread. (D-Bus Specification: Authentication Protocol, Message Protocol.)

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use zbus::wire::serialized::{Context as Encoding, Data};
use zbus::wire::{LE, to_bytes};
use zbus::{DynamicType, Signature, Type, Variant};

use crate::error;

/// How long the bus or the service may take for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const MESSAGE_MAX: usize = 1 << 20;
/// The longest line of the authentication that is read.
const LINE_MAX: u64 = 1024;

/// Kinds of messages.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// An error that a service answered with.
#[derive(Debug)]
pub(super) struct Refused {
    /// `org.freedesktop.systemd1.NoSuchUnit`
    pub(super) name: String,
    text: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

impl std::error::Error for Refused {}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub(super) service: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
}

const BUS: Object = Object {
    service: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// A connection to a message bus.
#[derive(Debug)]
pub(super) struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
    /// Signals that came while something else was waited for.
    signals: Vec<Message>,
}

/// A message that was received.
#[derive(Debug)]
pub(super) struct Message {
    kind: u8,
    reply_to: u32,
    pub(super) member: String,
    error: String,
    body: Data<'static, 'static>,
}

impl Message {
    /// Reads the values of the message.
    pub(super) fn values<T: serde::de::DeserializeOwned + Type>(&self) -> Result<T> {
        let values = self.body.deserialize::<T>();
        Ok(values.context("read a message of the bus")?.0)
    }
}

/// A value of a header field. A signature is written as its text, without the parentheses of a structure.
#[derive(Type)]
#[zbus(signature = "v")]
enum Field<'a> {
    Value(Variant<'a>),
    Signature(&'a str),
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Field::Value(value) => value.serialize(serializer),
            Field::Signature(text) => {
                let mut fields = serializer.serialize_struct("Variant", 2)?;
                fields.serialize_field("signature", &Signature::Signature)?;
                fields.serialize_field("value", text)?;
                fields.end()
            }
        }
    }
}

impl Bus {
    /// Connects to the bus at one of `addresses` (`unix:path=/run/dbus/system_bus_socket;…`).
    pub(super) fn connect(addresses: &str) -> Result<Bus> {
        let mut last = None;
        for path in paths(addresses) {
            let tried = UnixStream::connect(&path)
                .with_context(|| format!("connect to the message bus at {}", path.display()))
                .and_then(Bus::greet);
            match tried {
                Ok(bus) => return Ok(bus),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            error::unavailable(format!(
                "the address {addresses:?} of the message bus has no path of a socket"
            ))
        }))
    }

    fn greet(stream: UnixStream) -> Result<Bus> {
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let uid = rustix::process::geteuid().as_raw().to_string();
        let digits = uid.bytes().map(|byte| format!("{byte:02x}"));
        let hello = format!("\0AUTH EXTERNAL {}\r\n", digits.collect::<String>());
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(hello.as_bytes())?;
        let mut line = String::new();
        stream.by_ref().take(LINE_MAX).read_line(&mut line)?;
        if !line.starts_with("OK ") {
            bail!(error::unavailable(format!(
                "the message bus does not take us: {}",
                line.trim()
            )));
        }
        stream.get_mut().write_all(b"BEGIN\r\n")?;
        let mut bus = Bus {
            stream,
            serial: 0,
            signals: Vec::new(),
        };
        bus.call(BUS, "Hello", "", &())?;
        Ok(bus)
    }

    /// Asks for the signals of `object`.
    pub(super) fn listen(&mut self, object: Object) -> Result<()> {
        let rule = format!(
            "type='signal',path='{}',interface='{}'",
            object.path, object.interface
        );
        self.call(BUS, "AddMatch", "s", &(rule,)).map(drop)
    }

    /// Calls `member` of `object` with `values`, whose types are `signature`. An error of the service is [`Refused`].
    pub(super) fn call<T: Serialize + DynamicType>(
        &mut self,
        object: Object,
        member: &str,
        signature: &str,
        values: &T,
    ) -> Result<Message> {
        self.serial += 1;
        let message = encode(self.serial, object, member, signature, values)
            .with_context(|| format!("encode a call of {member}"))?;
        self.stream
            .get_mut()
            .write_all(&message)
            .with_context(|| format!("call {member} of {}", object.service))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self
                .receive(deadline)
                .with_context(|| format!("wait for {member} of {}", object.service))?;
            match answer.kind {
                SIGNAL => self.signals.push(answer),
                RETURN if answer.reply_to == self.serial => return Ok(answer),
                ERROR if answer.reply_to == self.serial => {
                    let text = answer.values::<(String,)>().unwrap_or_default().0;
                    bail!(Refused {
                        name: answer.error,
                        text
                    });
                }
                _ => {}
            }
        }
    }

    /// Waits for a signal that `wanted` takes.
    pub(super) fn signal<T>(
        &mut self,
        mut wanted: impl FnMut(&Message) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        for signal in std::mem::take(&mut self.signals) {
            if let Some(found) = wanted(&signal)? {
                return Ok(found);
            }
        }
        loop {
            let message = self.receive(deadline).context("wait for a signal")?;
            if message.kind == SIGNAL
                && let Some(found) = wanted(&message)?
            {
                return Ok(found);
            }
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!(error::unavailable(format!(
                "no answer within {} s",
                PATIENCE.as_secs()
            )));
        }
        self.stream.get_ref().set_read_timeout(Some(left))?;
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let (fields, body) = lengths(&head)?;
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest)?;
        decode(&head, &rest, fields)
    }
}

/// Returns the paths of the sockets in a list of addresses.
fn paths(addresses: &str) -> Vec<PathBuf> {
    addresses
        .split(';')
        .filter_map(|address| address.trim().strip_prefix("unix:"))
        .flat_map(|keys| keys.split(','))
        .filter_map(|key| key.strip_prefix("path="))
        .map(PathBuf::from)
        .collect()
}

fn encode<T: Serialize + DynamicType>(
    serial: u32,
    object: Object,
    member: &str,
    signature: &str,
    values: &T,
) -> Result<Vec<u8>> {
    let encoding = Encoding::new(LE, 0);
    let body = if signature.is_empty() {
        Vec::new()
    } else {
        to_bytes(encoding, values)?.bytes().to_vec()
    };
    let path = zbus::ObjectPath::try_from(object.path)?;
    let text = |text| Field::Value(Variant::from(text));
    let mut fields = vec![
        (PATH, Field::Value(Variant::from(path))),
        (INTERFACE, text(object.interface)),
        (MEMBER, text(member)),
        (DESTINATION, text(object.service)),
    ];
    if !signature.is_empty() {
        fields.push((SIGNATURE, Field::Signature(signature)));
    }
    let length = u32::try_from(body.len())?;
    let head = (b'l', CALL, 0_u8, 1_u8, length, serial, fields);
    let mut message = to_bytes(encoding, &head)?.bytes().to_vec();
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    Ok(message)
}

/// Returns the lengths of the header fields and of the body, from the first 16 bytes of a message.
fn lengths(head: &[u8; 16]) -> Result<(usize, usize)> {
    if head[0] != b'l' || head[3] != 1 {
        bail!("a message of the bus is in an unknown form");
    }
    let number = |at: usize| {
        let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        usize::try_from(u32::from_le_bytes(bytes))
    };
    let (body, fields) = (number(4)?, number(12)?);
    if body > MESSAGE_MAX || fields > MESSAGE_MAX {
        bail!("a message of the bus is longer than {MESSAGE_MAX} bytes");
    }
    Ok((fields, body))
}

/// Reads a message: its first 16 bytes, and the `rest`, which begins with `fields` bytes of header fields.
fn decode(head: &[u8; 16], rest: &[u8], fields: usize) -> Result<Message> {
    // The array of fields begins with its length, the last four bytes of the head.
    let mut array = head[12..].to_vec();
    array.extend(&rest[..fields]);
    let array = Data::new(array, Encoding::new(LE, 12));
    let (fields_read, _): (Vec<(u8, zbus::OwnedVariant)>, usize) =
        array.deserialize().context("read a message of the bus")?;
    let mut message = Message {
        kind: head[1],
        reply_to: 0,
        member: String::new(),
        error: String::new(),
        body: Data::new(
            rest[fields.next_multiple_of(8)..].to_vec(),
            Encoding::new(LE, 0),
        ),
    };
    for (code, value) in &fields_read {
        match (*code, &**value) {
            (MEMBER, Variant::Str(text)) => message.member = text.to_string(),
            (ERROR_NAME, Variant::Str(text)) => message.error = text.to_string(),
            (REPLY_SERIAL, Variant::U32(serial)) => message.reply_to = *serial,
            _ => {}
        }
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_paths() {
        let found = paths("tcp:host=x;unix:abstract=/a;unix:guid=1,path=/run/bus; unix:path=/b");
        assert_eq!(found, [PathBuf::from("/run/bus"), PathBuf::from("/b")]);
    }

    #[test]
    fn a_call_has_the_form_of_the_specification() {
        let message = encode(7, BUS, "AddMatch", "s", &("x",)).unwrap();
        // Endianness, kind, flags, version, length of the body, serial.
        assert_eq!(&message[..12], &[b'l', CALL, 0, 1, 6, 0, 0, 0, 7, 0, 0, 0]);
        // The first field: its code, the signature of a path, and the path.
        assert_eq!(&message[16..24], &[1, 1, b'o', 0, 21, 0, 0, 0]);
        assert_eq!(&message[24..45], b"/org/freedesktop/DBus");
        // The last field is the signature of the body.
        let at = message.len() - 6 - 8;
        assert_eq!(&message[at..at + 7], &[8, 1, b'g', 0, 1, b's', 0]);
        assert_eq!(&message[message.len() - 6..], &[1, 0, 0, 0, b'x', 0]);
    }

    #[test]
    fn messages_are_read() {
        let message = encode(
            1,
            BUS,
            "JobRemoved",
            "uoss",
            &(3_u32, "/job", "a.scope", "done"),
        );
        let message = message.unwrap();
        let (head, rest) = message.split_first_chunk().unwrap();
        let (fields, body) = lengths(head).unwrap();
        assert_eq!(fields.next_multiple_of(8) + body, rest.len());
        let read = decode(head, rest, fields).unwrap();
        assert_eq!(read.member, "JobRemoved");
        let values: (u32, String, String, String) = read.values().unwrap();
        assert_eq!(values, (3, "/job".into(), "a.scope".into(), "done".into()));
        assert!(lengths(b"B\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0\0").is_err());
        assert!(lengths(b"l\x01\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0").is_err());
    }
}

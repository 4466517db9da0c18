//! Entries for systemd's journal, in its native protocol (systemd.journal-fields(7)): a datagram of fields per entry.
//!
//! ```text
//! NAME=value\n            a value of one line
//! NAME\n<8 bytes, little endian: length>value\n
//! ```

use super::identity::Identity;
use super::{Attributes, Piece, Stream};

/// Where the journal takes entries.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// What does not change between entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// Prepares the fields of a container whose tag is `tag`.
    pub fn new(identity: &Identity, tag: &str, attributes: &Attributes) -> Fields {
        let mut out = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", crate::container::short(&identity.id)),
            ("CONTAINER_ID_FULL", &identity.id),
            ("CONTAINER_NAME", &identity.name),
            ("CONTAINER_TAG", tag),
            ("IMAGE_NAME", &identity.image_name),
            ("SYSLOG_IDENTIFIER", tag),
        ] {
            field(&mut out, name, value.as_bytes());
        }
        for (name, value) in attributes {
            let name = field_name(name);
            // The tag has fields of its own.
            if !name.is_empty() && name != "TAG" {
                field(&mut out, &name, value.as_bytes());
            }
        }
        Fields(out)
    }

    /// Returns the datagram of one entry.
    pub fn datagram(&self, piece: &Piece<'_>) -> Vec<u8> {
        let mut out = self.0.clone();
        let priority = match piece.stream {
            Stream::Stdout => "6",
            Stream::Stderr => "3",
        };
        field(&mut out, "PRIORITY", priority.as_bytes());
        if piece.is_partial() {
            field(&mut out, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(
            &mut out,
            "SYSLOG_TIMESTAMP",
            piece.time.to_string().as_bytes(),
        );
        field(&mut out, "MESSAGE", piece.content());
        out
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Names of fields are upper-case letters, digits and underscores, and begin with a letter.
fn field_name(name: &str) -> String {
    let plain = |c: char| match c.to_ascii_uppercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '_',
    };
    let name: String = name.chars().map(plain).collect();
    name.trim_start_matches(|c: char| !c.is_ascii_uppercase())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_fields() {
        let identity = Identity {
            id: "ab".repeat(32),
            name: "web".to_owned(),
            image_name: "nginx".to_owned(),
            ..Identity::default()
        };
        let attributes = [
            ("com.x/y".to_owned(), "1\n2".to_owned()),
            ("9".to_owned(), "x".to_owned()),
        ]
        .into();
        let fields = Fields::new(&identity, "t", &attributes);
        let piece = |stream, bytes| Piece {
            stream,
            bytes,
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        let text = String::from_utf8(fields.datagram(&piece(Stream::Stderr, b"oh\n"))).unwrap();
        assert_eq!(
            text,
            format!(
                "CONTAINER_ID=abababababab\nCONTAINER_ID_FULL={}\nCONTAINER_NAME=web\nCONTAINER_TAG=t\nIMAGE_NAME=nginx\n\
                 SYSLOG_IDENTIFIER=t\nCOM_X_Y\n\u{3}\0\0\0\0\0\0\x001\n2\nPRIORITY=3\nSYSLOG_TIMESTAMP=1970-01-01T00:00:00Z\nMESSAGE=oh\n",
                identity.id
            )
        );
        let part = fields.datagram(&piece(Stream::Stdout, b"begin"));
        let text = String::from_utf8_lossy(&part).into_owned();
        assert!(
            text.contains("PRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\n"),
            "{text}"
        );
    }
}

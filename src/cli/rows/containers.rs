//! Rows of `ps`.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use super::{Options, column, joined, local_time, text};
use crate::cli::format::{self, List};
use crate::cli::human;
use crate::cli::template::value::{Column, Value};
use crate::error;
use crate::oci::reference::Reference;

/// The columns and templates of `ps`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "{{.ID}}",
    raw: Some([RAW, "container_id: {{.ID}}"]),
    quiet_wins: true,
};

/// As [`LIST`], with `--size`.
pub const LIST_WITH_SIZE: List = List {
    table: r"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    raw: Some([RAW_WITH_SIZE, "container_id: {{.ID}}"]),
    ..LIST
};

const COLUMNS: &[Column] = &[
    column("ID", "CONTAINER ID"),
    column("Image", "IMAGE"),
    column("Command", "COMMAND"),
    column("CreatedAt", "CREATED AT"),
    column("RunningFor", "CREATED"),
    column("Ports", "PORTS"),
    column("State", "STATE"),
    column("Status", "STATUS"),
    column("Size", "SIZE"),
    column("Names", "NAMES"),
    column("Labels", "LABELS"),
    column("Mounts", "MOUNTS"),
    column("LocalVolumes", "LOCAL VOLUMES"),
    column("Networks", "NETWORKS"),
    column("Platform", "PLATFORM"),
];

const RAW: &str = "container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
";

const RAW_WITH_SIZE: &str = "container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
size: {{.Size}}
";

/// What is said when `--format` and `--quiet` are both given.
pub const QUIET_WARNING: &str =
    "WARNING: Ignoring custom format, because both --format and --quiet are set.";

/// The columns of a name of a mount.
const MOUNT_WIDTH: usize = 15;

/// What a row is made from.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the leading `/`; the container's own name, then those that links gave it (`other/alias`).
    pub names: Vec<String>,
    /// The image as the user wrote it, or its id once the name belongs to another image.
    pub image: String,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// Program and arguments with blanks between them.
    pub command: String,
    /// When it was made.
    pub created: Timestamp,
    /// `running`.
    pub state: String,
    /// `Up 5 minutes`, see [`human::time::status`].
    pub status: String,
    /// Exposed and published ports.
    pub ports: Vec<human::ports::Port>,
    /// Metadata.
    pub labels: BTreeMap<String, String>,
    /// Volumes and binds.
    pub mounts: Vec<Mount>,
    /// Names of its networks.
    pub networks: Vec<String>,
    /// Bytes of the writable layer, if they were counted.
    pub size_rw: i64,
    /// Bytes of all layers, if they were counted.
    pub size_root_fs: i64,
}

/// A volume or bind of a container.
#[derive(Clone, Debug, Default)]
pub struct Mount {
    /// Of a volume; empty for a bind.
    pub name: String,
    /// On the host.
    pub source: String,
    /// Of a volume: `local`.
    pub driver: String,
}

/// Returns the row of a container.
pub fn row(container: &Container, options: Options) -> Value {
    let (c, whole) = (container, options.whole);
    let id = if whole {
        &c.id
    } else {
        human::text::short_id(&c.id)
    };
    let mounts: Vec<String> = c.mounts.iter().map(|mount| shown(mount, whole)).collect();
    let local = c.mounts.iter().filter(|mount| mount.driver == "local");
    let values = vec![
        text(id),
        text(image(c, whole)),
        text(human::text::command_column(&c.command, whole)),
        local_time(c.created, options.created_at),
        text(human::time::ago(c.created, options.now)),
        text(human::ports::ports(&c.ports)),
        text(&c.state),
        text(&c.status),
        text(size(c.size_rw, c.size_root_fs)),
        text(names(&c.names, whole)),
        text(joined(&c.labels)),
        text(mounts.join(",")),
        text(local.count().to_string()),
        text(c.networks.join(",")),
        Value::NilPointer("*formatter.Platform"),
    ];
    let labels = Some(c.labels.clone());
    format::row(&LIST, "*formatter.ContainerContext", labels, values)
}

/// What an error says that no container would make right.
const NEVER_RIGHT: [&str; 3] = [
    ": can't evaluate field ",
    ": range can't iterate over ",
    ": wrong number of args for ",
];

/// Checks a `--format` of `ps` before anything is looked up, with docker's words for that.
pub fn check_format(asked: &str) -> Result<()> {
    let template = crate::cli::template::Template::parse(asked)
        .map_err(|error| error::invalid(format!("failed to parse template: {error}")))?;
    let options = Options {
        now: Timestamp::UNIX_EPOCH,
        whole: false,
        created_at: false,
    };
    let empty = row(&Container::default(), options);
    match template.execute(&empty) {
        // An empty row has no first letter and no second name: only what no row has is wrong.
        Err(error)
            if NEVER_RIGHT
                .iter()
                .any(|what| error.to_string().contains(what)) =>
        {
            Err(error::invalid(format!(
                "failed to execute template: {error}"
            )))
        }
        _ => Ok(()),
    }
}

/// `2B (virtual 72.8MB)`
fn size(rw: i64, root_fs: i64) -> String {
    let own = human::size::bytes_short(rw);
    match root_fs {
        1.. => format!("{own} (virtual {})", human::size::bytes_short(root_fs)),
        _ => own,
    }
}

/// Names that links gave it have a `/`; they show only if all of it is wanted.
fn names(names: &[String], whole: bool) -> String {
    match names.iter().find(|name| !name.contains('/')) {
        Some(own) if !whole => own.clone(),
        _ => names.join(","),
    }
}

fn image(container: &Container, whole: bool) -> String {
    let image = container.image.as_str();
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if whole {
        return image.to_owned();
    }
    let short = human::text::short_id(&container.image_id);
    if short == human::text::short_id(image) {
        return short.to_owned();
    }
    match Reference::parse(image) {
        Ok(reference) => Reference {
            digest: None,
            ..reference
        }
        .familiar(),
        Err(_) => image.to_owned(),
    }
}

fn shown(mount: &Mount, whole: bool) -> String {
    let name = if mount.name.is_empty() {
        &mount.source
    } else {
        &mount.name
    };
    if whole {
        name.clone()
    } else {
        human::text::ellipsis(name, MOUNT_WIDTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Container {
        Container {
            id: "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2".to_owned(),
            names: vec!["other/alias".to_owned(), "web".to_owned()],
            image: "docker.io/library/nginx:1.27".to_owned(),
            image_id: "sha256:08b152afcfae220e9709f00767054b824361c742ea03a9fe936271ba520a0a4b"
                .to_owned(),
            command: "/docker-entrypoint.sh nginx -g 'daemon off;'".to_owned(),
            created: Timestamp::from_second(1_763_633_472).unwrap(),
            state: "running".to_owned(),
            status: "Up 5 minutes".to_owned(),
            ports: vec![human::ports::Port {
                private: 80,
                address: "0.0.0.0".to_owned(),
                public: 8080,
                protocol: "tcp".to_owned(),
            }],
            labels: [("app", "web"), ("a.b", "<c>")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            mounts: vec![
                Mount {
                    name: "0123456789abcdef0123".to_owned(),
                    source: "/v/_data".to_owned(),
                    driver: "local".to_owned(),
                },
                Mount {
                    source: "/tmp".to_owned(),
                    ..Mount::default()
                },
            ],
            networks: vec!["bridge".to_owned(), "n1".to_owned()],
            size_rw: 2,
            size_root_fs: 72_800_000,
        }
    }

    fn check(list: &List, asked: &str, whole: bool, want: &str) {
        let format = list.format(asked, false).unwrap();
        let options = Options {
            now: Timestamp::from_second(1_763_633_472 + 7200).unwrap(),
            whole,
            created_at: format.uses("CreatedAt"),
        };
        let rows = [row(&web(), options)];
        assert_eq!(format.render(list.columns, &rows).unwrap(), want, "{asked}");
    }

    #[test]
    fn the_table() {
        check(
            &LIST,
            "",
            false,
            "CONTAINER ID   IMAGE        COMMAND                  CREATED       STATUS         PORTS                  NAMES\n\
             4fa6e0f0c678   nginx:1.27   \"/docker-entrypoint.…\"   2 hours ago   Up 5 minutes   0.0.0.0:8080->80/tcp   web\n",
        );
        let empty = LIST
            .format("", false)
            .unwrap()
            .render(COLUMNS, &[])
            .unwrap();
        assert_eq!(
            empty,
            "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
        );
        let format = LIST_WITH_SIZE.format("table", false).unwrap();
        assert!(format.uses("Size") && !LIST.format("", false).unwrap().uses("Size"));
    }

    #[test]
    fn fields() {
        check(
            &LIST,
            "{{.Names}}|{{.Labels}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}}|{{.Size}}|{{.Label \"app\"}}|{{.Platform}}",
            false,
            "web|a.b=<c>,app=web|0123456789abcd…,/tmp|1|bridge,n1|2B (virtual 72.8MB)|web|<nil>\n",
        );
        check(
            &LIST,
            "{{.Names}}|{{.Image}}|{{.Mounts}}|{{.Command}}",
            true,
            "other/alias,web|docker.io/library/nginx:1.27|0123456789abcdef0123,/tmp|\"/docker-entrypoint.sh nginx -g 'daemon off;'\"\n",
        );
        check(
            &LIST,
            "{{json .}}",
            false,
            &format!(
                "{{\"Command\":\"\\\"/docker-entrypoint.…\\\"\",\"CreatedAt\":\"{}\",\"ID\":\"4fa6e0f0c678\",\"Image\":\"nginx:1.27\",\"Labels\":\"a.b=\\u003cc\\u003e,app=web\",\"LocalVolumes\":\"1\",\"Mounts\":\"0123456789abcd…,/tmp\",\"Names\":\"web\",\"Networks\":\"bridge,n1\",\"Platform\":null,\"Ports\":\"0.0.0.0:8080-\\u003e80/tcp\",\"RunningFor\":\"2 hours ago\",\"Size\":\"2B (virtual 72.8MB)\",\"State\":\"running\",\"Status\":\"Up 5 minutes\"}}\n",
                human::time::local_time(web().created)
            ),
        );
        check(
            &LIST_WITH_SIZE,
            "raw",
            false,
            &format!(
                "container_id: 4fa6e0f0c678\nimage: nginx:1.27\ncommand: \"/docker-entrypoint.…\"\ncreated_at: {}\nstate: running\nstatus: Up 5 minutes\nnames: web\nlabels: a.b=<c>,app=web\nports: 0.0.0.0:8080->80/tcp\nsize: 2B (virtual 72.8MB)\n\n",
                human::time::local_time(web().created)
            ),
        );
    }

    #[test]
    fn images_are_familiar_or_short_ids() {
        let check = |name: &str, want: &str| {
            let container = Container {
                image: name.to_owned(),
                ..web()
            };
            assert_eq!(image(&container, false), want);
        };
        check("busybox", "busybox");
        check("", "<no image>");
        check(&web().image_id, "08b152afcfae");
        check("08b152afcfae", "08b152afcfae");
        check(&format!("nginx@sha256:{}", "a".repeat(64)), "nginx");
        check(&format!("nginx:1@sha256:{}", "a".repeat(64)), "nginx:1");
        check("localhost:5000/a/b:c", "localhost:5000/a/b:c");
    }

    #[test]
    fn formats_are_checked_first() {
        assert!(check_format("{{.Names}} {{slice .ID 0 3}}").is_ok());
        assert_eq!(
            check_format("{{.Nope").unwrap_err().to_string(),
            "failed to parse template: template: :1: unclosed action"
        );
        assert_eq!(
            check_format("{{.Nope}}").unwrap_err().to_string(),
            "failed to execute template: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext"
        );
    }
}

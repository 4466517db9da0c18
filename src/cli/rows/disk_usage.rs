//! Rows of `system df`, and the tables of `system df -v`.

use std::rc::Rc;

use anyhow::Result;
use jiff::Timestamp;

use super::containers::{self, Container};
use super::images;
use super::volumes::{self, Usage};
use super::{Options, column, text};
use crate::cli::format::{self, Format, List};
use crate::cli::human;
use crate::cli::template::value::{self, Column, Field, Struct, Value};
use crate::docker::image::ImageSummary;
use crate::docker::system::Volume;

/// The columns and templates of `system df`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
    raw: Some([
        "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n",
        "{{.Type}}",
    ]),
    quiet_wins: false,
};

const COLUMNS: &[Column] = &[
    column("Type", "TYPE"),
    column("TotalCount", "TOTAL"),
    column("Active", "ACTIVE"),
    column("Size", "SIZE"),
    column("Reclaimable", "RECLAIMABLE"),
];

const CACHE_COLUMNS: &[Column] = &[
    column("ID", "CACHE ID"),
    column("Parent", "PARENT"),
    column("CacheType", "CACHE TYPE"),
    column("Description", "DESCRIPTION"),
    column("Size", "SIZE"),
    column("CreatedAt", "CREATED AT"),
    column("CreatedSince", "CREATED"),
    column("LastUsedAt", "LAST USED AT"),
    column("LastUsedSince", "LAST USED"),
    column("UsageCount", "USAGE"),
    column("InUse", "IN USE"),
    column("Shared", "SHARED"),
];

const IMAGES: &str = r"table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = r"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = r"table {{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHE: &str = r"table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Images.
    Images,
    /// Writable layers.
    Containers,
    /// Named and anonymous volumes.
    Volumes,
    /// What builds keep for the next build.
    BuildCache,
}

impl Part {
    /// The name that docker's errors have for a row of it.
    fn type_name(self) -> &'static str {
        match self {
            Part::Images => "*formatter.diskUsageImagesContext",
            Part::Containers => "*formatter.diskUsageContainersContext",
            Part::Volumes => "*formatter.diskUsageVolumesContext",
            Part::BuildCache => "*formatter.diskUsageBuilderContext",
        }
    }
}

/// How much disk a part takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    /// How many there are.
    pub count: usize,
    /// How many of them are in use.
    pub active: usize,
    /// Bytes of all.
    pub size: i64,
    /// Bytes of those that are not in use.
    pub reclaimable: i64,
}

/// Returns the row of a part.
pub fn row(part: Part, total: Total) -> Value {
    let name = match part {
        Part::Images => "Images",
        Part::Containers => "Containers",
        Part::Volumes => "Local Volumes",
        Part::BuildCache => "Build Cache",
    };
    let free = human::size::bytes_decimal(total.reclaimable);
    let reclaimable = match total.size {
        1.. if part != Part::BuildCache => {
            format!("{free} ({}%)", total.reclaimable * 100 / total.size)
        }
        _ => free,
    };
    let values = vec![
        text(name),
        text(total.count.to_string()),
        text(total.active.to_string()),
        text(human::size::bytes_decimal(total.size)),
        text(reclaimable),
    ];
    format::row(&LIST, part.type_name(), None, values)
}

/// A step of a build that is kept for the next build.
#[derive(Clone, Debug, Default)]
pub struct CacheRecord {
    /// Its key.
    pub id: String,
    /// The key of the step before it.
    pub parent: String,
    /// `regular`, `source.local`, `exec.cachemount`.
    pub kind: String,
    /// The instruction.
    pub description: String,
    /// Bytes.
    pub size: i64,
    /// When it was made.
    pub created: Timestamp,
    /// When a build used it last.
    pub last_used: Option<Timestamp>,
    /// How often builds used it.
    pub uses: u64,
    /// Whether a build uses it now.
    pub in_use: bool,
    /// Whether an image has it too.
    pub shared: bool,
}

/// Everything that `system df -v` shows.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// With their shared sizes and numbers of containers.
    pub images: Vec<ImageSummary>,
    /// With the sizes of their writable layers.
    pub containers: Vec<Container>,
    /// With their uses.
    pub volumes: Vec<(Volume, Usage)>,
    /// In the order in which they are shown.
    pub cache: Vec<CacheRecord>,
}

/// Returns what `system df -v` prints; `asked` is the `--format`.
///
/// Errors are of kind `Invalid`.
pub fn details(details: &Details, asked: &str, now: Timestamp) -> Result<String> {
    let tables = matches!(asked, "" | "table");
    let rows = rows(details, now, tables);
    let [images, containers, volumes, cache] = &rows;
    if !tables {
        return document(rows.clone(), asked);
    }
    let table = |template: &str, columns, rows: &[Value]| -> Result<String> {
        Format::parse(template)?.render(columns, rows)
    };
    let size: i64 = details.cache.iter().map(|record| record.size).sum();
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {}\n\n{}",
        table(IMAGES, images::LIST.columns, images)?,
        table(CONTAINERS, containers::LIST.columns, containers)?,
        table(VOLUMES, volumes::LIST.columns, volumes)?,
        human::size::bytes_decimal(size),
        table(CACHE, CACHE_COLUMNS, cache)?,
    ))
}

fn rows(details: &Details, now: Timestamp, short: bool) -> [Vec<Value>; 4] {
    let options = Options {
        now,
        whole: !short,
        created_at: true,
    };
    let image = |image: &ImageSummary| images::rows(image, "", false, options).into_iter().next();
    let container = |container: &Container| {
        // The layers of the image are counted with the images.
        let own = Container {
            size_root_fs: 0,
            ..container.clone()
        };
        containers::row(&own, options)
    };
    [
        details.images.iter().filter_map(image).collect(),
        details.containers.iter().map(container).collect(),
        details
            .volumes
            .iter()
            .map(|(volume, usage)| volumes::row(volume, Some(*usage)))
            .collect(),
        details
            .cache
            .iter()
            .map(|record| cache_row(record, now, short))
            .collect(),
    ]
}

/// Templates and `json` get all four lists as one document.
fn document(rows: [Vec<Value>; 4], asked: &str) -> Result<String> {
    let names = ["Images", "Containers", "Volumes", "BuildCache"];
    let field = |(name, items): (&str, Vec<Value>)| Field {
        json: Rc::from(name),
        go: None,
        omitted: false,
        value: Value::List(Rc::new(value::List {
            zero: Value::Null,
            nil: false,
            items,
        })),
    };
    let all = Value::Struct(Rc::new(Struct {
        name: "*formatter.diskUsageContext",
        fields: names.into_iter().zip(rows).map(field).collect(),
    }));
    let mut out = Format::parse(asked)?.render(COLUMNS, &[all])?;
    out.pop();
    Ok(out)
}

fn cache_row(record: &CacheRecord, now: Timestamp, short: bool) -> Value {
    let last = record.last_used;
    let id = if short {
        human::text::short_id(&record.id)
    } else {
        &record.id
    };
    // A mark says that a build uses it now.
    let mark = if record.in_use { "*" } else { "" };
    let values = vec![
        text(format!("{id}{mark}")),
        text(&record.parent),
        text(&record.kind),
        text(&record.description),
        text(human::size::bytes_short(record.size)),
        text(human::time::local_time(record.created)),
        text(human::time::ago(record.created, now)),
        text(last.map(human::time::local_time).unwrap_or_default()),
        text(
            last.map(|last| human::time::ago(last, now))
                .unwrap_or_default(),
        ),
        text(record.uses.to_string()),
        text(record.in_use.to_string()),
        text(record.shared.to_string()),
    ];
    let list = List {
        columns: CACHE_COLUMNS,
        ..LIST
    };
    format::row(&list, "*formatter.buildCacheContext", None, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals() {
        let total = |count, active, size, reclaimable| Total {
            count,
            active,
            size,
            reclaimable,
        };
        let rows = [
            row(Part::Images, total(2, 1, 50_200_000, 17_300_000)),
            row(Part::Containers, total(0, 0, 0, 0)),
            row(Part::Volumes, total(3, 0, 1000, 1000)),
            row(Part::BuildCache, total(1, 0, 5000, 5000)),
        ];
        let got = LIST.format("", false).unwrap().render(COLUMNS, &rows);
        assert_eq!(
            got.unwrap(),
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
             Images          2         1         50.2MB    17.3MB (34%)\n\
             Containers      0         0         0B        0B\n\
             Local Volumes   3         0         1kB       1kB (100%)\n\
             Build Cache     1         0         5kB       5kB\n"
        );
    }

    #[test]
    fn details_are_four_tables_or_one_document() {
        let all = Details {
            images: vec![ImageSummary {
                id: format!("sha256:{}", "a".repeat(64)),
                repo_tags: vec!["busybox:latest".to_owned()],
                shared_size: 0,
                size: 2_000_000,
                containers: 1,
                ..ImageSummary::default()
            }],
            volumes: vec![(
                Volume {
                    name: "v".to_owned(),
                    ..Volume::default()
                },
                Usage { links: 1, size: 5 },
            )],
            ..Details::default()
        };
        let now = Timestamp::from_second(7200).unwrap();
        assert_eq!(
            details(&all, "", now).unwrap(),
            "Images space usage:\n\n\
             REPOSITORY   TAG       IMAGE ID       CREATED       SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS\n\
             busybox      latest    aaaaaaaaaaaa   2 hours ago   2MB       0B            2MB           1\n\n\
             Containers space usage:\n\n\
             CONTAINER ID   IMAGE     COMMAND   LOCAL VOLUMES   SIZE      CREATED   STATUS    NAMES\n\n\
             Local Volumes space usage:\n\n\
             VOLUME NAME   LINKS     SIZE\nv             1         5B\n\n\
             Build cache usage: 0B\n\n\
             CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n"
        );
        let json = details(&all, "json", now).unwrap();
        assert!(
            json.starts_with("{\"Images\":[{\"Containers\":\"1\","),
            "{json}"
        );
        assert!(json.ends_with("\"BuildCache\":[]}"), "{json}");
        let names = details(&all, "{{range .Volumes}}{{.Name}} {{.Links}}{{end}}", now);
        assert_eq!(names.unwrap(), "v 1");
    }
}

//! All figures of a run: as JSON, as a table for documents, and as a picture of that table.

use std::fmt::Write as _;

use serde_json::{Value, json};
use svg::Document;
use svg::node::element::{Rectangle, Style, Text};

use crate::figures::{Figures, Role, Samples};

/// What a run has found.
pub(crate) struct Report<'a> {
    /// Processors and kernel.
    pub(crate) machine: &'a str,
    /// What each program says of itself.
    pub(crate) versions: &'a [String],
    /// What could not be measured at all, and why.
    pub(crate) left_out: &'a [String],
    pub(crate) figures: &'a [Figures],
}

impl Report<'_> {
    pub(crate) fn json(&self) -> Value {
        json!({
            "machine": self.machine,
            "versions": self.versions,
            "leftOut": self.left_out,
            "figures": self.figures.iter().map(Figures::json).collect::<Vec<_>>(),
        })
    }

    /// A table in Markdown, a path to a line.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| path | aril | floor | peers | to the better peer | goal |\n|---|---|---|---|---|---|\n",
        );
        for row in self.rows() {
            let peers: Vec<String> = row
                .peers
                .iter()
                .map(|bar| format!("{} {}", bar.name, bar.text))
                .collect();
            let floor = row.floor.map_or("–".to_owned(), |bar| bar.text);
            let own = row.own.map_or("–".to_owned(), |bar| bar.text);
            let _infallible = writeln!(
                text,
                "| {} | {own} {} | {floor} | {} | {} | {} |",
                row.path,
                row.unit,
                peers.join(", "),
                row.ratio,
                row.goal
            );
        }
        text
    }

    fn rows(&self) -> Vec<Row> {
        self.figures.iter().map(row).collect()
    }

    /// The table as a picture: for each path a bar per contender, as long as its median beside the longest of the path. Paths
    /// that only aril takes are left out.
    pub(crate) fn svg(&self) -> String {
        let mut picture = Document::new()
            .set("font-family", "system-ui, sans-serif")
            .add(Style::new(STYLE));
        picture = picture.add(
            Rectangle::new()
                .set("class", "page")
                .set("width", "100%")
                .set("height", "100%"),
        );
        picture = picture.add(words(
            10.0,
            22.0,
            "head",
            "aril beside others: medians of one run",
        ));
        picture = picture.add(words(RATIO, 22.0, "head right", "to the better peer"));
        let mut y = HEAD;
        let compared = |row: &Row| !row.peers.is_empty();
        for row in self.rows().into_iter().filter(compared) {
            let bars: Vec<&Bar> = row.own.iter().chain(&row.floor).chain(&row.peers).collect();
            let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
            let class = if row.is_missed { "missed" } else { "ratio" };
            picture = picture.add(words(10.0, y + LINE - 4.0, "path", &row.path));
            picture = picture.add(words(RATIO, y + LINE - 4.0, class, &row.ratio));
            for bar in bars {
                let width = (bar.value / longest * BAR).max(1.0);
                let place = Rectangle::new()
                    .set("class", bar.class)
                    .set("x", LEFT)
                    .set("y", y);
                picture = picture.add(
                    place
                        .set("width", format!("{width:.1}"))
                        .set("height", LINE - 3.0),
                );
                let label = format!("{} {} {}", bar.name, bar.text, row.unit);
                picture = picture.add(words(LEFT + width + 5.0, y + LINE - 4.0, "figure", &label));
                y += LINE;
            }
            y += GAP;
        }
        for line in std::iter::once(self.machine).chain(self.versions.iter().map(String::as_str)) {
            y += LINE;
            picture = picture.add(words(10.0, y, "foot", line));
        }
        picture.set("viewBox", (0, 0, WIDTH, y + GAP)).to_string() + "\n"
    }
}

const WIDTH: f64 = 900.0;
const HEAD: f64 = 38.0;
const LEFT: f64 = 300.0;
const BAR: f64 = 330.0;
const RATIO: f64 = 890.0;
const LINE: f64 = 14.0;
const GAP: f64 = 8.0;
/// Legible on a light page and on a dark one.
const STYLE: &str = "text{font-size:11px;fill:#24292f}.page{fill:#fff}.head{font-weight:600;font-size:13px}\
    .path{font-size:12px}.right,.ratio,.missed{text-anchor:end}.ratio{fill:#1a7f37;font-weight:600}.missed{fill:#b35900;font-weight:600}\
    .own{fill:#2da44e}.floor{fill:#8c959f}.peer{fill:#a5c8f0}.foot{fill:#57606a;font-size:10px}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.peer{fill:#38618f}.foot{fill:#9198a1}}";

/// A line of the table.
struct Row {
    path: String,
    unit: &'static str,
    own: Option<Bar>,
    floor: Option<Bar>,
    peers: Vec<Bar>,
    ratio: String,
    goal: String,
    is_missed: bool,
}

struct Bar {
    name: String,
    class: &'static str,
    value: f64,
    text: String,
}

fn row(figures: &Figures) -> Row {
    let bars = |role| {
        figures
            .samples
            .iter()
            .filter(move |samples| samples.role == role)
            .filter_map(bar)
    };
    let goal = match (figures.goal, figures.is_met()) {
        (Some(goal), Some(met)) => {
            format!("{}{}", fraction(goal), if met { "" } else { ", missed" })
        }
        (Some(goal), None) => fraction(goal),
        (None, _) => String::new(),
    };
    Row {
        path: figures.path.clone(),
        unit: figures.unit.name(),
        own: bars(Role::Own).next(),
        floor: bars(Role::Floor).next(),
        peers: bars(Role::Peer).collect(),
        ratio: figures.ratio(Role::Peer).map_or(String::new(), fraction),
        goal,
        is_missed: figures.is_met() == Some(false),
    }
}

fn bar(samples: &Samples) -> Option<Bar> {
    let value = samples.summary()?.median;
    Some(Bar {
        name: samples.name.clone(),
        class: samples.role.name(),
        value,
        text: figure(value),
    })
}

/// Three digits that say something.
fn figure(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// `1/12.5` of what is less than one, and the number itself of what is more.
fn fraction(ratio: f64) -> String {
    if ratio < 0.95 {
        format!("1/{:.1}", 1.0 / ratio)
    } else {
        format!("{ratio:.2}")
    }
}

fn words(x: f64, y: f64, class: &str, words: &str) -> Text {
    Text::new(words)
        .set("class", class)
        .set("x", format!("{x:.1}"))
        .set("y", y)
}

//! What was measured on one path, by everybody, and what it says.

use serde_json::{Value, json};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Microseconds,
    Kibibytes,
    /// A thousand megabits in a second; here more is better.
    Gigabits,
    /// Requests in a second; here more is better.
    Requests,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Milliseconds => "ms",
            Unit::Microseconds => "µs",
            Unit::Kibibytes => "KiB",
            Unit::Gigabits => "Gbit/s",
            Unit::Requests => "requests/s",
        }
    }

    fn more_is_better(self) -> bool {
        matches!(self, Unit::Gigabits | Unit::Requests)
    }

    /// What `value` costs: less is better.
    fn cost(self, value: f64) -> f64 {
        if self.more_is_better() {
            1.0 / value
        } else {
            value
        }
    }
}

/// What a contender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The program that is measured.
    Own,
    Peer,
    /// A program that makes the necessary system calls only.
    Floor,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Own => "own",
            Role::Peer => "peer",
            Role::Floor => "floor",
        }
    }
}

/// The figures of one contender, or why there are none.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// In the order in which they were taken until [`Figures::new`] sorts them.
    pub(crate) values: Result<Vec<f64>, String>,
}

/// The least, the one in the middle and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Samples {
    pub(crate) fn summary(&self) -> Option<Summary> {
        let values = self.values.as_ref().ok()?;
        Some(Summary {
            min: *values.first()?,
            median: values[values.len() / 2],
            max: *values.last()?,
        })
    }
}

/// A path, and what everybody needed for it.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) path: String,
    pub(crate) unit: Unit,
    /// The part of the better peer's cost that aril may have; none where nothing was promised.
    pub(crate) goal: Option<f64>,
    pub(crate) samples: Vec<Samples>,
}

impl Figures {
    pub(crate) fn new(
        path: &str,
        unit: Unit,
        goal: Option<f64>,
        mut samples: Vec<Samples>,
    ) -> Figures {
        for samples in &mut samples {
            if let Ok(values) = &mut samples.values {
                values.sort_unstable_by(f64::total_cmp);
            }
        }
        Figures {
            path: path.to_owned(),
            unit,
            goal,
            samples,
        }
    }

    fn median(&self, role: Role) -> Option<f64> {
        let medians = self.samples.iter().filter(|samples| samples.role == role);
        medians
            .filter_map(|samples| Some(samples.summary()?.median))
            .min_by(|one, other| self.unit.cost(*one).total_cmp(&self.unit.cost(*other)))
    }

    /// What aril's median costs beside that of `role`, the better one if there are several.
    pub(crate) fn ratio(&self, role: Role) -> Option<f64> {
        Some(self.unit.cost(self.median(Role::Own)?) / self.unit.cost(self.median(role)?))
    }

    /// Whether what was promised is so; none where nothing was promised, or nobody is there to compare with.
    pub(crate) fn is_met(&self) -> Option<bool> {
        Some(self.ratio(Role::Peer)? <= self.goal?)
    }

    pub(crate) fn json(&self) -> Value {
        let contenders: Vec<Value> = self.samples.iter().map(samples_json).collect();
        json!({
            "path": self.path,
            "unit": self.unit.name(),
            "contenders": contenders,
            "ratioToBestPeer": self.ratio(Role::Peer),
            "ratioToFloor": self.ratio(Role::Floor),
            "goal": self.goal,
            "met": self.is_met(),
        })
    }

    /// The lines that are printed once a path has been measured.
    pub(crate) fn text(&self) -> String {
        let rounds = self
            .samples
            .iter()
            .filter_map(|samples| Some(samples.values.as_ref().ok()?.len()))
            .max();
        let mut lines = vec![format!(
            "{}, {} rounds: min, median, max in {}",
            self.path,
            rounds.unwrap_or_default(),
            self.unit.name()
        )];
        for samples in &self.samples {
            let name = &samples.name;
            lines.push(match (samples.summary(), &samples.values) {
                (Some(Summary { min, median, max }), _) => {
                    format!("  {name:10} {min:10.1} {median:10.1} {max:10.1}")
                }
                (None, Err(error)) => format!("  {name:10} {error}"),
                (None, Ok(_)) => format!("  {name:10} no round"),
            });
        }
        let mut ratios = Vec::new();
        for (role, name) in [
            (Role::Peer, "the better peer's"),
            (Role::Floor, "the floor's"),
        ] {
            if let Some(ratio) = self.ratio(role) {
                ratios.push(format!("{ratio:.3} of {name}"));
            }
        }
        if let (Some(goal), Some(met)) = (self.goal, self.is_met()) {
            let word = if met { "met" } else { "missed" };
            ratios.push(format!("goal {goal:.3} {word}"));
        }
        if !ratios.is_empty() {
            lines.push(format!("  aril's is {}", ratios.join(", ")));
        }
        lines.join("\n")
    }
}

fn samples_json(samples: &Samples) -> Value {
    let role = samples.role.name();
    match (&samples.values, samples.summary()) {
        (Ok(values), Some(Summary { min, median, max })) => json!({
            "name": samples.name, "role": role, "min": min, "median": median, "max": max, "samples": values,
        }),
        (Ok(_), None) => json!({"name": samples.name, "role": role, "error": "no round"}),
        (Err(error), _) => json!({"name": samples.name, "role": role, "error": error}),
    }
}

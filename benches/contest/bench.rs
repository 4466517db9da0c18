//! Rounds: the contenders take turns, in another order each time, so that what disturbs one disturbs all.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path as Place, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::contender::Contender;
use crate::figures::{Figures, Role, Samples, Unit};
use crate::machine::{check, command, path};

/// A run of the benchmark.
pub(crate) struct Bench {
    /// They take docker's command lines.
    pub(crate) engines: Vec<Contender>,
    /// They take runc's.
    pub(crate) runtimes: Vec<Contender>,
    /// The program that does only what is necessary.
    pub(crate) floor: PathBuf,
    /// On the new file system.
    pub(crate) work: PathBuf,
    /// In place of each path's own number.
    pub(crate) rounds: Option<usize>,
    pub(crate) choice: Choice,
    pub(crate) figures: RefCell<Vec<Figures>>,
}

/// Which paths are measured.
pub(crate) struct Choice {
    /// Those whose names have one of these, or are one of these behind a `=`; all if there is none.
    pub(crate) words: Vec<String>,
    /// None: their names are printed.
    pub(crate) is_list: bool,
}

/// What is done with a contender in a round.
pub(crate) type Step<'a> = &'a dyn Fn(&Contender, usize) -> Result<()>;

/// What a contender shows in a round.
pub(crate) type Value<'a> = &'a dyn Fn(&Contender, usize) -> Result<f64>;

/// What is done after a round where nothing has to be.
const NOTHING: Step<'_> = &|_, _| Ok(());

impl Bench {
    /// Whether a path is measured; what it needs is set up only then.
    pub(crate) fn wants(&self, path: &str) -> bool {
        let words = &self.choice.words;
        let names = |word: &String| match word.strip_prefix('=') {
            Some(whole) => path == whole,
            None => path.contains(word.as_str()),
        };
        let is_wanted = words.is_empty() || words.iter().any(names);
        if is_wanted && self.choice.is_list {
            println!("{path}");
        }
        is_wanted && !self.choice.is_list
    }

    /// Whether one of several paths is measured.
    pub(crate) fn wants_any(&self, paths: &[&str]) -> bool {
        // Each is to be listed.
        paths.iter().filter(|path| self.wants(path)).count() > 0
    }

    /// Prints figures and keeps them for the report.
    pub(crate) fn record(&self, figures: Figures) {
        println!("{}", figures.text());
        self.figures.borrow_mut().push(figures);
    }

    /// A run of the floor program, as a step.
    pub(crate) fn floor(&self, args: &[&str]) -> Result<()> {
        check(Command::new(&self.floor).args(args))
    }
}

/// How a path is measured: by the time of a step.
pub(crate) struct Path<'a> {
    name: &'a str,
    goal: Option<f64>,
    rounds: usize,
    pause: Duration,
    is_settled: bool,
    before: Step<'a>,
    after: Step<'a>,
    floor: Option<&'a dyn Fn() -> Result<()>>,
}

impl<'a> Path<'a> {
    pub(crate) fn new(name: &'a str) -> Path<'a> {
        Path {
            name,
            goal: None,
            rounds: 25,
            pause: Duration::ZERO,
            is_settled: false,
            before: NOTHING,
            after: NOTHING,
            floor: None,
        }
    }

    /// How many times less than the better peer was promised.
    pub(crate) fn goal(self, times: f64) -> Path<'a> {
        let goal = Some(1.0 / times);
        Path { goal, ..self }
    }

    /// Unless the caller of the program wants another number.
    pub(crate) fn rounds(self, rounds: usize) -> Path<'a> {
        Path { rounds, ..self }
    }

    /// How long the machine is left alone before each step.
    pub(crate) fn pause(self, pause: Duration) -> Path<'a> {
        Path { pause, ..self }
    }

    /// For what waits for the disk: what is yet to be written is written before the clock starts, so that nobody's round pays
    /// for another's.
    pub(crate) fn settled(self) -> Path<'a> {
        Path {
            is_settled: true,
            ..self
        }
    }

    /// What is done before the clock starts.
    pub(crate) fn before(self, before: Step<'a>) -> Path<'a> {
        Path { before, ..self }
    }

    /// What is done after the clock has stopped.
    pub(crate) fn after(self, after: Step<'a>) -> Path<'a> {
        Path { after, ..self }
    }

    /// The system calls that are necessary for the same.
    pub(crate) fn floor(self, floor: &'a dyn Fn() -> Result<()>) -> Path<'a> {
        let floor = Some(floor);
        Path { floor, ..self }
    }

    /// Measures the time of `step`.
    pub(crate) fn measure(&self, bench: &Bench, contenders: &[Contender], step: Step<'_>) {
        let timed: Value<'_> = &|contender, round| {
            (self.before)(contender, round)?;
            if self.is_settled {
                settle(&bench.work)?;
            }
            std::thread::sleep(self.pause);
            let start = Instant::now();
            let done = step(contender, round);
            let took = milliseconds(start);
            // Also what failed may have left something.
            done.and((self.after)(contender, round))?;
            Ok(took)
        };
        self.compare(bench, contenders, Unit::Milliseconds, timed);
    }

    /// Lets `value` measure, in each round once for each contender.
    pub(crate) fn compare(
        &self,
        bench: &Bench,
        contenders: &[Contender],
        unit: Unit,
        value: Value<'_>,
    ) {
        if !bench.wants(self.name) {
            return;
        }
        let rounds = bench
            .rounds
            .map_or(self.rounds, |rounds| rounds.min(self.rounds));
        let count = contenders.len() + usize::from(self.floor.is_some());
        let mut taken: Vec<Result<Vec<f64>>> = (0..count).map(|_| Ok(Vec::new())).collect();
        // The first round warms up.
        for round in 0..=rounds {
            for number in order(count, round) {
                let Ok(sofar) = &mut taken[number] else {
                    continue;
                };
                let done = match contenders.get(number) {
                    Some(contender) => value(contender, round),
                    None => self.time_floor(bench),
                };
                match done {
                    Ok(value) if round > 0 => sofar.push(value),
                    Ok(_) => {}
                    Err(error) => taken[number] = Err(error),
                }
            }
        }
        let mut samples = Vec::new();
        for (number, values) in taken.into_iter().enumerate() {
            let (name, role) = contenders
                .get(number)
                .map_or(("floor", Role::Floor), |contender| {
                    (contender.name, contender.role)
                });
            let values = values.map_err(|error| first_line(&error));
            samples.push(Samples {
                name: name.to_owned(),
                role,
                values,
            });
        }
        bench.record(Figures::new(self.name, unit, self.goal, samples));
    }

    fn time_floor(&self, bench: &Bench) -> Result<f64> {
        if self.is_settled {
            settle(&bench.work)?;
        }
        std::thread::sleep(self.pause);
        let start = Instant::now();
        self.floor.map_or(Ok(()), |floor| floor())?;
        Ok(milliseconds(start))
    }
}

/// Whose turn it is, one after the other: shuffled, but the same in each run. Nobody always comes after the same one, whose
/// leavings the kernel may still be busy with.
fn order(count: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|number| {
        let mut hasher = DefaultHasher::new();
        (round, number).hash(&mut hasher);
        hasher.finish()
    });
    order
}

/// Writes what is yet to be written to the disk of the measurement.
pub(crate) fn settle(work: &Place) -> Result<()> {
    command("sync", &["-f", path(work)?])
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// Some programs add a trace of their calls to what they say.
fn first_line(error: &anyhow::Error) -> String {
    let said = format!("{error:#}");
    said.lines().next().unwrap_or_default().to_owned()
}

//! The files of transcripts: cases, recorded answers, and differences on purpose.
//!
//! ```text
//! NAME.case                          NAME.expected                     NAME.differs
//!   # a remark                         ### exit code                     ### exit code
//!   ### exit code                      $ docker create --name a …        because aril has no daemon
//!   ~docker create --name a busybox    $ docker start -a a               $ docker start -a a
//!   docker start -a a                  what was said                     what aril says
//!                                      2> what went to standard error    [1]
//!                                      [1]
//! ```
//!
//! A command is one line for sh. Of one that begins with `~` only the exit code counts: it prepares something.

use std::collections::HashMap;

/// Commands that are run one after another, on a machine that has seen nothing else.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) commands: Vec<Line>,
}

impl Case {
    /// Whether the answers are those to its commands.
    pub(super) fn is_answered_by(&self, answers: &[Answer]) -> bool {
        let asked = self.commands.iter().map(|it| it.text.as_str());
        answers.iter().map(|it| it.command.as_str()).eq(asked)
    }
}

pub(super) struct Line {
    pub(super) text: String,
    /// Whether what it says counts, besides its exit code.
    pub(super) heard: bool,
}

/// What was said to a command: lines of standard output, of standard error behind `2> `, an exit code that is not 0.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) command: String,
    pub(super) lines: Vec<String>,
}

/// An answer of aril's that is not docker's, on purpose.
pub(super) struct Difference {
    pub(super) case: String,
    pub(super) why: String,
    pub(super) answer: Answer,
}

/// Reads cases.
pub(super) fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            cases.push(Case {
                name: name.to_owned(),
                commands: Vec::new(),
            });
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            let case = cases.last_mut().expect("a case begins with ###");
            let silent = line.strip_prefix('~');
            case.commands.push(Line {
                text: silent.unwrap_or(line).trim().to_owned(),
                heard: silent.is_none(),
            });
        }
    }
    cases
}

/// Reads recorded answers, by the names of cases.
pub(super) fn answers(text: &str) -> HashMap<String, Vec<Answer>> {
    let mut answers: HashMap<String, Vec<Answer>> = HashMap::new();
    let mut case = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            case = Some(answers.entry(name.to_owned()).or_default());
            continue;
        }
        let case = case.as_mut().expect("answers begin with ###");
        if let Some(command) = line.strip_prefix("$ ") {
            case.push(Answer {
                command: command.to_owned(),
                lines: Vec::new(),
            });
        } else if !line.is_empty() {
            let answer = case.last_mut().expect("an answer stands below a command");
            answer.lines.push(line.to_owned());
        }
    }
    answers
}

/// Writes what was said in a case, for [`answers`].
pub(super) fn written(name: &str, said: &[Answer]) -> String {
    let mut lines = vec![format!("### {name}")];
    for answer in said {
        lines.push(format!("$ {}", answer.command));
        lines.extend(answer.lines.iter().cloned());
    }
    lines.join("\n") + "\n\n"
}

/// Reads differences. The reason of one stands between the last answer and its command, and is that of all that follow in
/// its case.
pub(super) fn differences(text: &str) -> Vec<Difference> {
    let mut differences: Vec<Difference> = Vec::new();
    let mut case = String::new();
    let mut why = String::new();
    let mut in_answer = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            name.clone_into(&mut case);
            why.clear();
            in_answer = false;
        } else if let Some(reason) = line.strip_prefix("because ") {
            reason.clone_into(&mut why);
            in_answer = false;
        } else if let Some(command) = line.strip_prefix("$ ") {
            in_answer = true;
            differences.push(Difference {
                case: case.clone(),
                why: why.clone(),
                answer: Answer {
                    command: command.to_owned(),
                    lines: Vec::new(),
                },
            });
        } else if line.is_empty() || (!in_answer && line.starts_with('#')) {
            // An empty line ends nothing: answers have none.
        } else if in_answer {
            let last = differences.last_mut().expect("an answer has a command");
            last.answer.lines.push(line.to_owned());
        } else {
            why.push(' ');
            why.push_str(line.trim());
        }
    }
    differences
}

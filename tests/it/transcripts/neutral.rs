//! What differs between two runs of one command line, replaced by a word: ids, digests, times, durations, folders.

use std::sync::LazyLock;

use regex::Regex;

static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        (r"\bsha256:[0-9a-f]{64}\b", "<digest>"),
        (r"\b[0-9a-f]{64}\b", "<id>"),
        (
            r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d| [+-]\d{4}(?: [A-Z]+)?)",
            "<time>",
        ),
        // The image is as large as somebody's busybox.
        (r"\b\d+(?:\.\d+)?MB\b", "<n>MB"),
        // What docker 28 says besides when it cannot remove networks.
        (r"(?m)^exit status \d+\n", ""),
        // A package of docker's has it so.
        (r"\bSRun '", "Run '"),
    ];
    rules
        .map(|(rule, word)| (Regex::new(rule).unwrap(), word))
        .into()
});

static SHORT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(^|[^0-9a-zA-Z.:/_-])[0-9a-f]{12}($|[^0-9a-zA-Z.:/_-])").unwrap()
});

static AGO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\b(?:Less than a second|About an? (?:minute|hour)|\d+ (?:second|minute|hour)s?)( ago)?\b",
    )
    .unwrap()
});

static GAP: LazyLock<Regex> = LazyLock::new(|| Regex::new(" {3,}").unwrap());

/// Returns the lines of an output without what differs from run to run.
pub(super) fn lines(text: &str, folder: &str) -> Vec<String> {
    let mut text = text.replace(folder, "<work>");
    for (rule, word) in RULES.iter() {
        text = rule.replace_all(&text, *word).into_owned();
    }
    // Two ids may share the character between them.
    for _ in 0..2 {
        text = SHORT.replace_all(&text, "$1<short>$2").into_owned();
    }
    if AGO.is_match(&text) {
        text = AGO.replace_all(&text, "<while>$1").into_owned();
        // Columns of a table are as wide as the durations were.
        text = GAP.replace_all(&text, "   ").into_owned();
    }
    text.lines()
        .map(|line| line.trim_end_matches(' ').replace('\r', "<cr>"))
        .collect()
}

#[test]
fn what_is_made_neutral() {
    let id = "0123456789abcdef".repeat(4);
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(lines(text, "/tmp/here"), expected);
    };
    check(&format!("sha256:{id} {id}\n"), &["<digest> <id>"]);
    check("0123456789ab deadbeef0123\n", &["<short> <short>"]);
    check(
        "0123456789abc 10.0.123456789012\n",
        &["0123456789abc 10.0.123456789012"],
    );
    check("2025-01-02T03:04:05.678Z\n", &["<time>"]);
    check("2025-01-02 03:04:05 +0000 UTC x\n", &["<time> x"]);
    check("ID     CREATED\n", &["ID     CREATED"]);
    check(
        "ID     CREATED         X\n1      2 seconds ago   y  \n\n",
        &["ID   CREATED   X", "1   <while> ago   y", ""],
    );
    check("1.98MB 64MiB\n", &["<n>MB 64MiB"]);
    check("Up About an hour\n", &["Up <while>"]);
    check("/tmp/here/x\n", &["<work>/x"]);
    check("x: exit status 1\nexit status 1\n", &["x: exit status 1"]);
}

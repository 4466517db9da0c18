//! `WWW-Authenticate` (RFC 9110, 11.6.1): what a server wants to see before it answers. Pure.

/// How a server wants to know who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token, which another server gives.
    Bearer(Bearer),
}

/// Where a token comes from, and for what (distribution's token authentication).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// Address of the server.
    pub realm: String,
    /// What the registry is called there; empty if it has no name.
    pub service: String,
    /// What the request would have needed; empty if it does not say.
    pub scope: String,
    /// Why a token that was sent is not enough: `invalid_token`, `insufficient_scope`; empty without one.
    pub error: String,
}

/// Returns the challenge that is to be answered: a token rather than a password; nothing if we can do none of them.
pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for challenge in headers.flat_map(parse) {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            let bearer = Bearer {
                realm: challenge.parameter("realm"),
                service: challenge.parameter("service"),
                scope: challenge.parameter("scope"),
                error: challenge.parameter("error"),
            };
            if !bearer.realm.is_empty() {
                return Some(Challenge::Bearer(bearer));
            }
        }
    }
    basic
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Raw {
    fn parameter(&self, name: &str) -> String {
        let found = self
            .parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// Reads one header, which may hold several challenges with commas between, as their parameters have too.
fn parse(header: &str) -> Vec<Raw> {
    let mut challenges: Vec<Raw> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            return challenges;
        }
        let value = after.trim_start_matches([' ', '\t']);
        match value.strip_prefix('=') {
            // `==` ends a token68, which no scheme of ours has.
            Some(value) if !value.starts_with('=') => {
                let (value, after) = value_of(value.trim_start_matches([' ', '\t']));
                if let Some(challenge) = challenges.last_mut() {
                    challenge.parameters.push((word.to_owned(), value));
                }
                rest = after;
            }
            Some(_) => rest = value.trim_start_matches('='),
            None => {
                challenges.push(Raw {
                    scheme: word.to_owned(),
                    parameters: Vec::new(),
                });
                rest = after;
            }
        }
    }
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    // A stray quote must not stop us for ever.
    if end == 0 && text.starts_with(['"', '=']) {
        return token(&text[1..]);
    }
    text.split_at(end)
}

fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expected: Option<&Challenge>) {
        assert_eq!(
            choose(headers.iter().copied()).as_ref(),
            expected,
            "{headers:?}"
        );
    }

    fn bearer(realm: &str, service: &str, scope: &str, error: &str) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: service.to_owned(),
            scope: scope.to_owned(),
            error: error.to_owned(),
        })
    }

    #[test]
    fn challenges_are_read_however_they_are_written() {
        check(&[], None);
        check(&["Negotiate"], None);
        check(&["Basic realm=\"x\""], Some(&Challenge::Basic));
        check(&["basic"], Some(&Challenge::Basic));
        check(
            &[
                "Bearer realm=\"https://auth.example.com/token\",service=\"registry\",scope=\"repository:a/b:pull,push\"",
            ],
            Some(&bearer(
                "https://auth.example.com/token",
                "registry",
                "repository:a/b:pull,push",
                "",
            )),
        );
        check(
            &["Negotiate, Basic realm=\"a, b\" , Bearer realm = https://x ,error=invalid_token"],
            Some(&bearer("https://x", "", "", "invalid_token")),
        );
        check(
            &[
                "Negotiate YWJj==",
                "bearer Realm=\"a\\\"b\", Service=\"\"",
                "Basic",
            ],
            Some(&bearer("a\"b", "", "", "")),
        );
        check(
            &["Bearer service=\"no realm\", Basic"],
            Some(&Challenge::Basic),
        );
        check(
            &["Bearer realm=\"unterminated"],
            Some(&bearer("unterminated", "", "", "")),
        );
        check(&["\"\"\"=,,=\""], None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_stops_the_parser(text in ".{0,80}") {
            choose([text.as_str()].into_iter());
        }
    }
}

//! `proxies` of the user's config.json: what containers are told of the proxies of this network.
//!
//! ```text
//! { "proxies": { "default": { "httpProxy": "http://proxy.example.com:3128", "noProxy": "localhost,.example.com" } } }
//! ```
//!
//! As docker's client has it: each value comes into the environment in capitals and in small letters, and what `--env` names
//! stays what it is. The engine itself is not configured by this.

use serde_json::{Map, Value};

/// Where docker's client would find its engine; the key of `proxies` that counts before `default`.
const HOST: &str = "unix:///var/run/docker.sock";

/// The keys and the variables that they become.
const VARIABLES: &[(&str, &str)] = &[
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("allProxy", "ALL_PROXY"),
    ("noProxy", "NO_PROXY"),
];

/// Returns the variables that `config`, a config.json, adds to the arguments of `--env`.
pub fn environment(config: &Map<String, Value>, arguments: &[String]) -> Vec<String> {
    let proxies = config.get("proxies");
    let Some(proxies) = proxies.and_then(|all| all.get(HOST).or_else(|| all.get("default"))) else {
        return Vec::new();
    };
    let is_given = |name: &str| {
        let mut names = arguments.iter().map(|argument| argument.split('='));
        names.any(|mut parts| parts.next() == Some(name))
    };
    let mut added = Vec::new();
    for (key, variable) in VARIABLES {
        let value = proxies.get(key).and_then(Value::as_str).unwrap_or_default();
        if value.is_empty() {
            continue;
        }
        for name in [(*variable).to_owned(), variable.to_ascii_lowercase()] {
            if !is_given(&name) {
                added.push(format!("{name}={value}"));
            }
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, arguments: &[&str], expected: &[&str]) {
        let config: Map<String, Value> = serde_json::from_str(config).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(environment(&config, &arguments), expected, "{config:?}");
    }

    #[test]
    fn each_value_comes_in_capitals_and_in_small_letters() {
        check("{}", &[], &[]);
        check(r#"{"proxies": 1}"#, &[], &[]);
        check(r#"{"proxies": {"tcp://x": {"httpProxy": "p"}}}"#, &[], &[]);
        check(
            r#"{"proxies": {"default": {"httpProxy": "p:1", "noProxy": "a,b", "ftpProxy": ""}}}"#,
            &["A=1"],
            &[
                "HTTP_PROXY=p:1",
                "http_proxy=p:1",
                "NO_PROXY=a,b",
                "no_proxy=a,b",
            ],
        );
        check(
            r#"{"proxies": {"default": {"httpProxy": "p:1", "allProxy": "s"}}}"#,
            &["HTTP_PROXY=", "all_proxy"],
            &["http_proxy=p:1", "ALL_PROXY=s"],
        );
        check(
            r#"{"proxies": {"default": {"httpProxy": "a"}, "unix:///var/run/docker.sock": {"httpsProxy": "b"}}}"#,
            &[],
            &["HTTPS_PROXY=b", "https_proxy=b"],
        );
    }
}

//! The pull side of the distribution-spec, as a server: what is asked, and in what form it is answered.
//!
//! ```text
//! GET /v2/                                     is there anybody
//! GET /v2/_catalog?n=&last=                    repositories
//! GET /v2/NAME/tags/list?n=&last=              tags, with a Link to the next page
//! GET /v2/NAME/manifests/TAG|DIGEST            manifests and indexes, byte for byte
//! GET /v2/NAME/blobs/DIGEST                    configurations and layers; one Range
//! GET /v2/NAME/referrers/DIGEST                always an empty index
//! ```
//!
//! HEAD is answered as GET without its body; everything else is refused, since nothing can be changed here. This folder
//! knows no image store: whoever calls [`http::serve`] has the content.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use anyhow::Result;
use oci_spec::image::Digest;
use serde_json::json;

use crate::oci::digest;

pub mod http;

/// The most names on one page.
const PAGE_MAX: usize = 1000;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether there is anybody.
    Base,
    /// Repositories.
    Catalog(Page),
    /// Tags of a repository.
    Tags(String, Page),
    /// A manifest of a repository, by tag or digest.
    Manifest(String, String),
    /// A blob of a repository.
    Blob(String, Digest),
    /// What refers to a manifest of a repository.
    Referrers(String, Digest),
}

/// Which part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most so many; nothing means all that one page can have.
    pub count: Option<usize>,
    /// Only what comes after this one.
    pub last: String,
}

/// What is asked, and of which registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What.
    pub route: Route,
    /// The registry that a mirror is to stand for (`?ns=`); empty if none is named.
    pub namespace: String,
}

/// An answer before it is cut to what was asked for.
pub enum Answer {
    /// What was asked for.
    Content(Content),
    /// Why it is not given.
    Refused(Refusal),
}

/// Why something is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status of HTTP, and its name.
    pub status: (u16, &'static str),
    /// Code of the distribution-spec.
    pub code: &'static str,
    /// Words for people.
    pub message: String,
}

impl Refusal {
    /// Returns that there is no such thing.
    pub fn missing(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            status: (404, "Not Found"),
            code,
            message: message.into(),
        }
    }

    /// Returns that the question makes no sense.
    pub fn malformed(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            status: (400, "Bad Request"),
            ..Refusal::missing(code, message)
        }
    }
}

/// Something to send.
pub struct Content {
    /// Its type.
    pub media_type: String,
    /// Its digest, if it has one.
    pub digest: Option<Digest>,
    /// Address of the next page of a list.
    pub next: Option<String>,
    /// The bytes.
    pub body: Body,
}

/// Bytes to send.
pub enum Body {
    /// These.
    Bytes(Vec<u8>),
    /// A file, and its size.
    File(File, u64),
    /// What a function writes, and how much that will be.
    Stream(Writer, u64),
}

/// Writes a body, and returns an error if it cannot go on.
pub type Writer = Box<dyn FnOnce(&mut dyn Write) -> Result<()>>;

impl Body {
    /// Returns how many bytes it has.
    pub fn size(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, size) | Body::Stream(_, size) => *size,
        }
    }
}

/// Reads the path and the query of a request.
pub fn question(target: &str) -> Result<Question, Refusal> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decode(value)))
        .collect();
    let given = |name: &str| query.get(name).cloned().unwrap_or_default();
    let page = || -> Result<Page, Refusal> {
        let count = given("n");
        let count = match count.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                Refusal::malformed(
                    "PAGINATION_NUMBER_INVALID",
                    format!("n={text} is no number"),
                )
            })?),
        };
        Ok(Page {
            count,
            last: given("last"),
        })
    };
    let route = match path {
        "/v2" | "/v2/" => Route::Base,
        "/v2/_catalog" => Route::Catalog(page()?),
        path => {
            let rest = path.strip_prefix("/v2/").map(decode).unwrap_or_default();
            let mut parts = rest.rsplitn(3, '/');
            match (parts.next(), parts.next(), parts.next()) {
                (Some("list"), Some("tags"), Some(name)) => Route::Tags(name.to_owned(), page()?),
                (Some(reference), Some("manifests"), Some(name)) => {
                    Route::Manifest(name.to_owned(), reference.to_owned())
                }
                (Some(text), Some("blobs"), Some(name)) => {
                    Route::Blob(name.to_owned(), parse(text)?)
                }
                (Some(text), Some("referrers"), Some(name)) => {
                    Route::Referrers(name.to_owned(), parse(text)?)
                }
                _ => {
                    return Err(Refusal::missing(
                        "NAME_UNKNOWN",
                        format!("there is nothing at {path}"),
                    ));
                }
            }
        }
    };
    Ok(Question {
        route,
        namespace: given("ns"),
    })
}

fn parse(text: &str) -> Result<Digest, Refusal> {
    let wrong = |_| Refusal::malformed("DIGEST_INVALID", format!("{text} is no digest"));
    digest::parse(text).map_err(wrong)
}

/// Resolves `%41`; what is malformed stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| {
                let digits = std::str::from_utf8(digits)
                    .ok()
                    .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
                u8::from_str_radix(digits, 16).ok()
            });
        if let Some(byte) = escaped {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the page of `names`, which are sorted, as the document `{KEY: […]}`; `path` leads to the next one.
pub fn list(path: &str, key: &str, name: Option<&str>, names: &[String], page: &Page) -> Content {
    let rest = names
        .iter()
        .skip_while(|name| !page.last.is_empty() && **name <= page.last);
    let count = page.count.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let mut rest = rest.peekable();
    let shown: Vec<&String> = rest.by_ref().take(count).collect();
    let next = match shown.last() {
        Some(last) if rest.peek().is_some() => Some(format!("{path}?n={count}&last={last}")),
        _ => None,
    };
    let mut document = json!({ key: shown });
    if let Some(name) = name {
        document["name"] = json!(name);
    }
    Content {
        media_type: "application/json".to_owned(),
        digest: None,
        next,
        body: Body::Bytes(document.to_string().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn route(target: &str) -> Route {
        question(target)
            .unwrap_or_else(|_| panic!("{target}"))
            .route
    }

    #[test]
    fn questions() {
        let digest = digest::parse(DIGEST).unwrap();
        assert_eq!(route("/v2/"), Route::Base);
        assert_eq!(
            route("/v2/_catalog?n=2&last=a"),
            Route::Catalog(Page {
                count: Some(2),
                last: "a".to_owned()
            })
        );
        assert_eq!(
            route("/v2/library/a/tags/list"),
            Route::Tags("library/a".to_owned(), Page::default())
        );
        assert_eq!(
            route("/v2/a/manifests/1.0"),
            Route::Manifest("a".to_owned(), "1.0".to_owned())
        );
        assert_eq!(
            route("/v2/tags/list/tags/list"),
            Route::Tags("tags/list".to_owned(), Page::default())
        );
        assert_eq!(
            route(&format!("/v2/a/b/blobs/{DIGEST}")),
            Route::Blob("a/b".to_owned(), digest.clone())
        );
        let escaped = DIGEST.replace(':', "%3A");
        assert_eq!(
            route(&format!("/v2/a/referrers/{escaped}")),
            Route::Referrers("a".to_owned(), digest)
        );
        assert_eq!(
            question("/v2/a/manifests/1?ns=docker.io")
                .unwrap()
                .namespace,
            "docker.io"
        );
        for (target, code) in [
            ("/", "NAME_UNKNOWN"),
            ("/v2/a", "NAME_UNKNOWN"),
            ("/v1/search", "NAME_UNKNOWN"),
            ("/v2/a/blobs/sha256:..", "DIGEST_INVALID"),
            ("/v2/_catalog?n=x", "PAGINATION_NUMBER_INVALID"),
        ] {
            assert_eq!(question(target).unwrap_err().code, code, "{target}");
        }
    }

    #[test]
    fn lists_have_pages() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let check = |count: Option<usize>, last: &str, want: &str, next: Option<&str>| {
            let page = Page {
                count,
                last: last.to_owned(),
            };
            let content = list("/v2/_catalog", "repositories", None, &names, &page);
            let Body::Bytes(bytes) = content.body else {
                panic!()
            };
            assert_eq!(String::from_utf8(bytes).unwrap(), want);
            assert_eq!(content.next.as_deref(), next);
        };
        check(None, "", r#"{"repositories":["a","b","c"]}"#, None);
        check(
            Some(2),
            "",
            r#"{"repositories":["a","b"]}"#,
            Some("/v2/_catalog?n=2&last=b"),
        );
        check(Some(2), "b", r#"{"repositories":["c"]}"#, None);
        check(Some(0), "", r#"{"repositories":[]}"#, None);
        check(None, "z", r#"{"repositories":[]}"#, None);
    }

    proptest! {
        #[test]
        fn any_target_is_a_question_or_refused(target in any::<String>(), tail in "[a-z0-9/%?&=:.]{0,40}") {
            drop(question(&target));
            drop(question(&format!("/v2/{tail}")));
        }
    }
}

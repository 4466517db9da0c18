//! `aril search`.

use crate::sandbox::Sandbox;
use crate::site::{Reply, Site};

/// Docker Hub's answer.
const FOUND: &str = r#"{"num_pages":1,"num_results":3,"page_size":25,"page":1,"query":"httpd","results":[
 {"name":"paketobuildpacks/httpd","description":"","pull_count":1,"star_count":2,"is_trusted":false,"is_automated":false,"is_official":false},
 {"name":"httpd","description":"The Apache HTTP Server Project, which is a long description of a server","star_count":4000,"is_official":true,"is_automated":false},
 {"name":"centos/httpd-24-centos7","description":null,"star_count":46,"is_official":false,"is_automated":false}]}"#;

#[test]
fn what_is_found_is_listed() {
    let sandbox = Sandbox::bare();
    let site = Site::new(&sandbox, |_| Reply::new(200, FOUND));
    let term = format!("{}/httpd", site.address);
    let table = sandbox.ok(&["search", "--limit", "7", &term]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("NAME                      DESCRIPTION "),
        "{table}"
    );
    assert!(lines[0].ends_with("STARS     OFFICIAL"), "{table}");
    assert!(
        lines[2].starts_with("httpd ")
            && lines[2].contains("…")
            && lines[2].ends_with("4000      [OK]"),
        "{table}"
    );
    // In the order of the answer, which knows what fits best.
    assert!(lines[1].starts_with("paketobuildpacks/httpd "), "{table}");
    assert!(lines[3].starts_with("centos/httpd-24-centos7 "), "{table}");
    let asked = site.asked();
    assert!(
        asked[0].starts_with("GET /v1/search?q=httpd&n=7 HTTP/1.1"),
        "{asked:?}"
    );
    let whole = sandbox.ok(&[
        "search",
        "--no-trunc",
        "-f",
        "is-official=true",
        "--format",
        "{{.Name}}: {{.Description}}",
        &term,
    ]);
    assert_eq!(
        whole,
        "httpd: The Apache HTTP Server Project, which is a long description of a server"
    );
    let stars = sandbox.ok(&[
        "search",
        "-f",
        "stars=40",
        "--format",
        "{{.StarCount}}",
        &term,
    ]);
    assert_eq!(stars, "4000\n46");
}

#[test]
fn what_cannot_be_searched_is_said() {
    let sandbox = Sandbox::bare();
    let site = Site::new(&sandbox, |_| Reply::new(404, "page not found"));
    let term = format!("{}/httpd", site.address);
    sandbox
        .aril(&["search", &term])
        .fails(1, "Unexpected status code 404");
    sandbox
        .aril(&["search", "--limit", "101", &term])
        .fails(1, "limit 101 is outside the range of [1, 100]");
    sandbox
        .aril(&["search", "-f", "stars=many", &term])
        .fails(1, "invalid filter 'stars=many'");
    sandbox
        .aril(&["search", "-f", "color=red", &term])
        .fails(1, "invalid filter 'color'");
    sandbox
        .aril(&["search", "-f", "is-official=maybe", &term])
        .fails(1, "invalid filter 'is-official=[maybe]'");
}

#[test]
fn what_is_not_said_any_more_is_warned_of() {
    let sandbox = Sandbox::bare();
    let site = Site::new(&sandbox, |_| Reply::new(200, FOUND));
    let term = format!("{}/httpd", site.address);
    let ran = sandbox.aril(&["search", "--limit", "-1", "-f", "is-automated=true", &term]);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 1), "{ran:?}");
    assert!(
        ran.err
            .contains("the \"is-automated\" filter is deprecated"),
        "{ran:?}"
    );
    assert!(site.asked()[0].starts_with("GET /v1/search?q=httpd&n=25 HTTP/1.1"));
}

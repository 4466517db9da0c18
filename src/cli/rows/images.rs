//! Rows of `images`: one per tag, and per digest if digests are shown.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Options, column, local_time, text};
use crate::cli::format::{self, List};
use crate::cli::human;
use crate::cli::template::value::{Column, Value};
use crate::docker::image::ImageSummary;
use crate::oci::reference::Reference;

/// The columns and templates of `images`.
pub const LIST: List = List {
    columns: COLUMNS,
    table: r"{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
    quiet: "{{.ID}}",
    raw: Some([
        "repository: {{ .Repository }}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n",
        "image_id: {{.ID}}",
    ]),
    quiet_wins: false,
};

/// As [`LIST`], with `--digests`.
pub const LIST_WITH_DIGESTS: List = List {
    table: r"{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
    raw: Some([
        "repository: {{ .Repository }}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n",
        "image_id: {{.ID}}",
    ]),
    ..LIST
};

const COLUMNS: &[Column] = &[
    column("ID", "IMAGE ID"),
    column("Repository", "REPOSITORY"),
    column("Tag", "TAG"),
    column("Digest", "DIGEST"),
    column("CreatedSince", "CREATED"),
    column("CreatedAt", "CREATED AT"),
    column("Size", "SIZE"),
    column("Containers", "CONTAINERS"),
    column("VirtualSize", "SIZE"),
    column("SharedSize", "SHARED SIZE"),
    column("UniqueSize", "UNIQUE SIZE"),
];

const NONE: &str = "<none>";

/// Returns the text of `--format` that adds the digests that `--digests` asks for to a table of the user.
pub fn with_digests(asked: &str, digests: bool) -> String {
    let custom = asked.starts_with("table") && asked != "table";
    if digests && custom && !asked.contains("{{.Digest}}") {
        return format!("{asked}\t{{{{.Digest}}}}");
    }
    asked.to_owned()
}

/// Returns the rows of an image: one per tag; `<none>` for what it lacks.
///
/// `asked` is the `--format`: one that prints digests gets one row per digest, as `--digests` does.
pub fn rows(image: &ImageSummary, asked: &str, digests: bool, options: Options) -> Vec<Value> {
    let is_none = |names: &[String], none: &str| names.is_empty() || names == [none];
    let dangling =
        is_none(&image.repo_tags, "<none>:<none>") && is_none(&image.repo_digests, "<none>@<none>");
    if dangling {
        return vec![row(image, [NONE, NONE, NONE], options)];
    }
    let (order, mut names) = names(image);
    let all_digests = digests || asked.contains("{{.Digest}}");
    let mut rows = Vec::new();
    for repository in &order {
        let Some((tags, known)) = names.remove(repository) else {
            continue;
        };
        let known = known.iter().map(String::as_str);
        if tags.is_empty() {
            // Known by its digest only.
            if digests {
                rows.extend(known.map(|digest| row(image, [repository, NONE, digest], options)));
            } else {
                rows.push(row(image, [repository, NONE, ""], options));
            }
            continue;
        }
        let mut shown: Vec<&str> = known.filter(|_| all_digests).collect();
        if shown.is_empty() {
            shown.push(NONE);
        }
        for tag in &tags {
            let mut with = shown
                .iter()
                .map(|digest| [repository, tag.as_str(), digest]);
            rows.extend(with.by_ref().map(|name| row(image, name, options)));
        }
    }
    rows
}

type Names = BTreeMap<String, (Vec<String>, Vec<String>)>;

/// The repositories of an image in the order of their first name, and the tags and digests of each.
fn names(image: &ImageSummary) -> (Vec<String>, Names) {
    let mut order = Vec::new();
    let mut names = Names::new();
    for name in image.repo_tags.iter().chain(&image.repo_digests) {
        let Ok(reference) = Reference::parse(name) else {
            continue;
        };
        let repository = reference.familiar_name();
        if !names.contains_key(&repository) {
            order.push(repository.clone());
        }
        let (tags, digests) = names.entry(repository).or_default();
        if let Some(digest) = reference.digest {
            digests.push(digest.to_string());
        } else if let Some(tag) = reference.tag {
            tags.push(tag);
        }
    }
    (order, names)
}

/// Returns one row; `name` is repository, tag and digest.
pub fn row(image: &ImageSummary, name: [&str; 3], options: Options) -> Value {
    let created = Timestamp::from_second(image.created).unwrap_or(Timestamp::UNIX_EPOCH);
    let id = if options.whole {
        &image.id
    } else {
        human::text::short_id(&image.id)
    };
    let counted = |bytes: i64| match bytes {
        -1 => "N/A".to_owned(),
        bytes => human::size::bytes_decimal(bytes),
    };
    let unique = match (image.size, image.shared_size) {
        (-1, _) | (_, -1) => "N/A".to_owned(),
        (size, shared) => human::size::bytes_decimal(size - shared),
    };
    let containers = match image.containers {
        -1 => "N/A".to_owned(),
        count => count.to_string(),
    };
    let [repository, tag, digest] = name;
    let values = vec![
        text(id),
        text(repository),
        text(tag),
        text(digest),
        text(human::time::ago(created, options.now)),
        local_time(created, options.created_at),
        text(human::size::bytes_short(image.size)),
        text(containers),
        text(human::size::bytes_decimal(image.size)),
        text(counted(image.shared_size)),
        text(unique),
    ];
    format::row(&LIST, "*formatter.imageContext", None, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageSummary {
        let digest = "a".repeat(64);
        ImageSummary {
            containers: -1,
            created: 1_763_633_472,
            id: "sha256:08b152afcfae220e9709f00767054b824361c742ea03a9fe936271ba520a0a4b"
                .to_owned(),
            repo_tags: vec![
                "nginx:latest".to_owned(),
                "mine:1.0".to_owned(),
                "nginx:1".to_owned(),
            ],
            repo_digests: vec![
                format!("nginx@sha256:{digest}"),
                format!("other@sha256:{digest}"),
            ],
            shared_size: -1,
            size: 133_000_000,
            ..ImageSummary::default()
        }
    }

    fn check(image: &ImageSummary, digests: bool, asked: &str, want: &str) {
        let options = Options {
            now: Timestamp::from_second(1_763_633_472 + 259_200).unwrap(),
            whole: false,
            created_at: true,
        };
        let list = if digests { LIST_WITH_DIGESTS } else { LIST };
        let asked = with_digests(asked, digests);
        let rows = rows(image, &asked, digests, options);
        let got = list.format(&asked, false).unwrap().render(COLUMNS, &rows);
        assert_eq!(got.unwrap(), want, "{asked}");
    }

    #[test]
    fn one_row_per_tag() {
        check(
            &image(),
            false,
            "",
            "REPOSITORY   TAG       IMAGE ID       CREATED      SIZE\n\
             nginx        latest    08b152afcfae   3 days ago   133MB\n\
             nginx        1         08b152afcfae   3 days ago   133MB\n\
             mine         1.0       08b152afcfae   3 days ago   133MB\n\
             other        <none>    08b152afcfae   3 days ago   133MB\n",
        );
    }

    #[test]
    fn digests_and_dangling_images() {
        let a = "a".repeat(64);
        check(
            &image(),
            true,
            "{{.Repository}} {{.Tag}} {{.Digest}}",
            &format!(
                "nginx latest sha256:{a}\nnginx 1 sha256:{a}\nmine 1.0 <none>\nother <none> sha256:{a}\n"
            ),
        );
        check(
            &image(),
            false,
            "{{.Repository}} {{.Tag}} {{.Digest}}",
            &format!(
                "nginx latest sha256:{a}\nnginx 1 sha256:{a}\nmine 1.0 <none>\nother <none> \n"
            ),
        );
        let dangling = ImageSummary {
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            ..image()
        };
        check(
            &dangling,
            true,
            "table {{.Repository}}\\t{{.Tag}}",
            "REPOSITORY   TAG       DIGEST\n<none>       <none>    <none>\n",
        );
        check(
            &dangling,
            false,
            "{{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{.VirtualSize}}",
            "N/A N/A N/A 133MB\n",
        );
    }
}

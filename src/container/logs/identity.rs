//! What a log says of its container: its tag, and attributes that the user wants.

use anyhow::Result;

use super::Attributes;
use super::options::Wanted;
use crate::container::{Record, short};
use crate::error;

/// The tag of drivers that always have one.
pub const DEFAULT_TAG: &str = "{{.ID}}";

/// The facts that logs may tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without `/`.
    pub name: String,
    /// Digest of the image's configuration.
    pub image_id: String,
    /// The image as the user wrote it.
    pub image_name: String,
    /// Metadata.
    pub labels: Attributes,
    /// `NAME=VALUE`
    pub env: Vec<String>,
}

/// A field of a tag's template, and what it stands for.
type Field = (&'static str, fn(&Identity) -> String);

const FIELDS: &[Field] = &[
    ("ID", |identity| short(&identity.id).to_owned()),
    ("FullID", |identity| identity.id.clone()),
    ("Name", |identity| identity.name.clone()),
    ("ImageID", |identity| {
        short(hex(&identity.image_id)).to_owned()
    }),
    ("ImageFullID", |identity| identity.image_id.clone()),
    ("ImageName", |identity| identity.image_name.clone()),
    ("DaemonName", |_| "docker".to_owned()),
];

fn hex(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, hex)| hex)
}

impl Identity {
    /// Returns what is known of a container.
    pub fn of(record: &Record) -> Identity {
        Identity {
            id: record.id.clone(),
            name: record.name.clone(),
            image_id: record.image.to_string(),
            image_name: record.config.image.clone(),
            labels: record.config.labels.clone(),
            env: record.config.env.clone().unwrap_or_default(),
        }
    }

    /// Returns what the template of a tag makes of it; an empty template is [`DEFAULT_TAG`].
    pub fn tag(&self, template: &str) -> Result<String> {
        let template = if template.is_empty() {
            DEFAULT_TAG
        } else {
            template
        };
        expand(template, &mut |field| {
            let known = FIELDS.iter().find(|(name, _)| *name == field);
            known.map(|(_, value)| value(self))
        })
    }

    /// Returns the attributes that are wanted; a tag is one only if it was asked for.
    pub fn attributes(&self, wanted: &Wanted) -> Result<Attributes> {
        let mut found = Attributes::new();
        let fits = |pattern: &Option<regex::Regex>, name: &str| {
            pattern
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(name))
        };
        for (name, value) in &self.labels {
            if wanted.labels.contains(name) || fits(&wanted.labels_pattern, name) {
                found.insert(name.clone(), value.clone());
            }
        }
        for variable in &self.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            if wanted.env.iter().any(|wanted| wanted == name) || fits(&wanted.env_pattern, name) {
                found.insert(name.to_owned(), value.to_owned());
            }
        }
        if !wanted.tag.is_empty() {
            found.insert("tag".to_owned(), self.tag(&wanted.tag)?);
        }
        Ok(found)
    }
}

/// Refuses a template with something else than fields in it; the error is of kind `Invalid`.
pub fn check_tag(template: &str) -> Result<()> {
    Identity::default().tag(template).map(drop)
}

fn expand(template: &str, value: &mut dyn FnMut(&str) -> Option<String>) -> Result<String> {
    let wrong = |why: String| error::invalid(format!("invalid tag {template:?}: {why}"));
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((action, after)) = after.split_once("}}") else {
            return Err(wrong("{{ without }}".to_owned()));
        };
        let action = action.trim();
        let Some(field) = action.strip_prefix('.') else {
            return Err(wrong(format!("{action:?} is no field")));
        };
        let text = value(field).ok_or_else(|| wrong(format!("there is no field .{field}")))?;
        out.push_str(&text);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            id: "0123456789ab".repeat(5) + "0123",
            name: "web".to_owned(),
            image_id: format!("sha256:{}", "f".repeat(64)),
            image_name: "nginx:1".to_owned(),
            labels: [
                ("a".to_owned(), "1".to_owned()),
                ("team.x".to_owned(), "2".to_owned()),
            ]
            .into(),
            env: vec![
                "A=b=c".to_owned(),
                "PATH=/bin".to_owned(),
                "EMPTY".to_owned(),
            ],
        }
    }

    #[test]
    fn tags_are_templates() {
        let check =
            |template: &str, want: &str| assert_eq!(identity().tag(template).unwrap(), want);
        check("", "0123456789ab");
        check(
            "{{.ImageName}}/{{ .Name }}/{{.ID}}",
            "nginx:1/web/0123456789ab",
        );
        check("{{.ImageID}} {{.DaemonName}}", "ffffffffffff docker");
        check("plain", "plain");
        assert!(check_tag("{{.Name").is_err());
        assert!(check_tag("{{if .Name}}x{{end}}").is_err());
    }

    #[test]
    fn attributes_are_those_that_are_wanted() {
        let wanted = Wanted {
            labels: vec!["a".to_owned()],
            labels_pattern: Some(regex::Regex::new("^team").unwrap()),
            env: vec!["A".to_owned(), "EMPTY".to_owned()],
            tag: "{{.Name}}".to_owned(),
            ..Wanted::default()
        };
        let found = identity().attributes(&wanted).unwrap();
        let pairs: Vec<String> = found
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(pairs, ["A=b=c", "EMPTY=", "a=1", "tag=web", "team.x=2"]);
        assert!(
            identity()
                .attributes(&Wanted::default())
                .unwrap()
                .is_empty()
        );
    }
}

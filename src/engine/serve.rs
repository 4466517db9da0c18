//! The image store as a registry that can be read: which image a name of the protocol means, and its content.
//!
//! ```text
//! docker.io/library/busybox:1          is asked for as library/busybox, or busybox
//! registry.example.com/team/app:2      as team/app, and with ?ns=registry.example.com if several registries have one
//! ```

use std::collections::BTreeSet;

use anyhow::Result;
use oci_spec::image::Digest;

use super::Engine;
use crate::error;
use crate::image::layers::{self, Backing};
use crate::image::transfer::{self, Transfer};
use crate::image::{Image, Images, blobs};
use crate::oci::digest;
use crate::oci::reference::{DEFAULT_REGISTRY, Reference};
use crate::registry::server::{self, Answer, Body, Content, Question, Refusal, Route};

const CONFIG: &str = "application/octet-stream";
const EMPTY_INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Answers what somebody asks the registry.
pub fn answer(engine: &Engine, question: &Question) -> Result<Answer> {
    let images = &engine.images;
    let namespace = question.namespace.as_str();
    Ok(match &question.route {
        Route::Base => bytes("application/json", b"{}".to_vec()),
        Route::Catalog(page) => {
            let names: BTreeSet<String> = names(images)?
                .into_iter()
                .map(|(name, _)| name.repository)
                .collect();
            let names: Vec<String> = names.into_iter().collect();
            Answer::Content(server::list(
                "/v2/_catalog",
                "repositories",
                None,
                &names,
                page,
            ))
        }
        Route::Tags(name, page) => {
            let tags: BTreeSet<String> = (named(images, name, namespace)?.into_iter())
                .filter_map(|(reference, _)| reference.tag)
                .collect();
            if tags.is_empty() {
                return Ok(unknown(name));
            }
            let tags: Vec<String> = tags.into_iter().collect();
            let path = format!("/v2/{name}/tags/list");
            Answer::Content(server::list(&path, "tags", Some(name), &tags, page))
        }
        Route::Manifest(name, reference) => manifest(images, (name, namespace), reference)?,
        Route::Blob(name, digest) => {
            if named(images, name, namespace)?.is_empty() {
                return Ok(unknown(name));
            }
            match blob(images, digest)? {
                Some(body) => content(CONFIG, Some(digest.clone()), body),
                None => missing("BLOB_UNKNOWN", "blob unknown to registry".to_owned()),
            }
        }
        Route::Referrers(name, _) => {
            if named(images, name, namespace)?.is_empty() {
                return Ok(unknown(name));
            }
            bytes(
                "application/vnd.oci.image.index.v1+json",
                EMPTY_INDEX.as_bytes().to_vec(),
            )
        }
    })
}

fn content(media_type: &str, digest: Option<Digest>, body: Body) -> Answer {
    Answer::Content(Content {
        media_type: media_type.to_owned(),
        digest,
        next: None,
        body,
    })
}

fn bytes(media_type: &str, bytes: Vec<u8>) -> Answer {
    content(media_type, None, Body::Bytes(bytes))
}

fn missing(code: &'static str, message: impl Into<String>) -> Answer {
    Answer::Refused(Refusal::missing(code, message))
}

fn unknown(name: &str) -> Answer {
    missing(
        "NAME_UNKNOWN",
        format!("repository name not known to registry: {name}"),
    )
}

/// Returns all names with a tag, and their images.
fn names(images: &Images) -> Result<Vec<(Reference, Image)>> {
    let mut names = Vec::new();
    for image in images.list()? {
        for reference in &image.references {
            names.push((reference.clone(), image.clone()));
        }
    }
    Ok(names)
}

/// Returns the names that `name` may mean: those of one registry, which `namespace` may tell.
fn named(images: &Images, name: &str, namespace: &str) -> Result<Vec<(Reference, Image)>> {
    let official = format!("library/{name}");
    let means = |reference: &Reference| {
        let hub = reference.registry == DEFAULT_REGISTRY;
        reference.repository == name || (hub && reference.repository == official)
    };
    let mut all = names(images)?;
    all.retain(|(reference, _)| means(reference));
    // Docker Hub's first, as everywhere, and then in the order of the alphabet.
    let rank = |registry: &str| {
        (
            registry != namespace,
            registry != DEFAULT_REGISTRY,
            registry.to_owned(),
        )
    };
    let chosen = all
        .iter()
        .map(|(reference, _)| reference.registry.clone())
        .min_by_key(|registry| rank(registry));
    all.retain(|(reference, _)| Some(&reference.registry) == chosen.as_ref());
    Ok(all)
}

fn manifest(images: &Images, (name, namespace): (&str, &str), reference: &str) -> Result<Answer> {
    let named = named(images, name, namespace)?;
    if named.is_empty() {
        return Ok(unknown(name));
    }
    let unknown_manifest = || {
        missing(
            "MANIFEST_UNKNOWN",
            format!("manifest unknown: {name} {reference}"),
        )
    };
    if let Ok(wanted) = digest::parse(reference) {
        for (_, image) in named {
            let transfer = transfer::of_image(images, &image)?;
            if *transfer.manifest.digest() == wanted {
                return Ok(document(transfer));
            }
        }
        return Ok(unknown_manifest());
    }
    let found = named
        .iter()
        .find(|(known, _)| known.tag.as_deref() == Some(reference));
    Ok(match found {
        Some((_, image)) => document(transfer::of_image(images, image)?),
        None => unknown_manifest(),
    })
}

fn document(transfer: Transfer) -> Answer {
    let media_type = transfer.manifest.media_type().to_string();
    let digest = transfer.manifest.digest().clone();
    content(
        &media_type,
        Some(digest),
        Body::Bytes(transfer.raw_manifest),
    )
}

/// Returns the bytes of a blob: as they are stored, or as the directory of a committed layer gives them.
fn blob(images: &Images, digest: &Digest) -> Result<Option<Body>> {
    match blobs::open(images, digest) {
        Ok(file) => {
            let size = file.metadata()?.len();
            return Ok(Some(Body::File(file, size)));
        }
        Err(error) if error::is(&error, error::Kind::NotFound) => {}
        Err(error) => return Err(error),
    }
    let meta = match layers::meta(images, digest) {
        Ok(meta) if meta.backing == Backing::Tree => meta,
        Ok(_) => return Ok(None),
        Err(error) if error::is(&error, error::Kind::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = meta.tar_size;
    let images = images.clone();
    let write =
        move |output: &mut dyn std::io::Write| layers::write(&images, &meta, output).map(drop);
    Ok(Some(Body::Stream(Box::new(write), size)))
}

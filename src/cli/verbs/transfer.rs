//! `export`, `import`, `save` and `load`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::engine;
use crate::cli::command::{self, Context};
use crate::cli::commands::transfer::{ExportArgs, ImportArgs, LoadArgs, SaveArgs};
use crate::cli::face::Failed;
use crate::cli::progress::{Display, To};
use crate::cli::{interrupt, output};
use crate::docker::progress::Progress;
use crate::engine::{Engine, files, images, registries};
use crate::error;
use crate::image::Image;
use crate::image::archive::import::{self, ImportOptions};
use crate::image::archive::load::{self, LoadOptions};
use crate::image::archive::save::{self, Selected};
use crate::oci::reference::Reference;
use crate::registry::download::{self, Download};

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 256 << 10;
/// How often it is shown how far something is.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Does `what` with an `object`: gives `write` where to write: standard output, or a file that is there only if all of it could be written.
fn to(
    path: Option<&Path>,
    (what, object): (&str, &str),
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<(), Failed> {
    let Some(path) = path else {
        if std::io::stdout().is_terminal() {
            let why =
                format!("cowardly refusing to {what} to a terminal. Use the -o flag or redirect");
            return Err(Failed::from(error::invalid(why)));
        }
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, output::stdout());
        return write(&mut out)
            .and_then(|()| out.flush().context("write to stdout"))
            .map_err(Failed::engine);
    };
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    if !dir.is_dir() {
        let why = format!(
            "failed to {what} {object}: invalid output path: stat {}: no such file or directory",
            dir.display()
        );
        return Err(Failed::from(error::invalid(why)));
    }
    if path.is_dir() {
        let why = format!("failed to {what} {object}: cannot write to a directory");
        return Err(Failed::from(error::invalid(why)));
    }
    // A device or pipe is written to as it is.
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        let file = File::options()
            .write(true)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
        return write(&mut BufWriter::with_capacity(BUFFER_BYTES, file)).map_err(Failed::engine);
    }
    let temporary = dir.join(format!(".{}.tmp", crate::store::unique()));
    // What is in it may be nobody else's business.
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(|| format!("create {}", path.display()))?;
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
    let written = write(&mut file)
        .and_then(|()| {
            file.flush()
                .with_context(|| format!("write {}", path.display()))
        })
        .and_then(|()| {
            std::fs::rename(&temporary, path).with_context(|| format!("write {}", path.display()))
        });
    if written.is_err()
        && let Err(error) = std::fs::remove_file(&temporary)
    {
        tracing::warn!("remove {}: {error}", temporary.display());
    }
    written.map_err(Failed::engine)
}

/// `export`
pub fn export(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ExportArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    to(arguments.output.file(), ("export", "container"), |out| {
        files::export(&engine, &container, out)
    })?;
    Ok(0)
}

/// `save`
pub fn save(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: SaveArgs = command::arguments(matches)?;
    let platform = super::pull::platform(&arguments.platform)?;
    let engine = engine(context)?;
    to(arguments.output.file(), ("save", "image"), |out| {
        for image in &arguments.images {
            images::on_platform(&engine, image, platform.as_ref())?;
        }
        let selected = save::select(&engine.images, &arguments.images)?;
        save::save(&engine.images, &selected, out)?;
        for Selected { image, .. } in &selected {
            images::report(&engine, "save", image.id.as_ref(), image.id.as_ref());
        }
        Ok(())
    })?;
    Ok(0)
}

/// `load`
pub fn load(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: LoadArgs = command::arguments(matches)?;
    let input = match &arguments.input {
        Some(path) => File::open(path).map_err(|error| open_error(path, &error))?,
        None if std::io::stdin().is_terminal() => {
            return Err(Failed::from(error::invalid(
                "requested load from stdin, but stdin is empty",
            )));
        }
        None => std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .context("read standard input")?
            .into(),
    };
    let platform = super::pull::platform(&arguments.platform)?;
    let engine = engine(context)?;
    let loaded = load::load_file(
        &engine.images,
        input,
        &LoadOptions { platform },
        &mut |_| {},
    )
    .map_err(Failed::engine)?;
    for image in &loaded {
        let Some(reference) = &image.reference else {
            output::out(&format!("Loaded image ID: {}\n", image.id))?;
            images::report(&engine, "load", image.id.as_ref(), image.id.as_ref());
            continue;
        };
        let name = reference.familiar();
        if let Some(replaced) = &image.replaced {
            output::out(&format!(
                "The image {name} already exists, renaming the old one with ID {replaced} to empty string\n"
            ))?;
        }
        output::out(&format!("Loaded image: {name}\n"))?;
        images::report(&engine, "load", image.id.as_ref(), image.id.as_ref());
    }
    Ok(0)
}

/// Go's words for a file that cannot be opened.
fn open_error(path: &Path, error: &std::io::Error) -> Failed {
    let why = error::text(error);
    Failed::from(error::invalid(format!("open {}: {why}", path.display())))
}

/// `import`
pub fn import(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ImportArgs = command::arguments(matches)?;
    let source = arguments.arguments.first().map_or("", String::as_str);
    let reference = match arguments.arguments.get(1) {
        Some(text) => Some(Reference::parse(text)?.or_latest()),
        None => None,
    };
    let is_address = source.starts_with("http://") || source.starts_with("https://");
    let input: Option<File> = match source {
        _ if is_address => None,
        "-" => {
            let input = std::io::stdin().as_fd().try_clone_to_owned();
            Some(input.context("read standard input")?.into())
        }
        path => Some(File::open(path).map_err(|error| open_error(Path::new(path), &error))?),
    };
    let platform = super::pull::platform_or_default(&arguments.platform).map_err(Failed::engine)?;
    let mut options = ImportOptions {
        reference,
        message: arguments.message,
        // As docker has it: its client sends the file, so the daemon sees a stream.
        source: "-".to_owned(),
        changes: arguments.change,
        platform,
        created: None,
    };
    let engine = engine(context)?;
    let image = match input {
        Some(input) => import::import(&engine.images, input, &options).map_err(Failed::engine)?,
        None => import_from(&engine, source, &mut options)?,
    };
    if let Some(name) = &options.reference {
        images::report(&engine, "tag", image.id.as_ref(), &name.familiar());
    }
    images::report(&engine, "import", image.id.as_ref(), image.id.as_ref());
    output::out(&format!("{}\n", image.id))?;
    Ok(0)
}

/// Imports what lies at an address, which the image then tells of.
fn import_from(engine: &Engine, url: &str, options: &mut ImportOptions) -> Result<Image, Failed> {
    let access = registries::access(engine)?;
    interrupt::guard(&access.cancel, || {
        let Download {
            name,
            size,
            content,
        } = download::open(url, &access.settings, &access.cancel)?;
        let mut display = Display::new(To::Stdout);
        let text = format!("Downloading from {name}");
        display.show(&Progress::note("", text));
        options.source = name;
        let watched = Watched {
            content,
            at: 0,
            size,
            shown: Instant::now(),
            display,
        };
        import::import(&engine.images, watched, options)
    })
}

/// What comes in, and how far it is.
struct Watched {
    content: Box<dyn Read + Send>,
    at: u64,
    size: u64,
    shown: Instant,
    display: Display,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.at += count as u64;
        if count == 0 || self.shown.elapsed() >= SHOW_EVERY {
            self.shown = Instant::now();
            let line = Progress::note("", "Importing").at(self.at, self.size);
            self.display.show(&line);
        }
        Ok(count)
    }
}

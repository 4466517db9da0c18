//! Arguments of the commands that move files and archives: cp, export, import, save, load.

use std::path::{Path, PathBuf};

use clap::Args;

use super::spec;
use crate::cli::command::{Arguments, Spec};
use crate::cli::values;

/// Arguments of `cp`.
#[derive(Args, Clone, Debug, Default)]
pub struct CpArgs {
    /// Into a container, give the files to its user; out of one, keep their owners' numbers
    #[arg(short, long)]
    pub archive: bool,
    /// Copy what a symbolic link points to
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Do not show how it goes on
    #[arg(short, long)]
    pub quiet: bool,
    /// `container:path`, a path, or `-` for a tar archive on stdin.
    #[arg(hide = true)]
    pub source: String,
    /// `container:path`, a path, or `-` for a tar archive on stdout.
    #[arg(hide = true)]
    pub destination: String,
}

/// `--output`
#[derive(Args, Clone, Debug, Default)]
pub struct OutputArgs {
    /// Write to a file instead of stdout
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true,
        value_parser = values::path
    )]
    pub output: PathBuf,
}

impl OutputArgs {
    /// Returns the file; nothing for stdout.
    pub fn file(&self) -> Option<&Path> {
        Some(self.output.as_path()).filter(|path| !path.as_os_str().is_empty())
    }
}

/// Arguments of `export`.
#[derive(Args, Clone, Debug, Default)]
pub struct ExportArgs {
    /// Where to.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Name or id.
    #[arg(hide = true)]
    pub container: String,
}

/// Arguments of `import`.
#[derive(Args, Clone, Debug, Default)]
pub struct ImportArgs {
    /// Change the image by an instruction of a Dockerfile
    #[arg(short, long, value_name = "list")]
    pub change: Vec<String>,
    /// What to say of the image
    #[arg(
        short,
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub message: String,
    /// The platform of the image (linux/arm64)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub platform: String,
    /// Source, then the name of the image; docker ignores anything after that.
    #[arg(hide = true)]
    pub arguments: Vec<String>,
}

/// Arguments of `save`.
#[derive(Args, Clone, Debug, Default)]
pub struct SaveArgs {
    /// Where to.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Save the image for this platform only (linux/arm64)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub platform: String,
    /// Names or ids.
    #[arg(hide = true)]
    pub images: Vec<String>,
}

/// Arguments of `load`.
#[derive(Args, Clone, Debug, Default)]
pub struct LoadArgs {
    /// Read a file instead of stdin
    #[arg(short, long, value_name = "string")]
    pub input: Option<PathBuf>,
    /// Load the image for this platform only (linux/arm64)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub platform: String,
    /// Do not show how it goes on
    #[arg(short, long)]
    pub quiet: bool,
}

/// `cp`
pub const CP: Spec = Spec {
    about: "Copy files between a container and the host",
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    paths: &["container cp", "cp"],
    arguments: Arguments::Exactly(2),
    ..spec("cp", CpArgs::augment_args)
};

/// `export`
pub const EXPORT: Spec = Spec {
    about: "Write a container's filesystem as a tar archive",
    usage: "[OPTIONS] CONTAINER",
    paths: &["container export", "export"],
    arguments: Arguments::Exactly(1),
    ..spec("export", ExportArgs::augment_args)
};

/// `import`
pub const IMPORT: Spec = Spec {
    about: "Make an image from a tar archive of a filesystem",
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    paths: &["image import", "import"],
    arguments: Arguments::AtLeast(1),
    ..spec("import", ImportArgs::augment_args)
};

/// `save`
pub const SAVE: Spec = Spec {
    about: "Write images with all their layers as a tar archive",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    paths: &["image save", "save"],
    arguments: Arguments::AtLeast(1),
    ..spec("save", SaveArgs::augment_args)
};

/// `load`
pub const LOAD: Spec = Spec {
    about: "Read images from a tar archive",
    paths: &["image load", "load"],
    ..spec("load", LoadArgs::augment_args)
};

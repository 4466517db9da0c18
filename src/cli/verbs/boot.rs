//! `system boot`, and the hint that somebody has to call it.

use std::path::Path;

use super::engine;
use crate::cli::command::Context;
use crate::cli::face::Failed;
use crate::cli::output;
use crate::docker::container::RestartPolicy;
use crate::engine::boot;

/// The unit that calls it, as `contrib/` has it.
const UNIT: &str = "aril.service";
/// Where systemd keeps what is enabled.
const UNITS: &str = "/etc/systemd/system";

/// `system boot`
pub fn run(context: &Context, _: &clap::ArgMatches) -> Result<u8, Failed> {
    let engine = engine(context)?;
    let booted = boot::boot(&engine).map_err(Failed::engine)?;
    for name in &booted.started {
        output::out(&format!("{name}\n"))?;
    }
    let failures = booted
        .failed
        .into_iter()
        .map(|(name, error)| Failed::engine(error.context(format!("start container {name}"))));
    Failed::all(failures.collect())?;
    Ok(0)
}

/// Says that a policy has no effect after a boot as long as nobody calls `system boot`.
pub(crate) fn hint(context: &Context, policy: &RestartPolicy) {
    let starts = matches!(
        policy.name.as_str(),
        "always" | "unless-stopped" | "on-failure"
    );
    if !context.face.hints || !starts || is_enabled(Path::new(UNITS)) {
        return;
    }
    output::err(&format!(
        "hint: after a reboot the container starts again only if {UNIT} is enabled: systemctl enable {UNIT}\n"
    ));
}

/// Returns whether any target wants the unit.
fn is_enabled(units: &Path) -> bool {
    let entries = std::fs::read_dir(units).into_iter().flatten().flatten();
    let mut targets = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().ends_with(".wants")
    });
    targets.any(|target| target.path().join(UNIT).symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enabled_unit_is_found() {
        let dir = std::env::temp_dir().join(format!("aril-boot-{}", crate::store::unique()));
        let wants = dir.join("multi-user.target.wants");
        std::fs::create_dir_all(&wants).unwrap();
        assert!(!is_enabled(&dir));
        std::os::unix::fs::symlink("/nowhere", wants.join(UNIT)).unwrap();
        assert!(is_enabled(&dir));
        assert!(!is_enabled(&dir.join("missing")));
        std::fs::remove_dir_all(dir).unwrap();
    }
}

//! `--health-*`: how to see whether a program is well.

use anyhow::Result;

use crate::cli::values;
use crate::error;
use crate::oci::image::Healthcheck;

/// Options of the health check; what is not given is the image's.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthFlags {
    /// Command that fails when the program is not well
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub health_cmd: String,
    /// Time between two checks (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = values::duration, default_value = "0s", hide_default_value = true)]
    pub health_interval: i64,
    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub health_retries: i64,
    /// Time between two checks while it starts (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = values::duration, default_value = "0s", hide_default_value = true)]
    pub health_start_interval: i64,
    /// How long failures do not count after the start (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = values::duration, default_value = "0s", hide_default_value = true)]
    pub health_start_period: i64,
    /// Longest time of one check (ms|s|m|h)
    #[arg(long, value_name = "duration", value_parser = values::duration, default_value = "0s", hide_default_value = true)]
    pub health_timeout: i64,
    /// Do not check, whatever the image says
    #[arg(long)]
    pub no_healthcheck: bool,
}

/// Returns the health check that is asked for, if any; errors are of kind `Invalid`.
pub fn healthcheck(flags: &HealthFlags) -> Result<Option<Healthcheck>> {
    let given = *flags
        != HealthFlags {
            no_healthcheck: flags.no_healthcheck,
            ..HealthFlags::default()
        };
    if flags.no_healthcheck {
        if given {
            let why = "--no-healthcheck conflicts with --health-* options";
            return Err(error::invalid(why));
        }
        return Ok(Some(Healthcheck {
            test: Some(vec!["NONE".to_owned()]),
            ..Healthcheck::default()
        }));
    }
    if !given {
        return Ok(None);
    }
    for (value, option) in [
        (flags.health_interval, "--health-interval"),
        (flags.health_timeout, "--health-timeout"),
        (flags.health_retries, "--health-retries"),
        (flags.health_start_period, "--health-start-period"),
        (flags.health_start_interval, "--health-start-interval"),
    ] {
        if value < 0 {
            return Err(error::invalid(format!("{option} cannot be negative")));
        }
    }
    let command = &flags.health_cmd;
    let test = (!command.is_empty()).then(|| vec!["CMD-SHELL".to_owned(), command.clone()]);
    Ok(Some(Healthcheck {
        test,
        interval: flags.health_interval,
        timeout: flags.health_timeout,
        start_period: flags.health_start_period,
        start_interval: flags.health_start_interval,
        retries: flags.health_retries,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks() {
        let none = HealthFlags::default();
        assert_eq!(healthcheck(&none).unwrap(), None);
        let interval = HealthFlags {
            health_interval: 1_000_000_000,
            ..none.clone()
        };
        let got = healthcheck(&interval).unwrap().unwrap();
        assert_eq!((got.test, got.interval), (None, 1_000_000_000));
        let command = HealthFlags {
            health_cmd: "test -f /ok".to_owned(),
            health_retries: 2,
            ..none.clone()
        };
        let got = healthcheck(&command).unwrap().unwrap();
        assert_eq!(got.test.unwrap(), ["CMD-SHELL", "test -f /ok"]);
        let off = HealthFlags {
            no_healthcheck: true,
            ..none.clone()
        };
        assert_eq!(healthcheck(&off).unwrap().unwrap().test.unwrap(), ["NONE"]);
        let both = HealthFlags {
            no_healthcheck: true,
            ..command
        };
        assert_eq!(
            healthcheck(&both).unwrap_err().to_string(),
            "--no-healthcheck conflicts with --health-* options"
        );
        let negative = HealthFlags {
            health_start_period: -1,
            ..none
        };
        assert_eq!(
            healthcheck(&negative).unwrap_err().to_string(),
            "--health-start-period cannot be negative"
        );
    }
}

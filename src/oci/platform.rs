//! Platforms (image-spec image-index.md) and which of several fits a machine best.

use std::fmt;

use anyhow::Result;
use oci_spec::image::Descriptor;

use crate::error;
use crate::oci::image::ImageConfig;

/// Operating system, architecture and its variant, in the names of Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// `v7`; empty if there is only one, or for the oldest.
    pub variant: String,
}

/// What one word alone may mean besides an operating system.
const ARCHITECTURES: [&str; 12] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x",
];

impl Platform {
    /// Returns this machine's.
    pub fn host() -> Platform {
        let (architecture, variant) = super::image::host_architecture();
        let variant = match architecture {
            "amd64" => amd64_level(),
            _ => variant.unwrap_or_default(),
        };
        normal("linux", architecture, variant)
    }

    /// Reads `OS/ARCHITECTURE[/VARIANT]`, or one of both alone, as people write it (`linux/arm64`, `amd64`, `aarch64`).
    ///
    /// Errors are of kind `Invalid`.
    pub fn parse(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        let host = Platform::host();
        match parts.as_slice() {
            parts if !parts.iter().all(word) => {}
            [os @ ("linux" | "windows" | "darwin" | "freebsd")] => {
                return Ok(normal(os, &host.architecture, &host.variant));
            }
            [architecture] => {
                let known = normal("linux", architecture, "");
                if ARCHITECTURES.contains(&known.architecture.as_str()) {
                    return Ok(known);
                }
                return Err(error::invalid(format!(
                    "{text:?}: unknown operating system or architecture: invalid argument"
                )));
            }
            [os, architecture] => return Ok(normal(os, architecture, "")),
            [os, architecture, variant] => return Ok(normal(os, architecture, variant)),
            _ => {}
        }
        Err(error::invalid(format!(
            "{text:?}: cannot parse platform specifier: invalid argument"
        )))
    }

    /// Returns how well `other` runs here, the lower the better; nothing if it does not.
    pub fn fit(&self, other: &Platform) -> Option<u32> {
        let level = |variant: &str| -> Option<u32> {
            let digits = variant.trim_start_matches('v');
            digits.split('.').next()?.parse().ok()
        };
        if self.os != other.os {
            return None;
        }
        match (self.architecture.as_str(), other.architecture.as_str()) {
            // The 32-bit programs of the same processor, when there is nothing else.
            ("amd64", "386") => Some(100),
            ("arm64", "arm") => Some(100 + 8 - level(&other.variant).unwrap_or(7).min(8)),
            (own, theirs) if own != theirs => None,
            ("amd64", _) => {
                let (own, theirs) = (level(&self.variant).unwrap_or(1), level(&other.variant));
                own.checked_sub(theirs.unwrap_or(1))
            }
            ("arm" | "arm64", _) => {
                let oldest = if self.architecture == "arm" { 7 } else { 8 };
                let own = level(&self.variant).unwrap_or(oldest);
                own.checked_sub(level(&other.variant).unwrap_or(oldest))
            }
            _ if self.variant == other.variant => Some(0),
            _ => other.variant.is_empty().then_some(1),
        }
    }

    /// Returns whether an image is for this architecture, and runs on it.
    pub fn has(&self, config: &ImageConfig) -> bool {
        let variant = config.variant.as_deref().unwrap_or_default();
        let found = normal(&config.os, &config.architecture, variant);
        found.architecture == self.architecture && self.fit(&found).is_some()
    }

    /// Returns which of `descriptors` fits best, the first of equals; one without a platform fits when nothing else does.
    /// Attestations, which have the platform `unknown/unknown`, never do.
    pub fn best<'d>(&self, descriptors: &'d [Descriptor]) -> Option<&'d Descriptor> {
        let fits = descriptors.iter().filter_map(|descriptor| {
            let fit = match descriptor.platform() {
                Some(platform) => self.fit(&normal(
                    &platform.os().to_string(),
                    &platform.architecture().to_string(),
                    platform.variant().as_deref().unwrap_or_default(),
                ))?,
                None => u32::MAX,
            };
            Some((fit, descriptor))
        });
        fits.min_by_key(|(fit, _)| *fit).map(|(_, found)| found)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            return Ok(());
        }
        write!(f, "/{}", self.variant)
    }
}

/// Brings the names that people and old images use to those of the specification.
fn normal(os: &str, architecture: &str, variant: &str) -> Platform {
    let architecture = architecture.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant) {
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
        ("aarch64" | "arm64", "v8" | "8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        (architecture, variant) => (architecture, variant),
    };
    Platform {
        os: os.to_ascii_lowercase(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
    }
}

/// The micro-architecture level of the x86-64 psABI that this processor has.
#[cfg(target_arch = "x86_64")]
fn amd64_level() -> &'static str {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("popcnt") && has!("sse3") && has!("sse4.1") && has!("sse4.2") && has!("ssse3");
    let v3 = v2
        && has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe");
    let v4 = v3
        && has!("avx512f")
        && has!("avx512bw")
        && has!("avx512cd")
        && has!("avx512dq")
        && has!("avx512vl");
    match (v4, v3, v2) {
        (true, ..) => "v4",
        (_, true, _) => "v3",
        (.., true) => "v2",
        _ => "",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn amd64_level() -> &'static str {
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_to_those_of_the_spec() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                Platform::parse(text).unwrap().to_string(),
                expected,
                "{text}"
            );
        };
        check("linux/amd64", "linux/amd64");
        check("Linux/x86_64", "linux/amd64");
        check("amd64", "linux/amd64");
        check("linux/aarch64", "linux/arm64");
        check("linux/arm64/v8", "linux/arm64");
        check("linux/arm", "linux/arm/v7");
        check("linux/arm/v6", "linux/arm/v6");
        check("linux/i686", "linux/386");
        check("windows/amd64", "windows/amd64");
        for bad in ["", "a/b/c/d", "linux/", "linux/a b"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_best_one_is_taken() {
        let order = |host: &str, expected: &[&str], never: &[&str]| {
            let host = Platform::parse(host).unwrap();
            let fit = |text: &&str| host.fit(&Platform::parse(text).unwrap());
            let fits: Vec<_> = expected.iter().map(|text| fit(text).unwrap()).collect();
            assert!(fits.is_sorted_by(|a, b| a < b), "{host}: {fits:?}");
            assert!(never.iter().all(|text| fit(text).is_none()), "{host}");
        };
        order(
            "linux/amd64/v3",
            &[
                "linux/amd64/v3",
                "linux/amd64/v2",
                "linux/amd64",
                "linux/386",
            ],
            &["linux/amd64/v4", "linux/arm64", "windows/amd64"],
        );
        order(
            "linux/amd64",
            &["linux/amd64", "linux/386"],
            &["linux/amd64/v2"],
        );
        order(
            "linux/arm64",
            &["linux/arm64", "linux/arm/v7", "linux/arm/v6"],
            &["linux/arm64/v9", "linux/amd64"],
        );
        order(
            "linux/arm/v6",
            &["linux/arm/v6", "linux/arm/v5"],
            &["linux/arm/v7"],
        );
        order("linux/s390x", &["linux/s390x"], &["linux/amd64"]);
    }
}

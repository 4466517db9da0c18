//! Names for containers that were given none, and what a name may be.

use anyhow::Result;

use crate::error;

/// First halves.
const ADJECTIVES: &[&str] = &[
    "able", "adaptive", "agile", "airy", "amber", "ample", "apt", "artful", "astute", "balanced",
    "blithe", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid", "careful", "cheery",
    "civil", "clear", "clever", "cordial", "cosmic", "crisp", "curious", "dapper", "daring",
    "deft", "dewy", "diligent", "dreamy", "eager", "earnest", "earthy", "easy", "elated",
    "elegant", "epic", "fair", "fearless", "festive", "fleet", "fluent", "fond", "frank", "free",
    "fresh", "frosty", "genial", "gentle", "gleeful", "golden", "graceful", "grand", "hardy",
    "hearty", "honest", "humble", "jolly", "jovial", "keen", "kind", "lively", "loyal", "lucid",
    "lucky", "mellow", "merry", "mighty", "mild", "modest", "moonlit", "neat", "nimble", "noble",
    "patient", "peaceful", "plucky", "polite", "prompt", "proud", "quick", "quiet", "radiant",
    "ready", "robust", "rosy", "serene", "sharp", "silent", "simple", "sincere", "sleek", "smart",
    "snug", "sober", "sound", "spry", "stable", "steady", "stellar", "still", "sturdy", "subtle",
    "sunny", "swift", "tender", "thrifty", "tidy", "tranquil", "trusty", "upbeat", "valiant",
    "vivid", "warm", "wary", "wise", "witty", "zesty",
];

/// Second halves: people who found or made something.
const SURNAMES: &[&str] = &[
    "abel",
    "agnesi",
    "aiken",
    "allen",
    "ampere",
    "archimedes",
    "aryabhata",
    "avogadro",
    "babbage",
    "backus",
    "banach",
    "banneker",
    "bardeen",
    "bartik",
    "becquerel",
    "bell",
    "bernoulli",
    "berzelius",
    "bessel",
    "bhabha",
    "bohr",
    "boole",
    "borel",
    "born",
    "bose",
    "boyle",
    "bragg",
    "brahe",
    "brahmagupta",
    "brattain",
    "burnell",
    "cannon",
    "cantor",
    "carnot",
    "carson",
    "cauchy",
    "cavendish",
    "celsius",
    "chadwick",
    "chandra",
    "chebyshev",
    "cocks",
    "codd",
    "conway",
    "copernicus",
    "coulomb",
    "cray",
    "crick",
    "curie",
    "dalton",
    "darwin",
    "davinci",
    "davy",
    "dedekind",
    "descartes",
    "diffie",
    "dijkstra",
    "dirac",
    "doppler",
    "doudna",
    "easley",
    "eckert",
    "edison",
    "einstein",
    "elion",
    "engelbart",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fibonacci",
    "fleming",
    "floyd",
    "fourier",
    "franklin",
    "fresnel",
    "galileo",
    "galois",
    "gauss",
    "geiger",
    "germain",
    "gibbs",
    "goedel",
    "goldberg",
    "goldwasser",
    "goodall",
    "hamilton",
    "hamming",
    "hardy",
    "hawking",
    "heisenberg",
    "hellman",
    "helmholtz",
    "herschel",
    "hertz",
    "hilbert",
    "hoare",
    "hodgkin",
    "hooke",
    "hopper",
    "hubble",
    "huffman",
    "huygens",
    "hypatia",
    "iverson",
    "jacobi",
    "jemison",
    "jennings",
    "johnson",
    "joliot",
    "joule",
    "kalam",
    "kay",
    "kelvin",
    "kepler",
    "kernighan",
    "khayyam",
    "khorana",
    "kilby",
    "kirchhoff",
    "kleene",
    "knuth",
    "kolmogorov",
    "kowalevski",
    "lagrange",
    "lamarr",
    "lamport",
    "landau",
    "laplace",
    "lavoisier",
    "leavitt",
    "leibniz",
    "linnaeus",
    "liskov",
    "lorentz",
    "lovelace",
    "lumiere",
    "mach",
    "markov",
    "matsumoto",
    "maxwell",
    "mayer",
    "mccarthy",
    "mcclintock",
    "meitner",
    "mendel",
    "mendeleev",
    "merkle",
    "michelson",
    "milner",
    "minsky",
    "mirzakhani",
    "moore",
    "morse",
    "napier",
    "nash",
    "neumann",
    "newton",
    "nightingale",
    "nobel",
    "noether",
    "ohm",
    "oppenheimer",
    "papert",
    "pascal",
    "pasteur",
    "pauli",
    "payne",
    "perlman",
    "planck",
    "poincare",
    "poisson",
    "ptolemy",
    "pythagoras",
    "raman",
    "ramanujan",
    "rayleigh",
    "riemann",
    "ritchie",
    "roentgen",
    "rubin",
    "rutherford",
    "sagan",
    "sammet",
    "schroedinger",
    "shamir",
    "shannon",
    "shockley",
    "sinoussi",
    "stokes",
    "stroustrup",
    "sutherland",
    "swartz",
    "tarjan",
    "tesla",
    "tharp",
    "thompson",
    "torvalds",
    "turing",
    "vaughan",
    "villani",
    "volta",
    "wallace",
    "watt",
    "weyl",
    "wien",
    "wiles",
    "williams",
    "wirth",
    "wozniak",
    "wright",
    "wu",
    "yalow",
    "yonath",
    "zeno",
    "zuse",
];

/// Returns a name for attempt number `attempt` (from 0) out of 64 random bits; from the second attempt on it ends in a digit.
pub fn generate(random: u64, attempt: u32) -> String {
    let pick = |list: &[&'static str], random: u64| {
        let index = usize::try_from(random % list.len() as u64).unwrap_or_default();
        list[index]
    };
    let name = format!(
        "{}_{}",
        pick(ADJECTIVES, random),
        pick(SURNAMES, random >> 16)
    );
    if attempt == 0 {
        name
    } else {
        format!("{name}{}", (random >> 32) % 10)
    }
}

/// Returns whether `name` is `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn is_valid(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Refuses a name that is not valid, with docker's text; the error is of kind `Invalid`.
pub fn validate(name: &str) -> Result<()> {
    if is_valid(name) {
        return Ok(());
    }
    let allowed = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed";
    Err(error::invalid(format!(
        "Invalid container name ({name}), {allowed}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_valid() {
        for random in 0..2000_u64 {
            let random = random.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            assert!(is_valid(&generate(random, 0)));
            assert!(generate(random, 1).ends_with(|c: char| c.is_ascii_digit()));
        }
    }

    #[test]
    fn names_that_could_be_paths_or_options_are_refused() {
        for bad in ["", "a", "-a", ".a", "a b", "a/b", "..", "é1", "_x", "a\n"] {
            assert!(validate(bad).is_err(), "{bad}");
        }
        for good in ["ab", "a.b-c_d", "0x", "A9"] {
            assert!(validate(good).is_ok(), "{good}");
        }
    }
}

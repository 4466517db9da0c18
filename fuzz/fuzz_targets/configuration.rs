//! A config.json of runtime-spec, as far as the plan of a container.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| aril::runtime::properties::configuration(text));

//! A seccomp profile, as far as the program for the kernel, which is run on some calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| aril::runtime::properties::seccomp_profile(text));

//! The options of a mount, separated by commas.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let options: Vec<String> = text.split(',').map(str::to_owned).collect();
    aril::runtime::properties::mount_options(&options);
});

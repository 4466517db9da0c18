//! Arguments of `--publish`, `--publish-rm` and `--expose`, separated by blanks.
#![no_main]

use aril::cli::flags::ports::{Exposed, expose, publish, published};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if let Ok((exposed, bindings)) = publish(&arguments) {
        assert!(bindings.keys().eq(exposed.keys()));
    }
    drop(published(&arguments));
    let mut exposed = Exposed::new();
    for argument in &arguments {
        drop(expose(argument, &mut exposed));
    }
});

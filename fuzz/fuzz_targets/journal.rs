//! The journal and the manifest of a folder that somebody else may have written.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else {
        return Corpus::Reject;
    };
    merganser::fuzzing::journal(text);
    Corpus::Keep
});

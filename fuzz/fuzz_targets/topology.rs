//! Topology files. One that is taken is the same when it is written and read again.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use merganser::{ErrorKind, Topology};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else {
        return Corpus::Reject;
    };
    match Topology::from_toml(text) {
        Ok(topology) => {
            let again = Topology::from_toml(&topology.to_toml()).expect("what was written");
            assert_eq!(again, topology);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Config),
    }
    Corpus::Keep
});

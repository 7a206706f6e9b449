//! The descriptor of a partition, as a reader is given it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| merganser::fuzzing::descriptor(input));

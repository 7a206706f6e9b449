//! What a server shows as its certificate.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| merganser::fuzzing::certificate(input));

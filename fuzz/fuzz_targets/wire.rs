//! What a server sends, in pieces of any size.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| merganser::fuzzing::wire(input));

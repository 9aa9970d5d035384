//! Arbitrary bytes for `fuzz::sealed_note`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sealed_note(bytes));

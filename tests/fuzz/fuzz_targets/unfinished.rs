//! Arbitrary bytes for `fuzz::unfinished`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::unfinished(bytes));

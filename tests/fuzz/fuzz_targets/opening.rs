//! Arbitrary bytes for `fuzz::opening`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::opening(bytes));

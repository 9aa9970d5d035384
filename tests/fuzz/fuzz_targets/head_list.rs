//! Arbitrary bytes for `fuzz::head_list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::head_list(bytes));

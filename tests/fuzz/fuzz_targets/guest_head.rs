#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rumi_fuzz::guest_head(bytes));

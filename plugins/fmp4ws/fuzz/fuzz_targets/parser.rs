#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fmp4ws_fuzz::mp4::fuzz::parser(data));

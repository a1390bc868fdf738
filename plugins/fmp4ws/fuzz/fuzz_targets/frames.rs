#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gstfmp4ws::mp4::fuzz::frames(data));

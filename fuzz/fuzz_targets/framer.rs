//! See `frame_in_any_pieces` in `properties.rs`.
#![no_main]

#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::frame_in_any_pieces(bytes));

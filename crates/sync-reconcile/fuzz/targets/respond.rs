#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sync_reconcile_fuzz::respond(input));

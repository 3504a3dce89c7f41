#![no_main]

use std::panic::set_hook;

libfuzzer_sys::fuzz_target!(
    // libFuzzer's hook aborts on every panic, but our reader catches those of the parquet crate. A panic that leaves the
    // target still ends the process.
    init: set_hook(Box::new(|_| {})),
    |data: &[u8]| {
        fuzz_targets::parquet(data);
    }
);

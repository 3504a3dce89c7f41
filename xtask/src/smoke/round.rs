//! The steps of a smoke test and their results.

use crate::steps::format_duration;
use crate::stop;
use anyhow::Result;
use std::process::ExitCode;
use std::time::Instant;

/// Counts of passed and failed steps.
#[derive(Default)]
pub(super) struct Round {
    passed: u32,
    failed: u32,
}

impl Round {
    /// Runs one step and prints one line: the text that the step returns, or its error. Later steps run in any case.
    pub(super) fn step(&mut self, name: &str, step: impl FnOnce() -> Result<String>) {
        if stop::requested() {
            return;
        }
        let began = Instant::now();
        let result = step();
        let time = format_duration(began.elapsed());
        match result {
            Ok(seen) => {
                self.passed += 1;
                println!("ok      {time:>8}  {name}: {seen}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {time:>8}  {name}: {error:#}");
            }
        }
    }

    /// Prints the counts.
    pub(super) fn finish(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

//! Prints each step of a command with its duration, and a summary at the end.

use anyhow::Result;
use std::time::{Duration, Instant};

/// The finished steps of a command.
pub(crate) struct Steps {
    began: Instant,
    finished: Vec<Step>,
}

struct Step {
    name: String,
    duration: Duration,
    ok: bool,
}

impl Steps {
    /// Starts the clock of the total.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), finished: Vec::new() }
    }

    /// Runs one step and prints its outcome and duration.
    pub(crate) fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("==> {name}");
        let began = Instant::now();
        let result = step();
        let duration = began.elapsed();
        match &result {
            Ok(_) => println!("    {name}: ok ({})", format_duration(duration)),
            Err(error) => println!("    {name}: failed ({}): {error:#}", format_duration(duration)),
        }
        self.finished.push(Step { name: name.to_owned(), duration, ok: result.is_ok() });
        result
    }

    /// Prints one line per step, and the total.
    pub(crate) fn print_summary(&self) {
        println!();
        for Step { name, duration, ok } in &self.finished {
            println!("{:>8}  {}  {name}", format_duration(*duration), if *ok { "ok    " } else { "FAILED" });
        }
        println!("{:>8}  total", format_duration(self.began.elapsed()));
    }
}

/// `12.3 s` below a minute, `2m05s` from there on.
pub(crate) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0}m{:02.0}s", (seconds / 60.0).floor(), (seconds % 60.0).floor())
    }
}

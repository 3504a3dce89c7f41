//! Prints each step with its duration, and a summary of them all.

use anyhow::Result;
use std::time::{Duration, Instant};

/// The steps taken so far.
pub(crate) struct Steps {
    began: Instant,
    taken: Vec<(String, Duration, bool)>,
}

impl Steps {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), taken: Vec::new() }
    }

    /// Takes one step and says how it went.
    pub(crate) fn take<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("==> {name}");
        let began = Instant::now();
        let result = step();
        let duration = began.elapsed();
        match &result {
            Ok(_) => println!("    {name}: ok ({})", seconds(duration)),
            Err(error) => println!("    {name}: failed ({}): {error:#}", seconds(duration)),
        }
        self.taken.push((name.to_owned(), duration, result.is_ok()));
        result
    }

    /// One line per step, and the sum.
    pub(crate) fn print_summary(&self) {
        println!();
        for (name, duration, ok) in &self.taken {
            println!("{:>8}  {}  {name}", seconds(*duration), if *ok { "ok    " } else { "FAILED" });
        }
        println!("{:>8}  in all", seconds(self.began.elapsed()));
    }
}

/// A duration for people.
pub(crate) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0}m{:02.0}s", (seconds / 60.0).floor(), (seconds % 60.0).floor())
    }
}

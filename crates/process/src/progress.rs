//! Progress bars with the latest values, samples per second and the time left. Without a terminal, a line every 30
//! seconds.

use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Weight of the previous average in a displayed moving average.
const SMOOTHING: f64 = 0.95;
/// Time between lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// A progress bar.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// Moving averages of the values to display, by name.
    averages: BTreeMap<String, f64>,
    samples: f64,
    started: Instant,
    /// When the last line was written without a terminal.
    last_line: Instant,
}

impl Progress {
    /// A bar of `steps` steps.
    #[must_use]
    pub fn new(name: &str, steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template(
            "{prefix} {bar:24} {pos}/{len} {elapsed_precise}<{eta_precise} {msg}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self {
            bar,
            averages: BTreeMap::new(),
            samples: 0.0,
            started: Instant::now(),
            last_line: Instant::now(),
        }
    }

    /// Sets the position of a resumed run, without counting earlier steps as progress.
    pub fn start_at(&self, step: u64) {
        self.bar.set_position(step);
        self.bar.reset_eta();
    }

    /// Counts a step. `values` are displayed as moving averages; `samples` is the number of images of this step.
    pub fn step(&mut self, values: &[(&str, f64)], samples: f64) {
        self.samples += samples;
        for &(name, value) in values {
            let average = self.averages.entry(name.to_owned()).or_insert(value);
            *average = SMOOTHING * *average + (1.0 - SMOOTHING) * value;
        }
        self.bar.inc(1);
        let elapsed = self.started.elapsed().as_secs_f64().max(1e-9);
        let mut message: Vec<String> = self.averages.iter().map(|(k, v)| format!("{k} {v:.4}")).collect();
        message.push(format!("{:.1} samples/s", self.samples / elapsed));
        self.bar.set_message(message.join(" · "));
        self.line_if_hidden();
    }

    /// Sets the position.
    pub fn reach(&mut self, done: u64) {
        self.bar.set_position(done);
        self.line_if_hidden();
    }

    /// Without a terminal, writes the bar as a line, at most one per interval.
    fn line_if_hidden(&mut self) {
        if self.bar.is_hidden() && self.last_line.elapsed() > LINE_INTERVAL {
            self.last_line = Instant::now();
            self.note("");
        }
    }

    /// Writes a line above the bar; without a terminal, after what the bar would display.
    pub fn note(&self, line: &str) {
        if self.bar.is_hidden() {
            let of = self.bar.length().unwrap_or(0);
            eprintln!("{} {}/{of} {} {line}", self.bar.prefix(), self.bar.position(), self.bar.message());
        } else {
            self.bar.println(line);
        }
    }

    /// Ends the bar and leaves it visible.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}

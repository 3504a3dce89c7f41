//! What a run shows in a terminal: a bar with its latest values, images per second and the time left. Where
//! there is no terminal, a line now and then.

use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Share of the old value in a shown average.
const SMOOTHING: f64 = 0.95;
/// Time between lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(30);

/// A bar for a run in a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    shown: BTreeMap<String, f64>,
    samples: f64,
    begun: Instant,
    spoke: Instant,
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
        Self { bar, shown: BTreeMap::new(), samples: 0.0, begun: Instant::now(), spoke: Instant::now() }
    }

    /// Begins in the middle, as a resumed run does.
    pub fn start_at(&self, step: u64) {
        self.bar.set_position(step);
        self.bar.reset_eta();
    }

    /// One step more, with values to show (smoothed) and the images it took.
    pub fn step(&mut self, values: &[(&str, f64)], samples: f64) {
        self.samples += samples;
        for &(name, value) in values {
            let shown = self.shown.entry(name.to_owned()).or_insert(value);
            *shown = SMOOTHING * *shown + (1.0 - SMOOTHING) * value;
        }
        self.bar.inc(1);
        let elapsed = self.begun.elapsed().as_secs_f64().max(1e-9);
        let mut message: Vec<String> = self.shown.iter().map(|(k, v)| format!("{k} {v:.4}")).collect();
        message.push(format!("{:.1} samples/s", self.samples / elapsed));
        self.bar.set_message(message.join(" · "));
        self.note_now_and_then();
    }

    /// So many are done, where single ones are not worth telling.
    pub fn reach(&mut self, done: u64) {
        self.bar.set_position(done);
        self.note_now_and_then();
    }

    /// Where there is no terminal, the bar as a line, unless one was written a moment ago.
    fn note_now_and_then(&mut self) {
        if self.bar.is_hidden() && self.spoke.elapsed() > PAUSE {
            self.spoke = Instant::now();
            self.note("");
        }
    }

    /// A line above the bar; where there is no terminal, with what the bar would show.
    pub fn note(&self, line: &str) {
        if self.bar.is_hidden() {
            let of = self.bar.length().unwrap_or(0);
            eprintln!("{} {}/{of} {} {line}", self.bar.prefix(), self.bar.position(), self.bar.message());
        } else {
            self.bar.println(line);
        }
    }

    /// Leaves the bar as it is.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}

//! `metrics.jsonl` in a run's folder: one line per step with the values of all metrics.

use anyhow::{Context, Result};
use files::write_atomically;
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The metrics of a run, open for appending.
pub(super) struct MetricsFile(File);

impl MetricsFile {
    /// Opens the file of a run that starts after `step`. Lines of later steps are removed: a process that was killed
    /// may have written metrics of steps that the resumed run repeats, and an incomplete last line.
    pub(super) fn open(run: &Path, step: u32) -> Result<Self> {
        let file = run.join("metrics.jsonl");
        let old = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let is_kept = |line: &&str| {
            let point: Option<Value> = serde_json::from_str(line).ok();
            point.and_then(|point| point["step"].as_u64()).is_some_and(|at| at <= u64::from(step))
        };
        let kept: String = old.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect();
        if kept != old {
            write_atomically(&file, kept.as_bytes())?;
        }
        let open = File::options().append(true).create(true).open(&file);
        Ok(Self(open.with_context(|| format!("cannot write {}", file.display()))?))
    }

    pub(super) fn append(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".to_owned(), step.into());
        line.extend(metrics.iter().map(|&(name, value)| (name.to_owned(), value.into())));
        Ok(writeln!(self.0, "{}", Value::Object(line))?)
    }
}

//! `metrics.jsonl` in a run's folder: one line per step with the values of all metrics.

use anyhow::{Context, Result};
use domain::run::MetricPoint;
use files::write_atomically;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The metrics of a run, open for appending.
#[derive(Debug)]
pub struct MetricsFile(File);

impl MetricsFile {
    /// Opens the file of a run that starts after `step`. Lines of later steps are removed: a process that was killed
    /// may have written metrics of steps that the resumed run repeats, and an incomplete last line.
    ///
    /// # Errors
    /// Fails if the file cannot be read or written.
    pub fn open(run: &Path, step: u32) -> Result<Self> {
        let file = path(run);
        let old = text(&file)?;
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

    /// Appends the line of a step.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn append(&mut self, step: u32, metrics: &[(&'static str, f64)]) -> Result<()> {
        Ok(self.0.write_all(line(i64::from(step), metrics.iter().copied()).as_bytes())?)
    }
}

/// The points of a run's curves, in order of step; none without a file. An incomplete last line, which a running or
/// killed process leaves, is skipped.
///
/// # Errors
/// Fails if the file cannot be read, or with the number of a line that is not an object with a step and numbers.
pub fn read(run: &Path) -> Result<Vec<MetricPoint>> {
    let file = path(run);
    let text = text(&file)?;
    let mut points = Vec::new();
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if !line.ends_with('\n') {
            break;
        }
        let parsed = points_of(line);
        points.extend(parsed.with_context(|| {
            format!("{}: line {number} is not a JSON object with \"step\" and numbers", file.display())
        })?);
    }
    Ok(points)
}

/// Writes the points of a run's curves.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write(run: &Path, points: &[MetricPoint]) -> Result<()> {
    let mut steps: BTreeMap<i64, Vec<(&str, f64)>> = BTreeMap::new();
    for point in points {
        steps.entry(point.step).or_default().push((&point.name, point.value));
    }
    let text: String = steps.into_iter().map(|(step, metrics)| line(step, metrics.into_iter())).collect();
    Ok(write_atomically(&path(run), text.as_bytes())?)
}

fn path(run: &Path) -> PathBuf {
    run.join("metrics.jsonl")
}

fn text(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        outcome => outcome.with_context(|| format!("cannot read {}", file.display())),
    }
}

fn line<'a>(step: i64, metrics: impl Iterator<Item = (&'a str, f64)>) -> String {
    let mut line = Map::new();
    line.insert("step".to_owned(), step.into());
    line.extend(metrics.map(|(name, value)| (name.to_owned(), value.into())));
    format!("{}\n", Value::Object(line))
}

/// The points of a line; `None` if it has another form. A value that was not finite is null, and read as NaN.
fn points_of(line: &str) -> Option<Vec<MetricPoint>> {
    let mut values: Map<String, Value> = serde_json::from_str(line).ok()?;
    let step = values.remove("step")?.as_i64()?;
    let number = |value: Value| if value.is_null() { Some(f64::NAN) } else { value.as_f64() };
    values.into_iter().map(|(name, value)| Some(MetricPoint { name, step, value: number(value)? })).collect()
}

#[cfg(test)]
mod tests {
    use super::{MetricsFile, read, write};
    use std::fs;
    use std::path::Path;

    #[test]
    fn points_are_read_back_as_they_were_written() {
        let run = tempfile::tempdir().expect("a folder");
        assert_eq!(read(run.path()).expect("no file"), []);
        let mut file = MetricsFile::open(run.path(), 0).expect("opens");
        for step in 1..=3 {
            let loss = 1.0 / f64::from(step);
            file.append(step, &[("loss", loss), ("grad_norm", f64::NAN)]).expect("written");
        }
        // As text, because NaN does not equal itself.
        let read = |folder: &Path| {
            let points = read(folder).expect("points");
            let mut texts: Vec<_> =
                points.into_iter().map(|p| format!("{} {} {}", p.name, p.step, p.value)).collect();
            texts.sort();
            texts
        };
        let third = format!("loss 3 {}", 1.0 / 3.0);
        let expected = [
            "grad_norm 1 NaN",
            "grad_norm 2 NaN",
            "grad_norm 3 NaN",
            "loss 1 1",
            "loss 2 0.5",
            third.as_str(),
        ];
        assert_eq!(read(run.path()), expected);
        let copy = tempfile::tempdir().expect("a folder");
        write(copy.path(), &super::read(run.path()).expect("points")).expect("written");
        assert_eq!(read(copy.path()), expected);
        // A run that resumes after step 1 removes the later lines.
        MetricsFile::open(run.path(), 1).expect("opens");
        assert_eq!(read(run.path()), ["grad_norm 1 NaN", "loss 1 1"]);
    }

    #[test]
    fn a_damaged_line_is_named_and_an_incomplete_last_one_skipped() {
        let run = tempfile::tempdir().expect("a folder");
        let file = run.path().join("metrics.jsonl");
        fs::write(&file, "{\"step\": 1, \"loss\": 2}\n{\"step\": 2, \"lo").expect("written");
        assert_eq!(read(run.path()).expect("one line").len(), 1);
        fs::write(&file, "{\"step\": 1, \"loss\": 2}\n{\"step\": 2, \"loss\": \"x\"}\n").expect("written");
        assert!(format!("{:#}", read(run.path()).expect_err("damaged")).contains("line 2"));
    }
}

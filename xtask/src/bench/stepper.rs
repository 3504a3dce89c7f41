//! A program that performs one step for each line `step` on its standard input.

use crate::stop;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The cost of one step.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) peak_bytes: f64,
}

/// The running program. It exits when its standard input closes, which happens on drop.
pub(super) struct Stepper {
    pub(super) name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// The number that the last step computed, where both programs compute the same one.
    pub(super) result: Option<f64>,
}

impl Stepper {
    /// Starts the program and waits for its line `ready`.
    pub(super) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the program has no standard output")?);
        let mut stepper = Self { name, child, input, output, result: None };
        let first = stepper.line()?;
        ensure!(first == "ready", "{name} printed {first:?} instead of `ready`");
        Ok(stepper)
    }

    /// Runs one step. The program answers with `SECONDS PEAK_BYTES` and optionally a result.
    pub(super) fn step(&mut self) -> Result<Measured> {
        if stop::requested() {
            bail!("stopped");
        }
        let input = self.input.as_mut().context("the program has no standard input")?;
        writeln!(input, "step").with_context(|| format!("starting a step of {}", self.name))?;
        let line = self.line()?;
        let mut numbers = line.split_whitespace().map(str::parse::<f64>);
        let measured = (numbers.next(), numbers.next());
        self.result = numbers.next().transpose().ok().flatten();
        match measured {
            (Some(Ok(seconds)), Some(Ok(peak_bytes))) => Ok(Measured { seconds, peak_bytes }),
            _ => bail!("{} printed {line:?} instead of seconds and bytes", self.name),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line)?;
        ensure!(read > 0, "{} exited early; its error is printed above", self.name);
        Ok(line.trim().to_owned())
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        self.input = None;
        self.child.wait().ok();
    }
}

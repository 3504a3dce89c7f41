//! A server or worker in the background, with its output in a log file.

use crate::process::{command_line, terminate};
use anyhow::{Context, Result, bail};
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Lines of the log that an error quotes.
const QUOTED_LINES: usize = 10;

/// A running program. Dropping it terminates the program and waits for its exit.
pub(crate) struct Background {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Background {
    /// Starts the program in its own process group, so that Ctrl-C reaches xtask alone, which then stops its programs
    /// in order. Output is appended to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log);
        let output = output.with_context(|| format!("opening {}", log.display()))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", command_line(command)))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// Fails if the program has exited; the error quotes the end of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n");
        bail!("the {} exited with {status}; the end of {}:\n{end}", self.name, self.log.display());
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

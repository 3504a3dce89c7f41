//! Runs child processes. A stop request (see `stop`) terminates the child and waits for it, so that none outlives xtask.

use crate::stop::{self, POLL};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between SIGTERM and SIGKILL. A worker finishes its training step and saves its state within it.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Prints a command and runs it with its output on the terminal. Fails unless it exits with status 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    println!("    $ {line}");
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {line}"))?;
    let status = wait(&mut child)?;
    if status.success() { Ok(()) } else { bail!("{line} failed with {status}") }
}

/// Prints a command, runs it and passes each line of its standard output to `on_line`.
pub(crate) fn run_lines(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<ExitStatus> {
    let line = command_line(command);
    println!("    $ {line}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {line}"))?;
    let output = child.stdout.take().context("the child has no standard output")?;
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    while let Some(line) = next_line(&mut child, &lines)? {
        on_line(&line);
    }
    reader.join().ok();
    wait(&mut child)
}

/// `None` after the last line.
fn next_line(child: &mut Child, lines: &Receiver<String>) -> Result<Option<String>> {
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => return Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if stop::requested() => {
                terminate(child);
                bail!("stopped");
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Runs a command silently and returns its standard output. The error of a failed command holds its standard error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {line}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{line} failed with {}: {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits for a child. On a stop request the child is terminated and the wait fails.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            if stop::requested() {
                bail!("stopped");
            }
            return Ok(status);
        }
        if stop::requested() {
            terminate(child);
            bail!("stopped");
        }
        sleep(POLL);
    }
}

/// Sends SIGTERM, and SIGKILL after a timeout. Returns when the child has exited.
pub(crate) fn terminate(child: &mut Child) {
    let deadline = Instant::now() + TERMINATION_TIMEOUT;
    if let (Ok(None), Some(pid)) = (child.try_wait(), pid(child)) {
        // Fails only if the child has exited meanwhile.
        kill_process(pid, Signal::TERM).ok();
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            sleep(POLL);
        }
        child.kill().ok();
    }
    child.wait().ok();
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// The command as a user would type it, without the program's folder.
pub(crate) fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy();
    std::iter::once(name).chain(command.get_args().map(|a| a.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

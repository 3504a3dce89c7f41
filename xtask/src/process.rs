//! Child processes that never outlive us: a stop (Ctrl-C, SIGTERM) is a flag that every wait looks at, so that
//! what was started is asked to end, and waited for, before we end ourselves.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
const POLL: Duration = Duration::from_millis(50);
/// A worker may be in the middle of a step and then saves its state.
const PATIENCE: Duration = Duration::from_secs(60);

/// From now on Ctrl-C and SIGTERM set the flag instead of ending us.
pub(crate) fn listen_for_stop() -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&STOP)).context("listening for signals")?;
    }
    Ok(())
}

/// Whether we were asked to stop.
pub(crate) fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Waits for `duration`, or less if we are asked to stop, which is an error.
pub(crate) fn pause(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        if stop_requested() {
            bail!("stopped");
        }
        sleep(POLL.min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// Runs a command with our own output; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    println!("    $ {line}");
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {line}"))?;
    check(wait(&mut child)?, &line)
}

/// Runs a command, hands each line of its standard output to `on_line` and says how it ended.
pub(crate) fn run_lines(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<ExitStatus> {
    let line = shown(command);
    println!("    $ {line}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {line}"))?;
    let output = child.stdout.take().context("no standard output")?;
    let (sender, lines) = std::sync::mpsc::channel();
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

fn next_line(child: &mut Child, lines: &std::sync::mpsc::Receiver<String>) -> Result<Option<String>> {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => return Ok(Some(line)),
            Err(Disconnected) => return Ok(None),
            Err(Timeout) if stop_requested() => {
                stop(child);
                bail!("stopped");
            }
            Err(Timeout) => {}
        }
    }
}

/// Runs a command silently; its standard output on success, its last words on failure.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {line}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{line} ended with {}: {}", output.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A server or worker that runs beside us and is stopped when this is dropped.
pub(crate) struct Background {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Background {
    /// Starts it in a process group of its own, so that Ctrl-C reaches it through us, once and in order. What it
    /// prints goes to the end of the file `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log);
        let output = output.with_context(|| format!("opening {}", log.display()))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", shown(command)))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// An error if it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last_words = lines[lines.len().saturating_sub(10)..].join("\n");
        bail!("the {} ended with {status}; the end of {}:\n{last_words}", self.name, self.log.display());
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Waits for a child; when we are asked to stop, it is stopped and that is an error.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            if stop_requested() {
                bail!("stopped");
            }
            return Ok(status);
        }
        if stop_requested() {
            stop(child);
            bail!("stopped");
        }
        sleep(POLL);
    }
}

/// SIGTERM, patience, then the end. What cannot be signalled has already ended.
fn stop(child: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    if let (Ok(None), Some(pid)) = (child.try_wait(), pid(child)) {
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

fn check(status: ExitStatus, line: &str) -> Result<()> {
    if status.success() { Ok(()) } else { bail!("{line} ended with {status}") }
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy();
    std::iter::once(name).chain(command.get_args().map(|a| a.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

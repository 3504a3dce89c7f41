//! One bash that runs the command blocks of a page in order, as a reader's terminal does: variables, the folder and
//! background programs stay from block to block.

use std::fs;
use std::io::{BufRead, BufReader, Write, pipe};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest time that a block may take.
const LIMIT: Duration = Duration::from_secs(180);
/// How long background programs get to end before they are killed.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) struct Shell {
    bash: Child,
    input: ChildStdin,
    output: Receiver<String>,
    scripts: PathBuf,
    blocks: usize,
}

impl Shell {
    /// Starts bash in `folder`. Scripts are written into `scripts`.
    pub(crate) fn start(folder: &Path, scripts: &Path, variables: &[(&str, String)]) -> Self {
        fs::create_dir_all(scripts).expect("a folder");
        let (reader, writer) = pipe().expect("a pipe");
        let mut command = Command::new("bash");
        for (name, _) in std::env::vars_os() {
            // Settings of the programs come from the page alone.
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("HF_") || ["DATABASE_URL", "ACCESS_TOKEN", "DEVICE"].contains(&name.as_str())
            {
                command.env_remove(name);
            }
        }
        let mut bash = command
            .args(["--noprofile", "--norc"])
            .current_dir(folder)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer)
            .process_group(0)
            .spawn()
            .expect("bash");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let mut input = bash.stdin.take().expect("a pipe");
        writeln!(input, "set -eE -o pipefail").expect("bash reads");
        writeln!(input, "trap 'echo \"${{BASH_SOURCE[0]}}:$LINENO: exit status $?\"' ERR")
            .expect("bash reads");
        Self { bash, input, output, scripts: scripts.to_owned(), blocks: 0 }
    }

    /// Runs `text` and returns what it printed on both streams. `line` is the number of its first line in the page.
    ///
    /// # Errors
    /// Returns the output if a command fails or takes too long. The shell then cannot be used any more.
    pub(crate) fn run(&mut self, page: &str, line: usize, text: &str) -> Result<String, String> {
        self.blocks += 1;
        let end = format!("end of block {} ({})", self.blocks, std::process::id());
        // Empty lines before it, so that bash's messages have the page's line numbers.
        let script = self.scripts.join(page);
        fs::write(&script, "\n".repeat(line - 1) + text).expect("a script");
        let script = script.display();
        // Commands must not read the shell's own input.
        if writeln!(self.input, "source '{script}' < /dev/null; echo; echo '{end}'").is_err() {
            return Err("the shell has ended".to_owned());
        }
        let (began, mut printed) = (Instant::now(), String::new());
        loop {
            match self.output.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line == end => return Ok(printed),
                Ok(line) => {
                    printed += &line;
                    printed.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => return Err(printed),
                Err(RecvTimeoutError::Timeout) => {
                    if matches!(self.bash.try_wait(), Ok(Some(_))) {
                        return Err(printed);
                    }
                    if began.elapsed() > LIMIT {
                        return Err(format!("{printed}(not finished within {} s)\n", LIMIT.as_secs()));
                    }
                }
            }
        }
    }

    /// Sends a signal to bash and all programs that it started.
    fn signal(&self, signal: &str) -> bool {
        let group = format!("-{}", self.bash.id());
        let kill = Command::new("kill").args(["-s", signal, "--", &group]).stderr(Stdio::null()).status();
        kill.is_ok_and(|status| status.success())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.signal("TERM");
        let began = Instant::now();
        // Bash itself waits for its input and must be reaped, or else its group never ends.
        while self.bash.try_wait().is_ok_and(|ended| ended.is_none()) && began.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(50));
        }
        while self.signal("0") && began.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.signal("KILL");
        self.bash.wait().ok();
    }
}

#[test]
fn a_failure_has_the_line_of_its_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut shell = Shell::start(folder.path(), &folder.path().join("scripts"), &[]);
    let printed = shell.run("page.md", 7, "kept=1\nsleep 600 &\necho one\n").expect("no failure");
    assert!(printed.starts_with("one\n"), "{printed}");
    let printed = shell.run("page.md", 20, "echo $kept\ntrue\nfalse\necho after\n").expect_err("a failure");
    assert!(printed.starts_with("1\n") && printed.contains("page.md:22: exit status 1"), "{printed}");
    assert!(!printed.contains("after"), "{printed}");
    let began = Instant::now();
    drop(shell);
    assert!(began.elapsed() < GRACE, "the program in the background did not end");
}

//! The exit code of a program.

use anyhow::Result;
use std::backtrace::BacktraceStatus;
use std::process::ExitCode;

/// Turns the result of a program into its exit code. A failure is printed to standard error as one line that begins
/// with the program's name, followed by a backtrace if `RUST_BACKTRACE` is set.
#[must_use]
pub fn exit_code(program: &str, result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("{program}: {error:#}");
    if error.backtrace().status() == BacktraceStatus::Captured {
        eprintln!("{}", error.backtrace());
    }
    ExitCode::FAILURE
}

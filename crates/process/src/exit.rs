//! The exit code of a program.

use anyhow::Result;
use std::process::ExitCode;

/// Turns the result of a program into its exit code. A failure is printed to standard error as one line that begins
/// with the program's name. Errors are for the person who runs the program, so that no backtrace follows: panics have one.
#[must_use]
pub fn exit_code(program: &str, result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("{program}: {error:#}");
    ExitCode::FAILURE
}

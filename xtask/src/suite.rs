//! `cargo xtask test`: every check and every test, with the real Postgres and the real browser they need.

use crate::frontend::{self, BROWSER_HALF, Profile};
use crate::postgres::Postgres;
use crate::process;
use crate::steps::Steps;
use crate::system;
use crate::workspace::{Workspace, cargo};
use anyhow::{Result, bail, ensure};
use std::process::{Command, ExitCode};

/// What `test` is asked to do.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only one step (format, clippy, clippy-browser, bundle, tests), or only the tests of one crate.
    #[arg(long, value_name = "STEP or CRATE")]
    only: Option<String>,
}

const STEPS: [&str; 5] = ["format", "clippy", "clippy-browser", "bundle", "tests"];

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// `cargo xtask test`. A failed step does not stop the later ones: one run tells everything.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let only = options.only.as_deref();
    if let Some(name) = only {
        ensure!(
            STEPS.contains(&name) || workspace.crates().any(|c| c == name),
            "{name:?} is neither a step ({}) nor a crate ({})",
            STEPS.join(", "),
            workspace.crates().collect::<Vec<_>>().join(", ")
        );
    }
    let wanted = |step: &str| only.is_none_or(|name| name == step);
    let one_crate = only.filter(|name| !STEPS.contains(name));
    let tests_server = one_crate.is_none_or(|name| name == "server");

    let mut steps = Steps::new();
    let mut tally = Tally::default();
    if wanted("format") {
        note(&mut tally, steps.take("format", || format(&workspace)));
    }
    if wanted("clippy") {
        note(&mut tally, steps.take("clippy", || clippy(&workspace, &["--workspace", "--all-targets"])));
    }
    if wanted("clippy-browser") {
        note(&mut tally, steps.take("clippy-browser", || clippy(&workspace, &BROWSER_HALF)));
    }
    if wanted("bundle") || (tests_server && (one_crate.is_some() || wanted("tests"))) {
        note(&mut tally, steps.take("bundle", || frontend::build(&workspace, Profile::Dev)));
    }
    if wanted("tests") || one_crate.is_some() {
        let mut counted = Tally::default();
        let outcome = steps.take("tests", || tests(&workspace, one_crate, &mut counted));
        tally.passed += counted.passed;
        tally.failed += counted.failed;
        if counted.failed == 0 {
            note(&mut tally, outcome);
        }
    }
    steps.print_summary();
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A step that failed as a whole counts as one failure; its reason has been printed.
fn note(tally: &mut Tally, outcome: Result<()>) {
    tally.failed += u64::from(outcome.is_err());
}

fn format(workspace: &Workspace) -> Result<()> {
    system::toolchain_component("fmt", "rustfmt")?;
    process::run(cargo().current_dir(&workspace.root).args(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace, what: &[&str]) -> Result<()> {
    system::toolchain_component("clippy", "clippy")?;
    if what.contains(&"--target") {
        system::wasm_target()?;
    }
    process::run(
        cargo()
            .current_dir(&workspace.root)
            .args(["clippy", "--keep-going"])
            .args(what)
            .args(["--", "-D", "warnings"]),
    )
}

/// Runs the tests of one crate or of all, with what they need to be the real thing.
fn tests(workspace: &Workspace, one_crate: Option<&str>, counted: &mut Tally) -> Result<()> {
    let mut command: Command = cargo();
    command.current_dir(&workspace.root).args(["test", "--no-fail-fast"]);
    match one_crate {
        Some(name) => command.args(["-p", name]),
        None => command.arg("--workspace"),
    };
    // Lives until the tests have ended, however they end.
    let postgres = one_crate
        .is_none_or(|name| ["store", "server", "trainer"].contains(&name))
        .then(Postgres::start)
        .transpose()?;
    if let Some(postgres) = &postgres {
        command.env("TEST_POSTGRES_URL", &postgres.url);
    }
    if one_crate.is_none_or(|name| name == "server") {
        command.env("CHROMIUM", system::chromium()?);
    }
    if one_crate == Some("server") {
        // With all crates it is built for its own tests.
        let trainer = ["build", "--package", "trainer", "--bin", "diff-contrast-trainer"];
        process::run(cargo().current_dir(&workspace.root).args(trainer))?;
    }
    let status = process::run_lines(&mut command, |line| {
        println!("{line}");
        if let Some(Tally { passed, failed }) = result_line(line) {
            counted.passed += passed;
            counted.failed += failed;
        }
    })?;
    if !status.success() {
        bail!("cargo test ended with {status}");
    }
    ensure!(counted.passed > 0, "no test ran");
    Ok(())
}

/// Counts of a line like `test result: ok. 12 passed; 0 failed; 1 ignored; ...`.
fn result_line(line: &str) -> Option<Tally> {
    let counts = line.trim_start().strip_prefix("test result: ")?;
    let count = |word: &str| {
        let before = &counts[..counts.find(word)?];
        before.trim_end().rsplit(' ').next()?.parse().ok()
    };
    Some(Tally { passed: count(" passed;")?, failed: count(" failed;")? })
}

#[cfg(test)]
mod tests {
    use super::{Tally, result_line};

    #[test]
    fn counts_are_read_from_the_runners_own_words() {
        let ok =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(result_line(ok), Some(Tally { passed: 12, failed: 0 }));
        let bad = "test result: FAILED. 3 passed; 104 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s";
        assert_eq!(result_line(bad), Some(Tally { passed: 3, failed: 104 }));
        assert_eq!(result_line("test store::jobs ... ok"), None);
    }
}

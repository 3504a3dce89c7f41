//! `cargo xtask test`: all checks and all tests, with a real Postgres and a real browser.

use crate::frontend::{self, BROWSER_BUILD, Profile};
use crate::postgres::Postgres;
use crate::process;
use crate::steps::Steps;
use crate::system;
use crate::workspace::{Workspace, cargo};
use anyhow::{Result, bail, ensure};
use std::process::{Command, ExitCode};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run one step (format, deny, clippy, clippy-browser, bundle, tests), or the tests of one crate.
    #[arg(long, value_name = "STEP or CRATE")]
    only: Option<String>,
}

const STEPS: [&str; 6] = ["format", "deny", "clippy", "clippy-browser", "bundle", "tests"];

/// Checks pages for people who use them without a mouse or with little sight.
const AXE: &str = "axe-core@4.14.1";

/// The version of cargo-deny that is installed if there is none.
const CARGO_DENY: &str = "0.20.2";

/// Counts of tests. A step that fails as a whole counts as one failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// Later steps run even if a step fails.
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
        tally.add_step(&steps.run("format", || format(&workspace)));
    }
    if wanted("deny") {
        tally.add_step(&steps.run("deny", || deny(&workspace)));
    }
    if wanted("clippy") {
        tally.add_step(&steps.run("clippy", || clippy(&workspace, &["--workspace", "--all-targets"])));
    }
    if wanted("clippy-browser") {
        tally.add_step(&steps.run("clippy-browser", || clippy(&workspace, &BROWSER_BUILD)));
    }
    if wanted("bundle") || (tests_server && (one_crate.is_some() || wanted("tests"))) {
        tally.add_step(&steps.run("bundle", || frontend::build(&workspace, Profile::Small)));
    }
    if wanted("tests") || one_crate.is_some() {
        let mut counted = Tally::default();
        let outcome = steps.run("tests", || tests(&workspace, one_crate, &mut counted));
        tally.passed += counted.passed;
        tally.failed += counted.failed;
        if counted.failed == 0 {
            tally.add_step(&outcome);
        }
    }
    steps.print_summary();
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Tally {
    fn add_step(&mut self, outcome: &Result<()>) {
        self.failed += u64::from(outcome.is_err());
    }
}

fn format(workspace: &Workspace) -> Result<()> {
    system::toolchain_component("fmt", "rustfmt")?;
    process::run(cargo().current_dir(&workspace.root).args(["fmt", "--all", "--check"]))
}

/// Checks `Cargo.lock` against `deny.toml`. Advisories are left out: they need a download from GitHub.
fn deny(workspace: &Workspace) -> Result<()> {
    let program = system::cargo_tool(workspace, "cargo-deny", CARGO_DENY)?;
    process::run(
        Command::new(program)
            .current_dir(&workspace.root)
            .args(["--locked", "check", "licenses", "bans", "sources"]),
    )
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

/// Runs the tests of one crate or of all, with Postgres, browser and trainer where they need them.
fn tests(workspace: &Workspace, one_crate: Option<&str>, counted: &mut Tally) -> Result<()> {
    let mut command: Command = cargo();
    command.current_dir(&workspace.root).args(["test", "--no-fail-fast"]);
    match one_crate {
        Some(name) => command.args(["-p", name]),
        None => command.arg("--workspace"),
    };
    // Stops when it is dropped, at the end of this function.
    let postgres = one_crate
        .is_none_or(|name| ["store", "server", "trainer"].contains(&name))
        .then(Postgres::start)
        .transpose()?;
    if let Some(postgres) = &postgres {
        command.env("TEST_POSTGRES_URL", &postgres.url);
    }
    if one_crate.is_none_or(|name| name == "server") {
        command.env("CHROMIUM", system::chromium()?);
        command.env("AXE", system::npm_package(workspace, AXE)?.join("axe.min.js"));
        // The commands of docs/your-own-data.md and docs/deploy.md.
        system::programs(&["curl", "jq", "openssl", "sqlite3"], "following the documents")?;
    }
    if one_crate == Some("server") {
        // The server's tests start the trainer. Testing all crates builds it anyway.
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
        bail!("cargo test failed with {status}");
    }
    ensure!(counted.passed > 0, "no test ran");
    Ok(())
}

/// The counts in a line like `test result: ok. 12 passed; 0 failed; 1 ignored; ...`.
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
    fn counts_are_read_from_result_lines_only() {
        let ok =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(result_line(ok), Some(Tally { passed: 12, failed: 0 }));
        let bad = "test result: FAILED. 3 passed; 104 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s";
        assert_eq!(result_line(bad), Some(Tally { passed: 3, failed: 104 }));
        assert_eq!(result_line("test store::jobs ... ok"), None);
    }
}

//! `cargo xtask fuzz`: runs the fuzz targets with libFuzzer.

use crate::process;
use crate::steps::Steps;
use crate::stop;
use crate::system;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::process::{Command, ExitCode};

/// The version of cargo-fuzz that is installed if there is none.
const CARGO_FUZZ: &str = "0.13.2";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Targets to fuzz; all if none is named.
    targets: Vec<String>,
    /// Seconds per target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let known = targets(&workspace)?;
    for target in &options.targets {
        ensure!(known.contains(target), "{target:?} is not a fuzz target: use one of {}", known.join(", "));
    }
    let mut steps = Steps::new();
    let cargo_fuzz = steps.run("cargo-fuzz", || system::cargo_tool(&workspace, "cargo-fuzz", CARGO_FUZZ))?;
    let folder = workspace.root.join("fuzz");
    // The product's versions; cargo adds those of libFuzzer.
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock")).context("copying Cargo.lock")?;
    let mut failed = false;
    for target in if options.targets.is_empty() { &known } else { &options.targets } {
        if stop::requested() {
            break;
        }
        // New inputs go to the first folder of the corpus.
        let corpus = folder.join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("creating {}", corpus.display()))?;
        // No sanitizer: the code is safe Rust, and sanitizers need a nightly compiler.
        let mut command = Command::new(&cargo_fuzz);
        command
            .current_dir(&workspace.root)
            .args(["run", "--sanitizer", "none", target])
            .arg(corpus)
            .arg(folder.join("seeds").join(target))
            .arg("--")
            .arg(format!("-max_total_time={}", options.seconds))
            .args(["-print_final_stats=1", "-max_len=65536"]);
        failed |= steps.run(target, || process::run(&mut command)).is_err();
    }
    steps.print_summary();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root.join("fuzz/fuzz_targets");
    let mut names = fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| Ok(entry?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

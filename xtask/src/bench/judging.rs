//! `bench judging`: campaigns of simulated raters with known tastes, judged by the code of the leaderboard.

use super::options::Options;
use crate::process;
use crate::steps::Steps;
use crate::workspace::{Workspace, cargo};
use anyhow::Result;
use std::process::Command;

pub(super) fn run(options: &Options, steps: &mut Steps) -> Result<()> {
    let workspace = Workspace::find()?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => {
            let mut build = cargo();
            build.current_dir(&workspace.root).args(["build", "--release", "-p", "judging_benchmark"]);
            steps.run("release build", || process::run(&mut build))?;
            workspace.target.join("release/diff-contrast-judging-benchmark")
        }
    };
    let mut simulate = Command::new(program);
    simulate.args(["--simulations", &options.simulations.to_string()]);
    steps.run("simulations", || process::run(&mut simulate))
}

//! `cargo xtask bench`: runs two programs on the same weights and inputs, step by step in turn, so that other load on the
//! machine affects both. The result is the median of the rounds' ratios. `pages` has no peer: it measures the server against
//! the bounds of its documentation.

mod data;
mod options;
mod pages;
mod python;
mod rounds;
mod score;
mod setup;
mod step;
mod stepper;

pub(crate) use options::Options;

use crate::steps::Steps;
use anyhow::{Result, ensure};
use options::Task;
use std::process::ExitCode;

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ensure!(options.rounds > 0, "--rounds: use 1 or more");
    ensure!(
        options.task != Task::Kernels || options.device != "cpu",
        "--device: `kernels` compares GPU kernels; use --device cuda"
    );
    let mut steps = Steps::new();
    match options.task {
        Task::Data => data::run(options, &mut steps)?,
        Task::Pages => pages::run(options, &mut steps)?,
        Task::Score | Task::Fid => score::run(options, &mut steps)?,
        Task::Train | Task::Generate | Task::Objectives | Task::Kernels | Task::Prepared => {
            step::run(options, &mut steps)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

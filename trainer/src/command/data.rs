//! `data`: commands about data sets.

mod check;
mod measured_step;

use anyhow::Result;
use check::CheckCommand;
use clap::Subcommand;

/// The subcommands of `data`.
#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Report what a set holds before it is trained on: sizes, prompts, labels, duplicates, dropped rows, and the cost of a
    /// run on it.
    Check(Box<CheckCommand>),
}

impl DataCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Check(command) => command.run(),
        }
    }
}

//! `diff-contrast-trainer`: the command line of training and evaluation, and the worker that runs queued jobs.

mod command;
mod worker;

use crate::command::convert::ConvertCommand;
use crate::command::doctor::DoctorCommand;
use crate::command::evaluate::EvaluateCommand;
use crate::command::export::ExportCommand;
use crate::command::export_votes::ExportVotesCommand;
use crate::command::fid::FidCommand;
use crate::command::import::ImportCommand;
use crate::command::prepare::PrepareCommand;
use crate::command::replay::ReplayCommand;
use crate::command::style::StyleCommand;
use crate::command::train::TrainCommand;
use crate::worker::WorkerCommand;
use anyhow::Result;
use clap::{Parser, Subcommand};
use shapes_model::ShapesCommand;

/// Trains and evaluates text-to-image models on human preferences.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model as a config file says.
    Train(TrainCommand),
    /// Encode a set once, for all runs that learn from it.
    Prepare(PrepareCommand),
    /// Make a set of pairs in which images lose against their edited versions.
    Style(StyleCommand),
    /// Write the team's votes as a set that others can train on.
    ExportVotes(ExportVotesCommand),
    /// Compute one objective on stored inputs, to compare it with another implementation.
    Replay(ReplayCommand),
    /// Turn a file of torch or safetensors into safetensors, running nothing of it.
    Convert(ConvertCommand),
    /// Take in a model: a folder, a checkpoint in one file, or a repository of the hub.
    Import(Box<ImportCommand>),
    /// Write a model as a folder that diffusers loads.
    Export(ExportCommand),
    /// Say what this machine offers, and check that its devices compute what they should.
    Doctor(DoctorCommand),
    /// Compare models on the same prompts and noise, as a config file says.
    Evaluate(EvaluateCommand),
    /// Tell how far two sets of images lie apart (FID).
    Fid(FidCommand),
    /// Work off the queue.
    Worker(WorkerCommand),
    /// Make or look at the bundled model and its world.
    Shapes(ShapesCommand),
}

fn main() -> Result<()> {
    process::resources::prepare();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sqlx=warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Train(command) => command.run(),
        Command::Prepare(command) => command.run(),
        Command::Style(command) => command.run(),
        Command::ExportVotes(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Convert(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Fid(command) => command.run(),
        Command::Worker(command) => command.run(),
        Command::Shapes(command) => command.run(),
    }
}

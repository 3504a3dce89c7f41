//! `diff-contrast-trainer`: trains, evaluates, works off the queue, and makes the bundled model.

use anyhow::Result;
use clap::{Parser, Subcommand};
use trainer::bundle::ShapesCommand;
use trainer::command::bench::BenchCommand;
use trainer::command::convert::ConvertCommand;
use trainer::command::doctor::DoctorCommand;
use trainer::command::evaluate::EvaluateCommand;
use trainer::command::export::ExportCommand;
use trainer::command::export_votes::ExportVotesCommand;
use trainer::command::fid::FidCommand;
use trainer::command::import::ImportCommand;
use trainer::command::prepare::PrepareCommand;
use trainer::command::replay::ReplayCommand;
use trainer::command::style::StyleCommand;
use trainer::command::train::TrainCommand;
use trainer::worker::WorkerCommand;

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
    /// Repeat a step on request, to be timed beside a peer.
    Bench(BenchCommand),
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
    trainer::host::prepare();
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
        Command::Bench(command) => command.run(),
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

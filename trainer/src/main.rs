//! `diff-contrast-trainer`: the command line for training, evaluation, models and data sets, and the worker that runs
//! queued jobs.

mod command;
mod storage;
mod worker;

use crate::command::convert::ConvertCommand;
use crate::command::data::DataCommand;
use crate::command::doctor::DoctorCommand;
use crate::command::evaluate::EvaluateCommand;
use crate::command::export::ExportCommand;
use crate::command::export_votes::ExportVotesCommand;
use crate::command::fid::FidCommand;
use crate::command::import::ImportCommand;
use crate::command::import_votes::ImportVotesCommand;
use crate::command::prepare::PrepareCommand;
use crate::command::pull::PullCommand;
use crate::command::register::RegisterCommand;
use crate::command::replay::ReplayCommand;
use crate::command::simulate_campaign::SimulateCampaignCommand;
use crate::command::study::StudyCommand;
use crate::command::style::StyleCommand;
use crate::command::train::TrainCommand;
use crate::worker::{LogLayer, WorkerCommand};
use anyhow::Result;
use clap::{Parser, Subcommand};
use process::exit::exit_code;
use shapes_model::ShapesCommand;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Fine-tunes text-to-image models on human preferences, and evaluates them.
#[derive(Debug, Parser)]
#[command(name = "diff-contrast-trainer", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model as specified in a config file.
    Train(TrainCommand),
    /// Encode a data set once, for all runs that train on it.
    Prepare(PrepareCommand),
    /// Check a data set.
    #[command(subcommand)]
    Data(DataCommand),
    /// Make a style set: pairs in which an edited image wins against its original.
    Style(StyleCommand),
    /// Export the team's votes as a data set for training.
    ExportVotes(ExportVotesCommand),
    /// Takes in votes that were made elsewhere on images of this site.
    ImportVotes(ImportVotesCommand),
    /// Compute one objective on stored inputs, to compare it with another implementation.
    Replay(ReplayCommand),
    /// Convert a torch or safetensors file to safetensors, without running code from it.
    Convert(ConvertCommand),
    /// Import a model: a folder, a single-file checkpoint, or a repository of the Hugging Face hub.
    Import(Box<ImportCommand>),
    /// Export a model as a folder that diffusers loads.
    Export(ExportCommand),
    /// Show this machine's devices, and check that they compute correct results.
    Doctor(DoctorCommand),
    /// Compare models on the same prompts and noise, as specified in a config file.
    Evaluate(EvaluateCommand),
    /// Compare methods, settings and seeds at equal budgets, as specified in a config file.
    Study(Box<StudyCommand>),
    /// Make a campaign with the votes of simulated raters, on models of the bundled world.
    SimulateCampaign(SimulateCampaignCommand),
    /// Compute the Frechet distance (FID) of two sets of images.
    Fid(FidCommand),
    /// Bring a run or model of the terminal into the database.
    Register(RegisterCommand),
    /// Copy a run or model of the database into a folder for the terminal.
    Pull(PullCommand),
    /// Run the jobs in the queue.
    Worker(WorkerCommand),
    /// Make and measure the bundled model.
    Shapes(ShapesCommand),
}

fn main() -> ExitCode {
    process::resources::prepare();
    let usual = || EnvFilter::new("info,sqlx=warn");
    let printed = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()),
        )
        .with_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| usual()));
    // The log of a run does not depend on what this process prints.
    tracing_subscriber::registry().with(printed).with(LogLayer.with_filter(usual())).init();
    exit_code("diff-contrast-trainer", run(Arguments::parse().command))
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train(command) => command.run(),
        Command::Prepare(command) => command.run(),
        Command::Data(command) => command.run(),
        Command::Style(command) => command.run(),
        Command::ExportVotes(command) => command.run(),
        Command::ImportVotes(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Convert(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Study(command) => command.run(),
        Command::SimulateCampaign(command) => command.run(),
        Command::Fid(command) => command.run(),
        Command::Register(command) => command.run(),
        Command::Pull(command) => command.run(),
        Command::Worker(command) => command.run(),
        Command::Shapes(command) => command.run(),
    }
}

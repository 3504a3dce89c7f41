//! `diff-contrast-trainer`: trains, evaluates, works off the queue, and makes the bundled model.

use anyhow::Result;
use clap::{Parser, Subcommand};
use trainer::bundle::ShapesCommand;
use trainer::command::train::TrainCommand;

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
    /// Make or look at the bundled model and its world.
    Shapes(ShapesCommand),
}

fn main() -> Result<()> {
    trainer::host::prepare();
    match Arguments::parse().command {
        Command::Train(command) => command.run(),
        Command::Shapes(command) => command.run(),
    }
}

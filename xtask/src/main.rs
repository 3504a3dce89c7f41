//! The project's own commands, run as `cargo xtask NAME`. Each prints its steps and how long they took, and
//! brings what it needs: a machine with Rust, Node and Python is enough.

mod arrows;
mod bench;
mod demo;
mod deployment;
mod frontend;
mod http;
mod postgres;
mod process;
mod smoke;
mod steps;
mod suite;
mod system;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Time our trainer against PyTorch + diffusers on the same weights, shapes and batch.
    Bench(bench::Options),
    /// Build everything, start the site and its demo jobs, and follow them until Ctrl-C.
    Demo(demo::Options),
    /// Build the browser's half of the pages into target/site/pkg.
    Frontend(frontend::Options),
    /// Do the whole round of the product against a release server: one line per step.
    Smoke(smoke::Options),
    /// Run every check and every test; the last line counts them.
    Test(suite::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = process::listen_for_stop().and_then(|()| match arguments.task {
        Task::Bench(options) => bench::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Frontend(options) => frontend::run(&options),
        Task::Smoke(options) => smoke::run(&options),
        Task::Test(options) => suite::run(&options),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

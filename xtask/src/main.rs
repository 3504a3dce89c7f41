//! The project's commands, run as `cargo xtask NAME`. Each prints its steps with their durations and installs what it
//! needs on a machine with Rust, Node.js and Python.

mod background;
mod bench;
mod book;
mod bundle_packs;
#[cfg(test)]
mod crate_graph;
mod demo;
mod deployment;
#[cfg(test)]
mod doc_paths;
mod formulas;
mod frontend;
mod fuzz;
mod http;
mod postgres;
mod process;
mod reproduce;
mod screenshots;
mod site_files;
mod smoke;
mod steps;
mod stop;
mod suite;
mod system;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compare speed and memory with PyTorch's packages on the same weights and inputs.
    Bench(bench::Options),
    /// Build everything, start the site with its demo jobs and print their progress until Ctrl-C.
    Demo(demo::Options),
    /// Build the browser code of the pages and the documentation into target/site.
    Frontend(frontend::Options),
    /// Fuzz the readers of untrusted files and request bodies.
    Fuzz(fuzz::Options),
    /// Compute the paper's tables in miniature, as studies of the bundled model.
    Reproduce(reproduce::Options),
    /// Take screenshots of every page of a running site into docs/screenshots.
    Screenshots(screenshots::Options),
    /// Use every part of the product on a release server and print one line per step.
    Smoke(smoke::Options),
    /// Run all checks and all tests; the last line counts them.
    Test(suite::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = stop::listen().and_then(|()| match arguments.task {
        Task::Bench(options) => bench::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Frontend(options) => frontend::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Reproduce(options) => reproduce::run(&options),
        Task::Screenshots(options) => screenshots::run(&options),
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

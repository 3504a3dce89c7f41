//! `diff-contrast-benchmark`: repeats one step of training, generation, scoring or reading on request. `cargo xtask
//! bench` drives it in turn with a peer that does the same work: `xtask/bench/bench.py` on random numbers of the
//! model's shapes, `xtask/bench/score.py` on the same images, `xtask/bench/data.py` on the same files.
//!
//! The program prints `ready`, then answers each line `step` with `<seconds> <peak bytes of memory>`, followed by the
//! step's result if both programs must compute the same number.

mod arguments;
mod encode;
mod generate;
mod networks;
mod read;
mod score;
mod step;
mod train;

use anyhow::{Result, bail, ensure};
use arguments::{Arguments, Task};
use candle_core::Device;
use clap::Parser;
use diffusion::device::peak_memory as device_peak_memory;
use diffusion::nn::enable_gpu_kernels;
use diffusion::part_folders::PartFolders;
use process::exit::exit_code;
use process::resources::peak_memory;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;
use step::Step;

fn main() -> ExitCode {
    process::resources::prepare();
    exit_code("diff-contrast-benchmark", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(threads) = arguments.threads {
        let pool = candle_core::utils::get_num_threads();
        ensure!(pool == threads, "set RAYON_NUM_THREADS={threads}: the pool has {pool} threads");
    }
    let folders = PartFolders::new(&arguments.model, None);
    enable_gpu_kernels(!arguments.composed);
    let device = arguments.device.open()?;
    let step = match arguments.task {
        Task::Train => train::step(arguments, &folders, &device)?,
        Task::Generate => generate::step(arguments, &folders, &device)?,
        Task::Score => score::score(&arguments.model, arguments.reward, arguments.batch, &device)?,
        Task::Fid => score::fid(&arguments.model, arguments.batch, &device)?,
        Task::Read => read::step(&arguments.model),
    };
    serve(step, &device)
}

/// Runs a step for each line of standard input.
fn serve(mut step: Step<'_>, device: &Device) -> Result<()> {
    println!("ready");
    std::io::stdout().flush()?;
    for line in std::io::stdin().lines() {
        let line = line?;
        if line.trim() != "step" {
            bail!("expected `step`, got {line:?}");
        }
        let start = Instant::now();
        let result = step()?.map_or(String::new(), |result| format!(" {result}"));
        device.synchronize()?;
        let seconds = start.elapsed().as_secs_f64();
        let peak = device_peak_memory(device)?.unwrap_or_else(peak_memory);
        println!("{seconds:.6} {peak}{result}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

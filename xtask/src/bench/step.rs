//! `bench train`, `generate`, `objectives`, `kernels` and `prepared`: seconds per step and peak memory of two programs that
//! run the same networks.

use super::options::{Options, Shape, Task};
use super::rounds::Rounds;
use super::setup::Setup;
use super::stepper::Stepper;
use crate::steps::Steps;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The two programs with their names.
struct Pair {
    names: [&'static str; 2],
    commands: [Command; 2],
}

pub(super) fn run(options: &Options, steps: &mut Steps) -> Result<()> {
    let setup = Setup::new(options, steps)?;
    let model = model(options, &setup)?;
    let Pair { names, commands: [mut ours, mut theirs] } = pair(options, &setup)?;
    for command in [&mut ours, &mut theirs] {
        command
            .arg("--model")
            .arg(&model)
            .args(["--batch", &options.batch.to_string(), "--steps", &options.steps.to_string()])
            .args(options.shape.map(|_| "--random-weights"))
            .args(options.side.map(|side| format!("--side={side}")))
            .args(["--device", &options.device, "--precision", &options.precision]);
        setup.limit_threads(command);
    }
    let (mut ours, mut theirs) = steps.run("both programs load the model", || {
        Ok((Stepper::start(names[0], &mut ours)?, Stepper::start(names[1], &mut theirs)?))
    })?;
    let rounds = steps.run("rounds", || Rounds::run(&mut ours, &mut theirs, options.rounds))?;
    print(names, &model, options, setup.threads, &rounds);
    Ok(())
}

fn model(options: &Options, setup: &Setup) -> Result<PathBuf> {
    match options.shape {
        Some(Shape::Sd15Half) => Ok(setup.workspace.root.join("xtask/bench/shapes/sd15-half")),
        Some(Shape::VitL14 | Shape::VitH14 | Shape::ImageReward) => {
            bail!("--shape: this shape is for `score`; use sd15-half")
        }
        None => Ok(setup.workspace.root.join(&options.model)),
    }
}

fn pair(options: &Options, setup: &Setup) -> Result<Pair> {
    let ours = |arguments: &[&str]| {
        let mut command = setup.program();
        command.args(arguments);
        command
    };
    let diff_contrast = ["train", "--objective", "diff_contrast"];
    let with_flag = |flag| ours(&[&diff_contrast[..], &[flag]].concat());
    let torch = |task| {
        let mut command = setup.python(&setup.workspace.root.join("xtask/bench/bench.py"));
        command.arg(task);
        command
    };
    Ok(match options.task {
        Task::Train => {
            Pair { names: ["diff-contrast", "PyTorch"], commands: [ours(&["train"]), torch("train")] }
        }
        Task::Generate => {
            Pair { names: ["diff-contrast", "PyTorch"], commands: [ours(&["generate"]), torch("generate")] }
        }
        Task::Objectives => Pair {
            names: ["Diff-contrast", "Diffusion-DPO"],
            commands: [ours(&diff_contrast), ours(&["train", "--objective", "diffusion_dpo"])],
        },
        Task::Kernels => Pair {
            names: ["our kernels", "composed"],
            commands: [ours(&diff_contrast), with_flag("--composed")],
        },
        Task::Prepared => Pair {
            names: ["prepared", "from images"],
            commands: [ours(&diff_contrast), with_flag("--from-images")],
        },
        Task::Data | Task::Score | Task::Fid | Task::Pages => {
            bail!("this task does not compare training steps or generation")
        }
    })
}

fn print(names: [&str; 2], model: &Path, options: &Options, threads: usize, rounds: &Rounds) {
    let (seconds, peak) = (rounds.seconds(), rounds.peak_megabytes());
    println!();
    println!(
        "bench: {}, {}, batch {}, {threads} threads, {} rounds, {}",
        options.device,
        options.precision,
        options.batch,
        rounds.count(),
        model.display()
    );
    println!("              seconds per step (median)    peak memory");
    println!("{:<13} {:>24.3}     {:>8.0} MB", names[0], seconds.0, peak.0);
    println!("{:<13} {:>24.3}     {:>8.0} MB", names[1], seconds.1, peak.1);
    println!(
        "ratio of time {:>24.3}     (median of the rounds' ratios; below 1, {} is faster)",
        rounds.ratio(),
        names[0]
    );
}

//! `cargo xtask bench score` and `bench fid`: images scored, or seen by Inception, per second by us and by the packages
//! that published it, on the same weights and images. Both have to come to the same mean.

use super::{Options, Shape, Stepper, Task, limit_threads, median, rounds};
use crate::process;
use crate::steps::Steps;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// What is measured: our word and the script's.
#[derive(Clone, Copy)]
pub(super) struct Scored {
    /// Arguments of `diff-contrast-trainer bench`.
    ours: &'static [&'static str],
    /// Of `score.py`, and of the folder with the weights.
    name: &'static str,
    /// The package beside us.
    package: &'static str,
}

/// How far the two means may be apart, as a share: both are sums in f32 in an order of their own.
const APART: f64 = 1e-3;

impl Scored {
    pub(super) fn of(options: &Options) -> Result<Self> {
        match (options.task, options.shape) {
            (Task::Fid, None) => Ok(Self { ours: &["fid"], name: "inception", package: "pytorch-fid" }),
            (Task::Score, None | Some(Shape::VitL14)) => Ok(Self {
                ours: &["score", "--reward", "clip_score_l14"],
                name: "vit-l-14",
                package: "open_clip",
            }),
            (Task::Score, Some(Shape::VitH14)) => {
                Ok(Self { ours: &["score", "--reward", "hps_v2_1"], name: "vit-h-14", package: "open_clip" })
            }
            (Task::Score, Some(Shape::ImageReward)) => Ok(Self {
                ours: &["score", "--reward", "image_reward"],
                name: "image-reward",
                package: "image-reward",
            }),
            _ => {
                bail!("--shape: use vit-l-14, vit-h-14 or image-reward with score, and leave it out with fid")
            }
        }
    }
}

pub(super) fn run(
    scored: Scored,
    workspace: &Workspace,
    python: &Path,
    mut ours: Command,
    options: &Options,
    threads: usize,
    steps: &mut Steps,
) -> Result<()> {
    let script = workspace.root.join("xtask/bench/score.py");
    let folder = workspace.target.join("bench-weights").join(scored.name);
    if !folder.is_dir() {
        steps.take("random weights of full size", || {
            process::run(Command::new(python).arg(&script).args(["make", scored.name]).arg(&folder))
        })?;
    }
    ours.arg("bench").args(scored.ours).arg("--model").arg(&folder);
    let mut theirs = Command::new(python);
    theirs.arg(&script).args(["run", scored.name]).arg(&folder);
    for command in [&mut ours, &mut theirs] {
        command.args(["--batch", &options.batch.to_string(), "--device", &options.device]);
        limit_threads(command, threads);
    }
    let (mut ours, mut theirs) = steps.take("both load the model", || {
        Ok((Stepper::start("ours", &mut ours)?, Stepper::start(scored.package, &mut theirs)?))
    })?;
    let rounds = steps.take("rounds", || rounds(&mut ours, &mut theirs, options.rounds))?;
    let means = ours.result.zip(theirs.result).context("a program did not say what it came to")?;
    ensure!(
        (means.0 - means.1).abs() <= APART * means.1.abs(),
        "the work differs: our mean is {}, {}'s {}",
        means.0,
        theirs.name,
        means.1
    );
    let of =
        |value: fn(&(super::Measured, super::Measured)) -> f64| median(rounds.iter().map(value).collect());
    let batch = f64::from(options.batch);
    println!();
    println!(
        "bench: {}, {}, batch {}, {threads} threads, {} rounds; both come to a mean of {:.6}",
        scored.name,
        options.device,
        options.batch,
        rounds.len(),
        means.1
    );
    println!("               images per second (median)    peak memory");
    println!(
        "{:<14} {:>28.2}    {:>8.0} MB",
        ours.name,
        batch / of(|r| r.0.seconds),
        of(|r| r.0.peak_bytes / 1e6)
    );
    println!(
        "{:<14} {:>28.2}    {:>8.0} MB",
        theirs.name,
        batch / of(|r| r.1.seconds),
        of(|r| r.1.peak_bytes / 1e6)
    );
    println!(
        "ratio of time  {:>28.3}    (median of the rounds' ratios; below 1, we are faster)",
        of(|r| r.0.seconds / r.1.seconds)
    );
    Ok(())
}

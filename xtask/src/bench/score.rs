//! `bench score` and `bench fid`: images per second of our scores and Inception features and of the packages that
//! published them, on the same weights and images. Both programs must compute the same mean.

use super::options::{Options, Shape, Task};
use super::rounds::Rounds;
use super::setup::Setup;
use super::stepper::Stepper;
use crate::process;
use crate::steps::Steps;
use anyhow::{Context, Result, bail, ensure};

/// One comparison.
struct Scored {
    /// Arguments of `diff-contrast-benchmark`.
    ours: &'static [&'static str],
    /// The network's name for `score.py`, and the name of the folder with its weights.
    name: &'static str,
    /// The Python package.
    package: &'static str,
}

/// The largest relative difference of the two means: both are sums in f32, in different orders.
const TOLERANCE: f64 = 1e-3;

impl Scored {
    fn new(options: &Options) -> Result<Self> {
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
            _ => bail!("--shape: use vit-l-14, vit-h-14 or image-reward with score, and no shape with fid"),
        }
    }
}

pub(super) fn run(options: &Options, steps: &mut Steps) -> Result<()> {
    let scored = Scored::new(options)?;
    let setup = Setup::new(options, steps)?;
    let script = setup.workspace.root.join("xtask/bench/score.py");
    let folder = setup.workspace.target.join("bench-weights").join(scored.name);
    if !folder.is_dir() {
        steps.run("random weights of full size", || {
            process::run(setup.python(&script).args(["make", scored.name]).arg(&folder))
        })?;
    }
    let mut ours = setup.program();
    ours.args(scored.ours).arg("--model").arg(&folder);
    let mut theirs = setup.python(&script);
    theirs.args(["run", scored.name]).arg(&folder);
    for command in [&mut ours, &mut theirs] {
        command.args(["--batch", &options.batch.to_string(), "--device", &options.device]);
        setup.limit_threads(command);
    }
    let (mut ours, mut theirs) = steps.run("both programs load the model", || {
        Ok((Stepper::start("ours", &mut ours)?, Stepper::start(scored.package, &mut theirs)?))
    })?;
    let rounds = steps.run("rounds", || Rounds::run(&mut ours, &mut theirs, options.rounds))?;
    let means = ours.result.zip(theirs.result).context("a program did not print its mean")?;
    ensure!(
        (means.0 - means.1).abs() <= TOLERANCE * means.1.abs(),
        "the results differ: our mean is {}, that of {} is {}",
        means.0,
        scored.package,
        means.1
    );
    print(&scored, means.1, options, setup.threads, &rounds);
    Ok(())
}

fn print(scored: &Scored, mean: f64, options: &Options, threads: usize, rounds: &Rounds) {
    let (seconds, peak) = (rounds.seconds(), rounds.peak_megabytes());
    let batch = f64::from(options.batch);
    println!();
    println!(
        "bench: {}, {}, batch {}, {threads} threads, {} rounds, mean {mean:.6}",
        scored.name,
        options.device,
        options.batch,
        rounds.count()
    );
    println!("               images per second (median)    peak memory");
    println!("{:<14} {:>28.2}    {:>8.0} MB", "ours", batch / seconds.0, peak.0);
    println!("{:<14} {:>28.2}    {:>8.0} MB", scored.package, batch / seconds.1, peak.1);
    println!(
        "ratio of time  {:>28.3}    (median of the rounds' ratios; below 1, ours is faster)",
        rounds.ratio()
    );
}

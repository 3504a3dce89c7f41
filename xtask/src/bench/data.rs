//! `bench data`: pairs per second and peak memory of our reader and of the `datasets` package, on one parquet shard with
//! Pick-a-Pic's columns.

use super::options::Options;
use super::rounds::Rounds;
use super::setup::Setup;
use super::stepper::Stepper;
use crate::process;
use crate::steps::Steps;
use anyhow::{Result, ensure};

pub(super) fn run(options: &Options, steps: &mut Steps) -> Result<()> {
    let setup = Setup::new(options, steps)?;
    let script = setup.workspace.root.join("xtask/bench/data.py");
    let folder = setup.workspace.target.join(format!("bench-data-{}", options.gigabytes));
    if !folder.join("train-00000-of-00001.parquet").is_file() {
        let gigabytes = options.gigabytes.to_string();
        steps.run("shard", || process::run(setup.python(&script).arg("make").arg(&folder).arg(gigabytes)))?;
    }
    let mut ours = setup.program();
    ours.args(["read", "--model"]).arg(&folder);
    let mut theirs = setup.python(&script);
    theirs.arg("read").arg(&folder);
    // The package would otherwise try to reach the hub.
    theirs.env("HF_HUB_OFFLINE", "1");
    let mut ours = Stepper::start("our reader", &mut ours)?;
    let mut theirs = Stepper::start("datasets", &mut theirs)?;
    let rounds = steps.run("rounds", || Rounds::run(&mut ours, &mut theirs, options.rounds))?;
    let pairs = ours.result;
    ensure!(
        pairs.is_some() && pairs == theirs.result,
        "the readers returned {pairs:?} and {:?} pairs",
        theirs.result
    );
    print(pairs.unwrap_or_default(), options, &rounds);
    Ok(())
}

fn print(pairs: f64, options: &Options, rounds: &Rounds) {
    let (seconds, peak) = (rounds.seconds(), rounds.peak_megabytes());
    println!();
    println!("bench data: {pairs} pairs, {} GB, {} rounds", options.gigabytes, rounds.count());
    println!("              pairs per second (median)    peak memory");
    println!("our reader    {:>25.0}    {:>8.0} MB", pairs / seconds.0, peak.0);
    println!("datasets      {:>25.0}    {:>8.0} MB", pairs / seconds.1, peak.1);
    println!("times as fast {:>25.2}    (median of the rounds' ratios)", rounds.speedup());
}

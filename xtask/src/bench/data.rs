//! `cargo xtask bench data`: pairs per second and peak memory of our reader and of the `datasets` package, on one shard in
//! the columns of Pick-a-Pic, in turn.

use super::{Options, Stepper, median, rounds};
use crate::process;
use crate::workspace::Workspace;
use anyhow::{Result, ensure};
use std::path::Path;
use std::process::Command;

pub(super) fn run(workspace: &Workspace, python: &Path, mut ours: Command, options: &Options) -> Result<()> {
    let script = workspace.root.join("xtask/bench/data.py");
    let folder = workspace.target.join(format!("bench-data-{}", options.gigabytes));
    if !folder.join("train-00000-of-00001.parquet").is_file() {
        let gigabytes = options.gigabytes.to_string();
        process::run(Command::new(python).arg(&script).arg("make").arg(&folder).arg(gigabytes))?;
    }
    ours.args(["bench", "read", "--model"]).arg(&folder);
    let mut theirs = Command::new(python);
    theirs.arg(&script).arg("read").arg(&folder);
    // Nothing is asked of a hub; the package would try.
    theirs.env("HF_HUB_OFFLINE", "1");
    let mut ours = Stepper::start("our reader", &mut ours)?;
    let mut theirs = Stepper::start("datasets", &mut theirs)?;
    let rounds = rounds(&mut ours, &mut theirs, options.rounds)?;
    let pairs = ours.result;
    ensure!(
        pairs.is_some() && pairs == theirs.result,
        "the readers found {pairs:?} and {:?} pairs",
        theirs.result
    );
    let pairs = pairs.unwrap_or_default();
    let of = |value: fn(&super::Measured) -> f64| {
        let ours = median(rounds.iter().map(|round| value(&round.0)).collect());
        (ours, median(rounds.iter().map(|round| value(&round.1)).collect()))
    };
    let (seconds, peak) = (of(|m| m.seconds), of(|m| m.peak_bytes / 1e6));
    println!();
    println!("bench data: {pairs} pairs, {} GB, {} rounds", options.gigabytes, rounds.len());
    println!("              pairs per second (median)    peak memory");
    println!("our reader    {:>25.0}    {:>8.0} MB", pairs / seconds.0, peak.0);
    println!("datasets      {:>25.0}    {:>8.0} MB", pairs / seconds.1, peak.1);
    let ratio = median(rounds.iter().map(|round| round.1.seconds / round.0.seconds).collect());
    println!("times as fast {ratio:>25.2}    (median of the rounds' ratios)");
    Ok(())
}

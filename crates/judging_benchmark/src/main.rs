//! `diff-contrast-judging-benchmark`: what `cargo xtask bench judging` runs. Campaigns of simulated raters with known
//! tastes, judged by the code of the leaderboard.

mod best_of_eight;
mod chance;
mod coverage;
mod population;

use clap::Parser;

/// Simulated campaigns.
#[derive(Parser)]
struct Arguments {
    /// Simulations of each experiment.
    #[arg(long, default_value_t = 1000)]
    simulations: u64,
    /// Decides every random number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let Arguments { simulations, seed } = Arguments::parse();
    println!("bench judging: {simulations} simulations of each kind, seed {seed}");
    coverage::run(simulations, seed).print();
    best_of_eight::run(simulations, seed);
}

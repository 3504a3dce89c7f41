//! Reads a set of Pick-a-Pic's columns on request, for `cargo xtask bench data`: prints `ready`, then answers each line
//! `step` with `<seconds> <peak bytes of memory> <pairs>`. Like the peer it touches every picture's length, no more.

use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec};
use std::error::Error;
use std::io::Write;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name the set's folder")?;
    let spec = DataSpec::PickAPic(PickAPicSpec { folder, ..PickAPicSpec::default() });
    println!("ready");
    std::io::stdout().flush()?;
    for line in std::io::stdin().lines() {
        if line?.trim() != "step" {
            return Err("expected `step`".into());
        }
        let begun = Instant::now();
        let (mut pairs, mut bytes) = (0u64, 0);
        for pair in Pairs::open(&spec)?.ok_or("no set of files")? {
            let pair = pair?;
            pairs += 1;
            bytes += pair.winner.len() + pair.loser.len();
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert!(bytes > 0, "no pictures");
        println!("{seconds:.6} {} {pairs}", peak_memory()?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Most memory that this process ever held, in bytes, as Linux tells it.
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

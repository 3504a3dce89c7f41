//! Flags that say which of several processes this one is.

use super::connection::{join, listen};
use super::process_group::ProcessGroup;
use anyhow::{Context, Result, ensure};
use candle_core::Device;
use clap::Args;
use std::net::SocketAddr;

/// This process among those that train together.
#[derive(Clone, Debug, Args)]
pub struct Membership {
    /// Number of processes that train together. Each needs this flag and its own --rank.
    #[arg(long, env = "WORLD_SIZE", default_value_t = 1)]
    pub(super) world_size: usize,
    /// Number of this process, from 0. Rank 0 reports and saves.
    #[arg(long, env = "RANK", default_value_t = 0)]
    pub(super) rank: usize,
    /// Address where rank 0 listens and to which the others connect.
    #[arg(long, env = "RENDEZVOUS", default_value = "127.0.0.1:29400")]
    pub(super) rendezvous: SocketAddr,
}

impl Membership {
    /// Connects to the other processes, and waits until all are connected.
    ///
    /// # Errors
    /// Fails if the rank is not below the world size, the address cannot be used, or the others do not connect in time.
    pub fn meet(&self, device: &Device) -> Result<ProcessGroup> {
        let Self { world_size, rank, rendezvous } = *self;
        ensure!(world_size > 0, "--world-size: use at least 1 process, not 0");
        ensure!(rank < world_size, "--rank: {rank} is not below --world-size {world_size}");
        let peers = match (world_size, rank) {
            (1, _) => Vec::new(),
            (_, 0) => listen(rendezvous, world_size)
                .with_context(|| format!("--rendezvous: waiting for the other processes at {rendezvous}"))?,
            _ => vec![
                join(rendezvous, rank)
                    .with_context(|| format!("--rendezvous: connecting to rank 0 at {rendezvous}"))?,
            ],
        };
        ProcessGroup::new(rank, world_size, peers, device)
    }
}

//! Sums, means and decisions over the processes that train together.

use super::connection::{receive, send};
#[cfg(feature = "nccl")]
use super::nccl;
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The processes that train together, as seen by one of them.
#[derive(Debug)]
pub struct ProcessGroup {
    rank: usize,
    world_size: usize,
    /// Rank 0: connections to ranks 1, 2, and so on. Other ranks: the connection to rank 0.
    peers: Mutex<Vec<TcpStream>>,
    #[cfg(feature = "nccl")]
    nccl: Option<nccl::Communicator>,
}

impl ProcessGroup {
    /// A process that trains alone.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            rank: 0,
            world_size: 1,
            peers: Mutex::default(),
            #[cfg(feature = "nccl")]
            nccl: None,
        }
    }

    /// A group whose processes are connected.
    pub(super) fn new(
        rank: usize,
        world_size: usize,
        peers: Vec<TcpStream>,
        device: &Device,
    ) -> Result<Self> {
        let group = Self {
            rank,
            world_size,
            peers: Mutex::new(peers),
            #[cfg(feature = "nccl")]
            nccl: None,
        };
        #[cfg(feature = "nccl")]
        let group = group.with_nccl(device)?;
        #[cfg(not(feature = "nccl"))]
        if world_size > 1 && !device.is_cpu() {
            tracing::warn!(
                "gradients are summed over TCP: build with --features nccl to sum them on the GPUs"
            );
        }
        Ok(group)
    }

    /// Whether this is rank 0, which reports and saves.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// The micro-batches of an update that this process computes, out of `count`.
    ///
    /// # Errors
    /// Fails if they cannot be divided evenly.
    pub(crate) fn share(&self, count: u32) -> Result<Range<u32>> {
        let world_size = u32::try_from(self.world_size)?;
        ensure!(
            count.is_multiple_of(world_size),
            "gradient_accumulation: {count} micro-batches cannot be divided evenly among {world_size} processes; use a \
             multiple of {world_size}"
        );
        let (each, rank) = (count / world_size, u32::try_from(self.rank)?);
        Ok(rank * each..(rank + 1) * each)
    }

    /// Replaces each tensor (f32) by its sum over all processes, which must hold the same names and shapes.
    ///
    /// # Errors
    /// Fails if a connection is lost, or if another process holds tensors of other sizes.
    pub(crate) fn sum(&self, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
        if self.world_size == 1 {
            return Ok(());
        }
        #[cfg(feature = "nccl")]
        if let Some(nccl) = &self.nccl {
            return nccl.sum(tensors);
        }
        for (name, tensor) in tensors.iter_mut() {
            let device = tensor.device().clone();
            let values: Vec<f32> = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            let mine = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let sum = self
                .reduce(mine, |sum, theirs| {
                    for (sum, value) in sum.as_chunks_mut::<4>().0.iter_mut().zip(theirs.as_chunks::<4>().0) {
                        *sum = (f32::from_le_bytes(*sum) + f32::from_le_bytes(*value)).to_le_bytes();
                    }
                })
                .with_context(|| format!("summing {name} over all processes"))?;
            let sum: Vec<f32> = sum.as_chunks::<4>().0.iter().map(|v| f32::from_le_bytes(*v)).collect();
            *tensor = Tensor::from_vec(sum, tensor.shape(), &device)?;
        }
        Ok(())
    }

    /// Replaces each number by its mean over all processes.
    ///
    /// # Errors
    /// Fails if a connection is lost, or if another process has another count of numbers.
    pub(crate) fn mean(&self, values: &mut [f64]) -> Result<()> {
        if self.world_size == 1 {
            return Ok(());
        }
        let mine = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let sum = self.reduce(mine, |sum, theirs| {
            for (sum, value) in sum.as_chunks_mut::<8>().0.iter_mut().zip(theirs.as_chunks::<8>().0) {
                *sum = (f64::from_le_bytes(*sum) + f64::from_le_bytes(*value)).to_le_bytes();
            }
        })?;
        for (value, sum) in values.iter_mut().zip(sum.as_chunks::<8>().0) {
            *value = f64::from_le_bytes(*sum) / self.world_size as f64;
        }
        Ok(())
    }

    /// The decision of rank 0; those of the other ranks are ignored.
    ///
    /// # Errors
    /// Fails if a connection is lost.
    pub(crate) fn broadcast(&self, decision: bool) -> Result<bool> {
        if self.world_size == 1 {
            return Ok(decision);
        }
        let bytes = self.broadcast_bytes(if self.leads() { vec![u8::from(decision)] } else { Vec::new() })?;
        Ok(bytes == [1])
    }

    /// The bytes of rank 0.
    fn broadcast_bytes(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut peers = self.peers();
        if self.leads() {
            for peer in peers.iter_mut() {
                send(peer, &bytes)?;
            }
            Ok(bytes)
        } else {
            receive(peers.first_mut().context("there is no connection to rank 0")?)
        }
    }

    /// The bytes of all processes, added by `add` in the order of ranks.
    fn reduce(&self, mut mine: Vec<u8>, add: impl Fn(&mut [u8], &[u8])) -> Result<Vec<u8>> {
        let mut peers = self.peers();
        if self.leads() {
            for (i, peer) in peers.iter_mut().enumerate() {
                let theirs = receive(peer)?;
                ensure!(
                    theirs.len() == mine.len(),
                    "rank {} sent {} bytes where rank 0 has {}: start all processes with the same config",
                    i + 1,
                    theirs.len(),
                    mine.len()
                );
                add(&mut mine, &theirs);
            }
            peers.iter_mut().try_for_each(|peer| send(peer, &mine))?;
            Ok(mine)
        } else {
            let leader = peers.first_mut().context("there is no connection to rank 0")?;
            send(leader, &mine)?;
            receive(leader)
        }
    }

    fn peers(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(feature = "nccl")]
    fn with_nccl(mut self, device: &Device) -> Result<Self> {
        if self.world_size > 1 && device.is_cuda() {
            let id = if self.leads() { nccl::new_id()? } else { Vec::new() };
            let id = self.broadcast_bytes(id)?;
            self.nccl = Some(nccl::Communicator::new(device, self.rank, self.world_size, &id)?);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::ProcessGroup;
    use crate::collective::Membership;
    use candle_core::{Device, Tensor};
    use std::collections::BTreeMap;
    use std::net::{SocketAddr, TcpListener};

    fn free_address() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port")
    }

    /// The results of `work` in `world_size` connected processes (here threads), by rank.
    fn in_processes<T: Send>(world_size: usize, work: impl Fn(&ProcessGroup) -> T + Sync) -> Vec<T> {
        let rendezvous = free_address();
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..world_size)
                .rev()
                .map(|rank| {
                    let membership = Membership { world_size, rank, rendezvous };
                    scope.spawn(move || work(&membership.meet(&Device::Cpu).expect("a group")))
                })
                .collect();
            threads.into_iter().rev().map(|thread| thread.join().expect("a rank")).collect()
        })
    }

    #[test]
    fn sums_are_taken_in_the_order_of_ranks() {
        // In f32, (1e8 + 1) - 1e8 is 0, and (1e8 - 1e8) + 1 is 1.
        let values = [1e8f32, 1.0, -1e8];
        let sums = in_processes(3, |group| {
            let mine = Tensor::new(&[values[group.rank], 2.0], &Device::Cpu).expect("a tensor");
            let mut tensors = BTreeMap::from([("w".to_owned(), mine)]);
            group.sum(&mut tensors).expect("a sum");
            tensors["w"].to_vec1::<f32>().expect("values")
        });
        assert_eq!(sums, vec![vec![0.0, 6.0]; 3]);
    }

    #[test]
    fn means_and_decisions_are_the_same_in_all_processes() {
        let results = in_processes(2, |group| {
            let mut values = [1.0 + 1e-9, 3.0 * group.rank as f64];
            group.mean(&mut values).expect("a mean");
            (values, group.broadcast(group.leads()).expect("a decision"))
        });
        assert_eq!(results[0], results[1]);
        assert!((results[0].0[0] - (1.0 + 1e-9)).abs() < 1e-12 && results[0].0[1] == 1.5 && results[0].1);
    }

    #[test]
    fn a_lost_process_is_an_error_with_a_remedy() {
        let errors = in_processes(2, |group| {
            // Rank 1 closes its connection at once.
            group.leads().then(|| group.mean(&mut [1.0]).expect_err("no answer"))
        });
        let error = format!("{:#}", errors[0].as_ref().expect("an error"));
        assert!(error.contains("start all of them again"), "{error}");
    }

    #[test]
    fn an_impossible_membership_is_refused_by_its_flag() {
        let refused = |world_size, rank| {
            let membership = Membership { world_size, rank, rendezvous: free_address() };
            membership.meet(&Device::Cpu).expect_err("refused").to_string()
        };
        assert!(refused(0, 0).contains("--world-size"));
        assert!(refused(2, 2).contains("--rank"));
    }
}

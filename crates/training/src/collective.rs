//! Several processes that train one model together, each on its own device and its own micro-batches: gradients are summed
//! over all of them, and so all make the same update.
//!
//! The processes find each other by TCP: rank 0 listens. On the CPU the sums go the same way; on GPUs (feature `nccl`) the
//! connection only carries NCCL's id. The micro-batches of an update are divided among the processes, so a spec asks for the
//! same training whatever their number. Sums over processes are taken in the order of ranks, whoever comes first; NCCL
//! chooses an order of its own. One process adds up the shards of all micro-batches in one row, several add up their own
//! first: apart from that rounding (none where a micro-batch is one example), the weights are the same bits.
//!
//! The processes trust each other and their network: the connection is neither encrypted nor authenticated.

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use clap::Args;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Which of how many processes this is.
#[derive(Clone, Debug, Args)]
pub struct Membership {
    /// Processes that train together, each with this flag and its own --rank.
    #[arg(long, env = "WORLD_SIZE", default_value_t = 1)]
    world_size: usize,
    /// Number of this process, from 0. Rank 0 reports and saves.
    #[arg(long, env = "RANK", default_value_t = 0)]
    rank: usize,
    /// Where rank 0 listens and the others find it.
    #[arg(long, env = "RENDEZVOUS", default_value = "127.0.0.1:29400")]
    rendezvous: SocketAddr,
}

/// How long the processes wait for each other at the beginning.
const PATIENCE: Duration = Duration::from_secs(600);
/// The first bytes of a connection, so that a stray one is told apart.
const GREETING: &[u8; 8] = b"contrast";

/// The way to the other processes.
#[derive(Debug)]
pub struct Collective {
    rank: usize,
    world: usize,
    /// Rank 0: to each other rank, in their order. Others: to rank 0.
    peers: Mutex<Vec<TcpStream>>,
    #[cfg(feature = "nccl")]
    nccl: Option<nccl::Communicator>,
}

impl Membership {
    /// Processes that train together.
    #[must_use]
    pub fn world_size(&self) -> usize {
        self.world_size
    }

    /// Meets the others.
    ///
    /// # Errors
    /// A rank outside the world, an address that cannot be used, or others that do not come in time.
    pub fn meet(&self, device: &Device) -> Result<Collective> {
        let Self { world_size: world, rank, rendezvous } = *self;
        ensure!(world > 0, "--world-size: 0 processes cannot train; use at least 1");
        ensure!(rank < world, "--rank: {rank} is not below --world-size {world}");
        let peers = match (world, rank) {
            (1, _) => Vec::new(),
            (_, 0) => listen(rendezvous, world)
                .with_context(|| format!("--rendezvous: waiting for others at {rendezvous}"))?,
            _ => vec![
                join(rendezvous, rank)
                    .with_context(|| format!("--rendezvous: looking for rank 0 at {rendezvous}"))?,
            ],
        };
        let collective = Collective {
            rank,
            world,
            peers: Mutex::new(peers),
            #[cfg(feature = "nccl")]
            nccl: None,
        };
        #[cfg(feature = "nccl")]
        let collective = collective.with_nccl(device)?;
        #[cfg(not(feature = "nccl"))]
        if world > 1 && !device.is_cpu() {
            tracing::warn!("gradients travel over TCP: build with --features nccl to sum them on the GPUs");
        }
        Ok(collective)
    }
}

impl Collective {
    /// One process alone.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            rank: 0,
            world: 1,
            peers: Mutex::default(),
            #[cfg(feature = "nccl")]
            nccl: None,
        }
    }

    /// Number of this process, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Processes.
    #[must_use]
    pub fn world(&self) -> usize {
        self.world
    }

    /// Whether this process reports and saves.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// The micro-batches that this process takes of the `parts` of an update.
    ///
    /// # Errors
    /// They cannot be divided evenly.
    pub fn share(&self, parts: u32) -> Result<Range<u32>> {
        let world = u32::try_from(self.world)?;
        ensure!(
            parts.is_multiple_of(world),
            "gradient_accumulation: {parts} micro-batches cannot be divided among {world} processes evenly; use a \
             multiple of {world}"
        );
        let (each, rank) = (parts / world, u32::try_from(self.rank)?);
        Ok(rank * each..(rank + 1) * each)
    }

    /// Replaces each tensor by its sum over all processes, which must hold the same names, shapes and types (f32).
    ///
    /// # Errors
    /// Another process is gone or holds something else.
    pub fn sum(&self, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
        if self.world == 1 {
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

    /// The mean of each number over all processes.
    ///
    /// # Errors
    /// Another process is gone or sends another count.
    pub fn mean(&self, values: &mut [f64]) -> Result<()> {
        if self.world == 1 {
            return Ok(());
        }
        let mine = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let sum = self.reduce(mine, |sum, theirs| {
            for (sum, value) in sum.as_chunks_mut::<8>().0.iter_mut().zip(theirs.as_chunks::<8>().0) {
                *sum = (f64::from_le_bytes(*sum) + f64::from_le_bytes(*value)).to_le_bytes();
            }
        })?;
        for (value, sum) in values.iter_mut().zip(sum.as_chunks::<8>().0) {
            *value = f64::from_le_bytes(*sum) / self.world as f64;
        }
        Ok(())
    }

    /// What rank 0 decides, told to all.
    ///
    /// # Errors
    /// Another process is gone.
    pub fn agree(&self, decision: bool) -> Result<bool> {
        if self.world == 1 {
            return Ok(decision);
        }
        let told = self.tell(if self.leads() { vec![u8::from(decision)] } else { Vec::new() })?;
        Ok(told == [1])
    }

    /// Bytes of rank 0, told to all.
    fn tell(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut peers = self.peers();
        if self.leads() {
            for peer in peers.iter_mut() {
                send(peer, &bytes)?;
            }
            Ok(bytes)
        } else {
            let leader = peers.first_mut().context("no way to rank 0")?;
            receive(leader)
        }
    }

    /// Bytes of all processes added up in the order of ranks, for all.
    fn reduce(&self, mut mine: Vec<u8>, add: impl Fn(&mut [u8], &[u8])) -> Result<Vec<u8>> {
        let mut peers = self.peers();
        if self.leads() {
            for (i, peer) in peers.iter_mut().enumerate() {
                let theirs = receive(peer)?;
                ensure!(
                    theirs.len() == mine.len(),
                    "rank {} sent {} bytes where rank 0 has {}: all need the same config",
                    i + 1,
                    theirs.len(),
                    mine.len()
                );
                add(&mut mine, &theirs);
            }
            peers.iter_mut().try_for_each(|peer| send(peer, &mine))?;
            Ok(mine)
        } else {
            let leader = peers.first_mut().context("no way to rank 0")?;
            send(leader, &mine)?;
            receive(leader)
        }
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(feature = "nccl")]
    fn with_nccl(mut self, device: &Device) -> Result<Self> {
        if self.world > 1 && device.is_cuda() {
            let id = if self.leads() { nccl::fresh_id()? } else { Vec::new() };
            let id = self.tell(id)?;
            self.nccl = Some(nccl::Communicator::new(device, self.rank, self.world, &id)?);
        }
        Ok(self)
    }
}

/// Rank 0: the connections of all others, in the order of ranks.
fn listen(address: SocketAddr, world: usize) -> Result<Vec<TcpStream>> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let began = Instant::now();
    let mut found: BTreeMap<usize, TcpStream> = BTreeMap::new();
    while found.len() + 1 < world {
        let missing = world - 1 - found.len();
        match listener.accept() {
            Ok((mut stream, from)) => {
                stream.set_nonblocking(false)?;
                hasten(&stream)?;
                match greeted(&mut stream) {
                    Ok(rank) if rank > 0 && rank < world && !found.contains_key(&rank) => {
                        stream.set_read_timeout(None)?;
                        found.insert(rank, stream);
                    }
                    Ok(rank) => bail!("{from} says it is rank {rank} of {world}: give each its own --rank"),
                    Err(error) => tracing::warn!(%from, "no member of this run: {error:#}"),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ensure!(began.elapsed() < PATIENCE, "{missing} of {world} processes did not come");
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found.into_values().collect())
}

/// Another rank: the connection to rank 0, which may come later than this one.
fn join(address: SocketAddr, rank: usize) -> Result<TcpStream> {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    stream.set_nodelay(true)?;
    stream.write_all(GREETING)?;
    stream.write_all(&(rank as u64).to_le_bytes())?;
    Ok(stream)
}

fn hasten(stream: &TcpStream) -> Result<()> {
    // A member greets at once. Later nothing is in a hurry: a process may encode a set while the others wait.
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(())
}

fn greeted(stream: &mut TcpStream) -> Result<usize> {
    let (mut greeting, mut rank) = ([0; GREETING.len()], [0; 8]);
    stream.read_exact(&mut greeting)?;
    ensure!(greeting == *GREETING, "it does not greet");
    stream.read_exact(&mut rank)?;
    Ok(usize::try_from(u64::from_le_bytes(rank))?)
}

const GONE: &str =
    "another process of this run is gone: start all of them again, and they go on from the last saved state";

fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(&(bytes.len() as u64).to_le_bytes()).context(GONE)?;
    stream.write_all(bytes).context(GONE)
}

fn receive(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 8];
    stream.read_exact(&mut length).context(GONE)?;
    // As many bytes as really come: a wrong length ends in an error, not in an allocation.
    let length = u64::from_le_bytes(length);
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes).context(GONE)?;
    ensure!(bytes.len() as u64 == length, GONE);
    Ok(bytes)
}

#[cfg(feature = "nccl")]
mod nccl;

#[cfg(test)]
mod tests {
    use super::{Collective, Membership};
    use candle_core::{Device, Tensor};
    use std::collections::BTreeMap;
    use std::net::{SocketAddr, TcpListener};

    fn free_address() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port")
    }

    /// What each of `world` processes, here threads, makes of its meeting the others.
    fn together<T: Send>(world: usize, work: impl Fn(&Collective) -> T + Sync) -> Vec<T> {
        let rendezvous = free_address();
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..world)
                .rev()
                .map(|rank| {
                    let membership = Membership { world_size: world, rank, rendezvous };
                    scope.spawn(move || work(&membership.meet(&Device::Cpu).expect("a meeting")))
                })
                .collect();
            threads.into_iter().rev().map(|thread| thread.join().expect("a rank")).collect()
        })
    }

    #[test]
    fn sums_are_taken_in_the_order_of_ranks() {
        // In f32 (1e8 + 1) - 1e8 is 0, and (1e8 - 1e8) + 1 would be 1.
        let values = [1e8f32, 1.0, -1e8];
        let sums = together(3, |collective| {
            let mine = Tensor::new(&[values[collective.rank()], 2.0], &Device::Cpu).expect("a tensor");
            let mut tensors = BTreeMap::from([("w".to_owned(), mine)]);
            collective.sum(&mut tensors).expect("a sum");
            tensors["w"].to_vec1::<f32>().expect("values")
        });
        assert_eq!(sums, vec![vec![0.0, 6.0]; 3]);
    }

    #[test]
    fn means_and_decisions_are_the_same_for_all() {
        let heard = together(2, |collective| {
            let mut values = [1.0 + 1e-9, 3.0 * collective.rank() as f64];
            collective.mean(&mut values).expect("a mean");
            (values, collective.agree(collective.leads()).expect("a decision"))
        });
        assert_eq!(heard[0], heard[1]);
        assert!((heard[0].0[0] - (1.0 + 1e-9)).abs() < 1e-12 && heard[0].0[1] == 1.5 && heard[0].1);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_with_the_remedy() {
        let errors = together(2, |collective| {
            // The other one leaves at once.
            collective.leads().then(|| collective.mean(&mut [1.0]).expect_err("nobody answers"))
        });
        let error = format!("{:#}", errors[0].as_ref().expect("an error"));
        assert!(error.contains("start all of them again"), "{error}");
    }

    #[test]
    fn impossible_memberships_name_the_flag() {
        let refused = |world_size, rank| {
            let membership = Membership { world_size, rank, rendezvous: free_address() };
            membership.meet(&Device::Cpu).expect_err("impossible").to_string()
        };
        assert!(refused(0, 0).contains("--world-size"));
        assert!(refused(2, 2).contains("--rank"));
    }
}

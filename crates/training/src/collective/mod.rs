//! Several processes that train one model together, each on its own device with its own micro-batches. Gradients are
//! summed over all processes, so all make the same update.
//!
//! The processes connect over TCP to rank 0. On CPUs the sums use these connections; on GPUs (feature `nccl`) they only
//! carry NCCL's id. The micro-batches of an update are divided among the processes, so the number of processes does not
//! change what a spec trains. Sums over TCP are taken in the order of ranks; NCCL chooses its own order. One process
//! adds the chunks of all micro-batches in one sequence, while several add their own first, so the weights of one and
//! of several processes differ by rounding. They are bit for bit the same where a micro-batch is one example.
//!
//! The processes trust each other and their network: connections are neither encrypted nor authenticated.

mod connection;
mod membership;
#[cfg(feature = "nccl")]
mod nccl;
mod process_group;

pub use membership::Membership;
pub use process_group::ProcessGroup;

//! What a process asks of its machine. Libraries take time, randomness and progress as arguments; the programs get
//! them here.

pub mod ambient;
pub mod progress;
pub mod resources;
pub mod stop_signal;

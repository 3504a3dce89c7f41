//! The process and its machine: clock and entropy, stop signals, threads and memory, progress in a terminal.
//! Libraries take time and randomness as arguments; programs get them here.

pub mod ambient;
pub mod exit;
pub mod progress;
pub mod resources;
pub mod stop_signal;

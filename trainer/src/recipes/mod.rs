//! The code of runs, each a straight line.

pub mod objective;
pub mod train;

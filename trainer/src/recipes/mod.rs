//! The code of runs, each a straight line.

mod broken;
pub mod evaluate;
pub mod fid;
pub mod objective;
pub mod rotate;
pub mod train;
pub mod trainee;

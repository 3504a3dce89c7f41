//! The command line, a file per subcommand.

pub mod bench;
pub mod convert;
pub mod doctor;
pub mod evaluate;
pub mod export;
pub mod export_votes;
pub mod fid;
pub mod import;
pub mod prepare;
pub mod replay;
mod spec;
pub mod style;
pub mod train;

//! The command line, a file per subcommand.

pub mod bench;
pub mod convert;
pub mod doctor;
pub mod export_votes;
pub mod prepare;
pub mod replay;
pub mod train;

//! The command line, a file per subcommand.

pub mod bench;
pub mod convert;
pub mod doctor;
pub mod export;
pub mod import;
pub mod replay;
pub mod train;

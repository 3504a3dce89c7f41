//! The command line, a file per subcommand.

pub mod bench;
pub mod replay;
pub mod train;

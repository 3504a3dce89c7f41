//! The subcommands, one per file.

pub(crate) mod convert;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod export_votes;
pub(crate) mod fid;
pub(crate) mod import;
pub(crate) mod import_votes;
pub(crate) mod prepare;
pub(crate) mod pull;
pub(crate) mod register;
pub(crate) mod replay;
pub(crate) mod simulate_campaign;
mod spec_file;
pub(crate) mod study;
pub(crate) mod style;
pub(crate) mod train;

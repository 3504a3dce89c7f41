//! What both sides draw. Islands wake in the browser; the rest is plain markup.

pub(crate) mod badge;
pub(crate) mod copy_line;
pub(crate) mod evaluations;
pub(crate) mod job_queue;
pub(crate) mod judge;
pub(crate) mod note;
pub(crate) mod playground;
mod poll;
mod run_charts;
pub(crate) mod run_live;
mod run_samples;
pub(crate) mod run_table;
pub(crate) mod theme_toggle;

//! Components that both sides compile. Islands are hydrated in the browser; the others are plain markup.

pub(crate) mod badge;
mod chart_controls;
pub(crate) mod compare_board;
#[cfg(feature = "ssr")]
pub(crate) mod copy_line;
mod desk;
mod desk_answer;
mod desk_pair;
mod desk_queue;
mod desk_set;
#[cfg(feature = "ssr")]
pub(crate) mod evaluations;
mod hydration;
#[cfg(feature = "ssr")]
pub(crate) mod job_queue;
pub(crate) mod judge;
mod keyboard;
mod live;
pub(crate) mod note;
mod poll;
pub(crate) mod progress;
pub(crate) mod run_charts;
pub(crate) mod run_live;
#[cfg(feature = "ssr")]
pub(crate) mod run_row;
pub(crate) mod run_samples;
#[cfg(feature = "ssr")]
pub(crate) mod run_table;
#[cfg(feature = "ssr")]
pub(crate) mod theme_toggle;

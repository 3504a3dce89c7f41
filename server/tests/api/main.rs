//! The whole router, called without a socket.

mod bad_input;
mod comparisons;
mod datasets;
mod generation;
mod guard;
mod judging;
mod logging;
mod lora;
mod pages;
mod studies;
#[path = "../support/mod.rs"]
mod support;
mod training;

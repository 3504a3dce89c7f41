//! The router as it is served, without a socket.

mod bad_input;
mod generation;
mod guard;
mod judging;
mod lora;
mod pages;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the browser's tests, which use another part of it")]
mod support;
mod training;

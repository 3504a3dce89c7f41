//! The server's program under clients that are slow, silent, many or malformed, and at its end.

mod limits;
mod malformed;
mod program;
mod stopping;

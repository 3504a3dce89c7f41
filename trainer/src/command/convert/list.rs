//! The list of a file's tensors.

use anyhow::{Context, Result};
use diffusion::torch_file::StoredTensor;
use std::io::{self, BufWriter, ErrorKind, Write};

/// Prints name, type and shape of each tensor on a line, separated by tabs.
pub(super) fn print_list(tensors: &[(String, StoredTensor)]) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = || {
        for (name, tensor) in tensors {
            // A name may contain any character; escaped, it stays on its line.
            let name: String = name
                .chars()
                .flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] })
                .collect();
            writeln!(out, "{name}\t{}\t{:?}", tensor.dtype(), tensor.shape())?;
        }
        out.flush()
    };
    match write() {
        // The reader closed the pipe, as `| head` does.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print the list"),
    }
}

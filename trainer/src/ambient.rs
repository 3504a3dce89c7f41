//! The binary's clock and entropy. Everything below takes both as arguments; this is where they come from.

use anyhow::{Context, Result};
use domain::Timestamp;
use std::io::Read;

/// Now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the edge of the binary reads the clock")]
pub fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

/// Fresh random bytes of the operating system.
///
/// # Errors
/// The operating system has none.
pub fn entropy<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("the operating system gives no random bytes")?;
    Ok(bytes)
}

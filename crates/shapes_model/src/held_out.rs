//! Seeds of scenes that training never draws; measurements use them.

/// The first held-out seed of the autoencoder, and of `measure`.
pub(super) const AUTOENCODER: u64 = 20_000_000;
/// The first held-out seed of CLIP.
pub(super) const CLIP: u64 = 30_000_000;

//! Training and evaluation. `recipes` holds the procedures from a spec to models and reports; everything else is what
//! they are made of: `objectives` (losses), `forward` (denoising errors), `policy` (the trained network), `optim`
//! (optimisers), `data` (encoded sets and batches), `checkpoint` (what a run saves), `collective` (several processes).

pub mod checkpoint;
pub mod collective;
pub mod data;
pub mod forward;
pub mod objectives;
pub mod optim;
pub mod policy;
pub mod recipes;
pub mod style;

//! Training and evaluation. `recipes` holds the procedures from a spec to models and reports. The other modules are
//! their parts: `objectives` (losses), `forward` (denoising errors and the backward pass), `policy` (the trained
//! network), `optim` (optimisers), `data` (encoded sets and micro-batches), `checkpoint` (saved states and models),
//! `collective` (several processes that train together), `style` (style sets).

pub mod checkpoint;
pub mod collective;
pub mod data;
pub mod forward;
pub mod judges;
pub mod objectives;
pub mod optim;
pub mod origins;
pub mod policy;
pub mod recipes;
pub mod style;

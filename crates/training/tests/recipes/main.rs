//! Training, from specs to checkpoints, as one binary of tests: each further one would link all of it again.

mod divergence;
mod front_page;
mod golden;
mod identity;
mod images;
mod lora;
mod resume;
mod sdxl;
mod style;
mod world;

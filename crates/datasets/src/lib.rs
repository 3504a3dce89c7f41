//! Preference pairs as they lie in files: Pick-a-Pic's parquet, plain folders, WebDataset's tar shards. Pure reading:
//! no tensors, no database. Images stay bytes until somebody decodes them, a set is never held whole, and a row that
//! cannot be used is counted and named, never the end of a run.

pub mod error;
pub mod files;
pub mod folder;
pub mod image;
pub mod lanes;
pub mod pair;
pub mod pick_a_pic;
pub mod prompt_filter;
pub mod rows;
pub mod votes;
pub mod webdataset;

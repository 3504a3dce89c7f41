//! Preference pairs and captioned images in files: Pick-a-Pic's parquet, plain folders and WebDataset's tar shards. The
//! crate reads and writes files without tensors or a database. Images stay encoded until a caller decodes them, sets
//! are streamed, and a row that cannot be used is counted and reported instead of ending the run.

pub mod decode;
pub mod error;
mod folder;
mod image_files;
pub mod images;
mod json_lines;
pub mod json_row;
mod likes;
pub mod listing;
pub mod pair;
mod parallel_reader;
pub mod pick_a_pic;
pub mod prompt_filter;
mod ranked;
pub mod rows;
mod splits;
pub mod text;
pub mod votes;
pub mod votes_elsewhere;
mod webdataset;

//! Tests of every query of the store, on both databases. One file per table.

mod fixture;

mod campaigns;
mod contestants;
mod db;
mod images;
mod jobs;
mod matchups;
mod migrations;
mod model_uses;
mod models;
mod points;
mod queue;
mod rankings;
mod raters;
mod run_changes;
mod run_list;
mod run_records;
mod runs;
mod scores;
mod studies;
mod unavailable;
mod undo;
mod votes;
mod workers;

//! Tests of every query of the store, on both databases. One file per table.

mod fixture;

mod db;
mod images;
mod jobs;
mod matchups;
mod models;
mod raters;
mod runs;
mod scores;
mod studies;
mod votes;

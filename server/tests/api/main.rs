//! The whole router, called without a socket.

mod bad_input;
mod best_of_four;
mod blinding;
mod campaign_access;
mod campaign_form;
mod campaigns;
mod comparisons;
mod contestants;
mod database;
mod datasets;
mod evaluations;
mod events;
mod generation;
mod guard;
mod judging;
mod load;
mod logging;
mod lora;
mod models;
mod new_run;
mod openapi;
mod pages;
#[path = "../documents/postgres.rs"]
#[expect(dead_code, reason = "shared with the test of the documents, which uses another part of it")]
mod postgres;
#[path = "../support/proxy.rs"]
mod proxy;
mod ratings;
mod run_changes;
mod run_list;
mod run_records;
mod scorers;
mod series;
mod settings;
mod studies;
#[path = "../support/mod.rs"]
mod support;
mod training;
mod weights;
mod workbench;

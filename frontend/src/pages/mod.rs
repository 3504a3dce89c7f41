//! The pages, rendered on the server. Each loads its data before the first byte is sent, so that every page can be read
//! without JavaScript.

mod agreement;
mod app;
mod bundle;
mod campaign;
mod campaign_desk;
mod campaign_new;
mod campaigns;
mod compare;
mod data_check;
mod dataset;
mod datasets;
mod docs;
mod docs_operation;
mod docs_schema;
mod evidence;
mod generate;
mod help;
mod home;
mod judge;
mod layout;
mod leaderboard;
mod model;
mod model_lineage;
mod models;
mod not_found;
mod pair;
mod questions;
mod run;
mod run_compare;
mod run_compare_choice;
mod run_compare_samples;
mod run_compared;
mod run_facts;
mod run_sweep;
mod run_verdict;
mod runs;
mod shell;
mod studies;
mod study;
mod weights_figure;

pub use app::App;
pub use bundle::Bundle;
pub use compare::RefusedForm;
pub use help::{Help, HelpPage};
pub use shell::shell;

//! Rows in SQLite or Postgres, and files in the artifact store. One method per query, grouped by table. Nothing here
//! reads a clock or draws random numbers: both are arguments.

mod active_jobs;
mod artifacts;
mod campaign_checks;
mod campaign_desk;
mod campaign_lock;
mod campaign_raters;
mod campaigns;
mod contestants;
mod db;
mod error;
mod evaluations;
mod images;
mod invitations;
mod jobs;
mod matchups;
mod model_uses;
mod models;
mod points;
mod queue;
mod raters;
mod run_changes;
mod run_list;
mod run_log;
mod run_rows;
mod run_usage;
mod runs;
mod studies;
mod undo;
mod votes;
mod workers;

pub use active_jobs::ActiveJob;
pub use artifacts::{ArtifactError, Artifacts};
pub use campaign_checks::CheckCounts;
pub use campaign_desk::DeskItem;
pub use campaign_raters::{OwnAnswer, RaterCounts};
pub use campaigns::CampaignCounts;
pub use db::{Db, Store, Waits};
pub use error::{Conflict, StoreError, Unavailable};
pub use images::{ImageFilter, ImageScore, PairedScores};
pub use jobs::{Claim, Ending, Heartbeat};
pub use model_uses::{Activity, ModelVotes};
pub use points::Curves;
pub use run_list::{RunCursor, RunFilter};
pub use studies::StudyJob;
pub use votes::{JudgedScores, PairVotes, RatedVote};

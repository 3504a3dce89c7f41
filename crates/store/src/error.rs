//! Errors of the store. Callers decide by variant.

use domain::problem::Problems;
use sqlx::sqlite::SqliteError;
use std::time::Duration;

/// Why a query failed. A lookup that finds nothing returns `None` instead.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The change contradicts rows that exist.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The claim's token is no longer the job's: the lease expired and another worker claimed the job, or the job has
    /// ended.
    #[error("the lease of this job is lost (another worker holds it, or it has ended): stop and claim again")]
    LeaseLost,
    /// A row that the change refers to does not exist.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// An argument that the database cannot hold, or that contradicts another.
    #[error("{0}")]
    Invalid(#[from] Problems),
    /// A row holds a value that this version cannot parse: it was written by another version, or by hand.
    #[error(
        "row {id} of table {table} has an invalid {column}: repair the row, or use the version that wrote it"
    )]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column whose value cannot be parsed.
        column: &'static str,
        /// Id of the row.
        id: String,
    },
    /// The database's URL is invalid.
    #[error("database URL: {0}")]
    Address(String),
    /// The migrations cannot be applied.
    #[error("migrating the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database refused a query, or cannot be reached.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// Postgres accepted a query and did not answer within this time.
    #[error("database: no answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
}

/// Why the database cannot run a query now. A later attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Another process holds a lock.
    Locked,
    /// It does not answer, or all connections to it are in use.
    Unreachable,
}

impl StoreError {
    /// Why the database could not run the query, if the cause may pass; none for any other error.
    #[must_use]
    pub fn unavailable(&self) -> Option<Unavailable> {
        match self {
            Self::NoAnswer(_) => Some(Unavailable::Unreachable),
            Self::Database(error) => unavailable(error),
            _ => None,
        }
    }
}

fn unavailable(error: &sqlx::Error) -> Option<Unavailable> {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::Io(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Some(Unavailable::Unreachable),
        sqlx::Error::Database(error) => {
            let code = error.code()?;
            if error.try_downcast_ref::<SqliteError>().is_some() {
                // SQLITE_BUSY and SQLITE_LOCKED; the low byte of an extended code is the code.
                let code: i32 = code.parse().ok()?;
                return matches!(code & 0xff, 5 | 6).then_some(Unavailable::Locked);
            }
            // Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html
            match &*code {
                "55P03" | "40P01" | "40001" | "57014" => Some(Unavailable::Locked),
                "57P01" | "57P02" | "57P03" => Some(Unavailable::Unreachable),
                code if code.starts_with("53") || code.starts_with("08") => Some(Unavailable::Unreachable),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The rows that a change contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A model of this name exists.
    #[error("a model of this name exists: choose another name")]
    ModelName,
    /// Images, votes or other models refer to the model.
    #[error("this model is in use: images, votes or other models refer to it")]
    ModelInUse,
    /// The rater has voted on the matchup.
    #[error("this rater has already voted on this matchup: the first answer counts")]
    AlreadyVoted,
    /// A campaign of this name exists.
    #[error("a campaign of this name exists: choose another name")]
    CampaignName,
    /// The campaign is closed, which is final.
    #[error("this campaign is closed, which is final: copy it to judge more")]
    CampaignClosed,
    /// The campaign is paused or closed.
    #[error("this campaign takes no answers now: it is paused or closed")]
    CampaignNotOpen,
    /// The rater has judged or skipped another matchup since.
    #[error("only the rater's last answer can be taken back, and this is an earlier one")]
    NotLastAnswer,
    /// The run's job has not ended.
    #[error("the job of this run has not ended: cancel it, or wait until it ends")]
    JobNotEnded,
    /// The job has ended.
    #[error("this job has ended: submit a new one")]
    JobEnded,
    /// The job is not queued.
    #[error("this job is not in the queue: only a queued job has a priority")]
    JobNotQueued,
    /// A study, votes or other rows refer to the run.
    #[error("this run is in use: a study, or votes on its samples, refer to it")]
    RunInUse,
    /// Votes or a campaign refer to the image.
    #[error("this image is in use: raters have answered about it, or a campaign has it as a known answer")]
    ImageInUse,
    /// The image is a run's sample or an evaluation's.
    #[error("only images that were requested can be deleted: this one belongs to a run or an evaluation")]
    ImageNotRequested,
}

/// Converts a foreign-key violation to `Missing`. `what`: the row that is referred to.
pub(crate) fn missing(error: sqlx::Error, what: &'static str) -> StoreError {
    match &error {
        sqlx::Error::Database(e) if e.is_foreign_key_violation() => StoreError::Missing(what),
        _ => error.into(),
    }
}

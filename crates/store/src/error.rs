//! What can go wrong, as far as somebody decides on it.

use domain::problem::Problems;

/// Why the store did not do what was asked. Absence is not an error where it is an answer: see the `Option`s.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something that must be unique or may happen once is there already.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The claim's token is no longer the job's: the lease lapsed and another worker took over, or the job ended.
    #[error("the lease of this job is lost (another worker holds it, or it has ended): stop and claim again")]
    LeaseLost,
    /// What a row was to refer to is not there.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// What was given can never be stored.
    #[error("{0}")]
    Invalid(#[from] Problems),
    /// A stored row is not what this version understands: written by another version, or by hand.
    #[error(
        "row {id} of table {table} holds an unreadable {column}: repair the row, or use the version that wrote it"
    )]
    Inconsistent {
        /// Where.
        table: &'static str,
        /// What cannot be read.
        column: &'static str,
        /// Which row.
        id: String,
    },
    /// The database's address is none.
    #[error("database address: {0}")]
    Address(String),
    /// The database has other tables than this version needs.
    #[error("bringing the database's tables up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database did not answer as it should.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// What is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Names of models are unique.
    #[error("a model of this name exists: choose another name")]
    ModelName,
    /// What is referred to stays.
    #[error("this model is in use: images, votes or other models refer to it")]
    ModelInUse,
    /// A rater judges a matchup once.
    #[error("this rater has judged this matchup: the vote is already counted")]
    AlreadyVoted,
    /// Nothing changes a job that has ended.
    #[error("this job has ended: submit a new one")]
    JobEnded,
}

/// A broken reference as what it means: something that was named is not there.
pub(crate) fn missing(error: sqlx::Error, what: &'static str) -> StoreError {
    match &error {
        sqlx::Error::Database(e) if e.is_foreign_key_violation() => StoreError::Missing(what),
        _ => error.into(),
    }
}

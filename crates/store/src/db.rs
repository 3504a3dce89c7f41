//! Connections to SQLite and Postgres, and macros that run one SQL text on either.

use crate::error::StoreError;
use chrono::{SubsecRound, TimeDelta};
use domain::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// How long a query waits for a connection, or on SQLite for another process's write, before it fails.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection pool of one of the two databases.
#[derive(Clone, Debug)]
pub enum Db {
    /// A SQLite file.
    Sqlite(SqlitePool),
    /// A Postgres server.
    Postgres(PgPool),
}

/// Expands an expression once per database, with `$pool` bound to the concrete pool. So one SQL text serves both
/// databases, with their native types.
macro_rules! with_db {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.db {
            $crate::db::Db::Sqlite($pool) => $body,
            $crate::db::Db::Postgres($pool) => $body,
        }
    };
}

/// As [`with_db`], inside a write transaction, which is rolled back if the body returns early. On SQLite it takes the
/// write lock at once: a transaction that reads first and writes later would fail instead of waiting for another
/// writer.
macro_rules! in_transaction {
    ($store:expr, $tx:ident => $body:expr) => {
        match &$store.db {
            $crate::db::Db::Sqlite(pool) => {
                let mut $tx = pool.begin_with("BEGIN IMMEDIATE").await?;
                let out = $body;
                $tx.commit().await?;
                out
            }
            $crate::db::Db::Postgres(pool) => {
                let mut $tx = pool.begin().await?;
                let out = $body;
                $tx.commit().await?;
                out
            }
        }
    };
}
pub(crate) use {in_transaction, with_db};

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) db: Db,
}

impl Store {
    /// Opens `sqlite://PATH` (created with its folder if absent) or `postgres://...`, and applies pending migrations.
    ///
    /// # Errors
    /// Fails if the URL has another form, the database cannot be reached, or it holds migrations that this version
    /// does not know.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let db = if let Some(path) = url.strip_prefix("sqlite://") {
            Db::Sqlite(open_sqlite(Path::new(path)).await?)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Db::Postgres(open_postgres(url).await?)
        } else {
            return Err(StoreError::Address("use sqlite://PATH or postgres://USER@HOST/NAME".to_owned()));
        };
        Ok(Self { db })
    }

    /// Runs a trivial query, for readiness checks.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        with_db!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop)?);
        Ok(())
    }

    /// The connection pool, for SQL that is not part of the product: maintenance and tests.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Closes all connections.
    pub async fn close(&self) {
        with_db!(self, pool => pool.close().await);
    }
}

async fn open_sqlite(path: &Path) -> Result<SqlitePool, StoreError> {
    if path.as_os_str().is_empty() {
        return Err(StoreError::Address("sqlite:// needs the path of a file: use sqlite://PATH".to_owned()));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder).await.map_err(|e| {
            StoreError::Address(format!("cannot create the folder {}: {e}", folder.display()))
        })?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(WAIT_TIMEOUT);
    let pool = wait_for_wal(options).await?;
    // The migrator's own lock does nothing on SQLite: a server and a worker that start together would both create the
    // tables. With the write lock the second one waits, and then finds them.
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    SQLITE_MIGRATIONS.run_direct(None, &mut *tx, false).await?;
    tx.commit().await?;
    Ok(pool)
}

/// Connects, and retries while another process switches the file to write-ahead logging. The switch, at the first
/// connection to a new file, ignores the busy timeout: of several processes that start together all but one would
/// fail.
async fn wait_for_wal(options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        let pool = SqlitePoolOptions::new().max_connections(8).acquire_timeout(WAIT_TIMEOUT);
        match pool.connect_with(options.clone()).await {
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("5") && waited < WAIT_TIMEOUT => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            outcome => return Ok(outcome?),
        }
    }
}

async fn open_postgres(url: &str) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        StoreError::Address(
            "the postgres:// URL cannot be parsed: use postgres://USER:PASSWORD@HOST:PORT/NAME".to_owned(),
        )
    })?;
    let pool =
        PgPoolOptions::new().max_connections(16).acquire_timeout(WAIT_TIMEOUT).connect_with(options).await?;
    POSTGRES_MIGRATIONS.run_direct(None, &mut *pool.acquire().await?, false).await?;
    Ok(pool)
}

/// A time as both databases store it, truncated to the microsecond.
pub(crate) fn micros(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(6)
}

/// The end of a lease of `length` from now, at most 100 years: longer ones could exceed the calendar.
pub(crate) fn lease_end(now: Timestamp, length: Duration) -> Timestamp {
    const MAX: TimeDelta = TimeDelta::days(36_500);
    micros(now + TimeDelta::from_std(length).map_or(MAX, |length| length.min(MAX)))
}

/// The parsed value of a column, or the error that names its row.
pub(crate) fn parsed<T, E>(
    value: Result<T, E>,
    table: &'static str,
    column: &'static str,
    id: impl ToString,
) -> Result<T, StoreError> {
    value.map_err(|_| StoreError::Inconsistent { table, column, id: id.to_string() })
}

//! The two databases: how to reach them, and how one SQL text runs on either.

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

/// How long a write waits for another process's write before it fails, and a request for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pool of connections to one of the two databases.
#[derive(Clone, Debug)]
pub enum Db {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
}

/// Expands an expression once per database, with `$pool` bound to the concrete pool: one SQL text, native types.
macro_rules! with_db {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.db {
            $crate::db::Db::Sqlite($pool) => $body,
            $crate::db::Db::Postgres($pool) => $body,
        }
    };
}

/// The same inside a write transaction, which is rolled back if the body leaves by `?` or `return`. SQLite takes the
/// write lock at once: a transaction that reads first and then wants to write would fail instead of waiting.
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

/// Everything that is remembered in rows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) db: Db,
}

impl Store {
    /// Opens `sqlite://PATH` (the file and its folder are made if absent) or `postgres://...`, and brings its tables
    /// up to date.
    ///
    /// # Errors
    /// An address of another kind, a database that cannot be reached, or tables of another version.
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

    /// Whether the database answers: what readiness means.
    ///
    /// # Errors
    /// That it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        with_db!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop)?);
        Ok(())
    }

    /// The pools themselves, for what only an operator does.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Waits for the connections to end.
    pub async fn close(&self) {
        with_db!(self, pool => pool.close().await);
    }
}

async fn open_sqlite(path: &Path) -> Result<SqlitePool, StoreError> {
    if path.as_os_str().is_empty() {
        return Err(StoreError::Address("sqlite:// lacks the path of the file".to_owned()));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder)
            .await
            .map_err(|e| StoreError::Address(format!("cannot make the folder {}: {e}", folder.display())))?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE);
    let pool = wait_for_wal(options).await?;
    // The migrator's own lock does nothing on SQLite: a server and a worker that start together would both make the
    // tables. Under the write lock the second one waits and finds them.
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    SQLITE_MIGRATIONS.run_direct(None, &mut *tx, false).await?;
    tx.commit().await?;
    Ok(pool)
}

/// Connects; a new file becomes a write-ahead log's at the first connection. That switch does not heed the busy
/// timeout: of several processes that start together on a new file, all but one would fail.
async fn wait_for_wal(options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        let pool = SqlitePoolOptions::new().max_connections(8).acquire_timeout(PATIENCE);
        match pool.connect_with(options.clone()).await {
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("5") && waited < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            outcome => return Ok(outcome?),
        }
    }
}

async fn open_postgres(url: &str) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Address("the postgres:// address cannot be read".to_owned()))?;
    let pool =
        PgPoolOptions::new().max_connections(16).acquire_timeout(PATIENCE).connect_with(options).await?;
    POSTGRES_MIGRATIONS.run_direct(None, &mut *pool.acquire().await?, false).await?;
    Ok(pool)
}

/// A moment as both databases keep it: to the microsecond.
pub(crate) fn micros(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(6)
}

/// The end of a lease; one too long for the calendar ends with it.
pub(crate) fn later(now: Timestamp, by: Duration) -> Timestamp {
    const LONGEST: TimeDelta = TimeDelta::days(36_500);
    micros(now + TimeDelta::from_std(by).map_or(LONGEST, |by| by.min(LONGEST)))
}

/// A list limit as both databases take it.
pub(crate) fn limit(limit: u32) -> i64 {
    i64::from(limit)
}

/// Reads a column that holds more than its database type says; the row that cannot be read is named.
pub(crate) fn read<T, E>(
    value: Result<T, E>,
    table: &'static str,
    column: &'static str,
    id: impl ToString,
) -> Result<T, StoreError> {
    value.map_err(|_| StoreError::Inconsistent { table, column, id: id.to_string() })
}

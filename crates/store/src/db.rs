//! Connections to SQLite and Postgres, and macros that run one SQL text on either.

use crate::error::StoreError;
use chrono::{SubsecRound, TimeDelta};
use domain::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use std::future::Future;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// How long queries wait before they fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// For a lock that another process holds. On SQLite also for a connection: one write at a time holds the only one that
    /// writes.
    pub lock: Duration,
    /// For a connection to Postgres: none is free, or the server does not answer.
    pub connection: Duration,
}

impl Waits {
    /// Of a program whose work takes longer than a restart of the database.
    pub const WORK: Self = Self { lock: Duration::from_secs(10), connection: Duration::from_secs(10) };
    /// Of a server whose clients wait for an answer.
    pub const REQUESTS: Self = Self { lock: Duration::from_secs(5), connection: Duration::from_millis(1500) };
}

/// How long the program waits at its start for Postgres and for migrations of another process.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long Postgres may take for a query or a transaction. A host that has gone without closing its connections would
/// otherwise be noticed after minutes.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that read from a SQLite file.
const SQLITE_READERS: u32 = 8;
/// Connections to Postgres for queries that read.
const POSTGRES_READERS: u32 = 12;
/// Connections to Postgres for queries that write.
const POSTGRES_WRITERS: u32 = 8;

/// A connection pool of one of the two databases.
#[derive(Clone, Debug)]
pub enum Db {
    /// A SQLite file.
    Sqlite(SqlitePool),
    /// A Postgres server.
    Postgres(PgPool),
}

/// Expands an expression that reads once per database, with `$pool` bound to the concrete pool. So one SQL text serves
/// both databases, with their native types. Reads have connections of their own, so that they do not wait behind writes
/// that wait for a lock; on SQLite these connections refuse to write.
macro_rules! with_db {
    ($store:expr, $pool:ident => $body:expr) => {
        $crate::db::expand!(&$store.readers, $pool => $body)
    };
}

/// As [`with_db`], for a statement that writes.
macro_rules! write_db {
    ($store:expr, $pool:ident => $body:expr) => {
        $crate::db::expand!(&$store.db, $pool => $body)
    };
}

/// The two expansions of an expression.
macro_rules! expand {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            $crate::db::Db::Sqlite($pool) => $body,
            $crate::db::Db::Postgres($pool) => {
                $crate::db::in_time(async { Ok::<_, $crate::error::StoreError>($body) }).await?
            }
        }
    };
}

/// As [`write_db`], inside a transaction, which is rolled back if the body returns early. On SQLite it takes the
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
                $crate::db::in_time(async {
                    let mut $tx = pool.begin().await?;
                    let out = $body;
                    $tx.commit().await?;
                    Ok::<_, $crate::error::StoreError>(out)
                })
                .await?
            }
        }
    };
}
pub(crate) use {expand, in_transaction, with_db, write_db};

/// The result of a query, or an error if Postgres takes too long.
pub(crate) async fn in_time<T>(query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(QUERY_TIMEOUT, query).await.unwrap_or(Err(StoreError::NoAnswer(QUERY_TIMEOUT)))
}

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) db: Db,
    /// Connections of their own for queries that read.
    pub(crate) readers: Db,
}

impl Store {
    /// Opens a database as [`Store::open`] does, with the waits of [`Waits::WORK`].
    ///
    /// # Errors
    /// Fails as [`Store::open`] does.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::open(url, Waits::WORK).await
    }

    /// Opens `sqlite://PATH` (created with its folder if absent) or `postgres://...`, and applies pending migrations.
    ///
    /// # Errors
    /// Fails if the URL has another form, the database cannot be reached, or it holds migrations that this version
    /// does not know.
    pub async fn open(url: &str, waits: Waits) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("sqlite://") {
            let (writer, readers) = open_sqlite(Path::new(path), waits.lock).await?;
            return Ok(Self { db: Db::Sqlite(writer), readers: Db::Sqlite(readers) });
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let (writers, readers) = open_postgres(url, waits).await?;
            return Ok(Self { db: Db::Postgres(writers), readers: Db::Postgres(readers) });
        }
        Err(StoreError::Address("use sqlite://PATH or postgres://USER@HOST/NAME".to_owned()))
    }

    /// Runs a trivial query, for readiness checks.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        with_db!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop)?);
        Ok(())
    }

    /// The connection pool that writes, for SQL that is not part of the product: maintenance and tests.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Closes all connections.
    pub async fn close(&self) {
        for db in [&self.readers, &self.db] {
            match db {
                Db::Sqlite(pool) => pool.close().await,
                Db::Postgres(pool) => pool.close().await,
            }
        }
    }
}

/// The connection that writes, and those that read.
async fn open_sqlite(path: &Path, wait: Duration) -> Result<(SqlitePool, SqlitePool), StoreError> {
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
        .busy_timeout(wait);
    let pool = wait_for_wal(options.clone(), wait).await?;
    // The migrator's own lock does nothing on SQLite: a server and a worker that start together would both create the
    // tables. With the write lock the second one waits, and then finds them.
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    SQLITE_MIGRATIONS.run_direct(None, &mut *tx, false).await?;
    tx.commit().await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(SQLITE_READERS)
        .acquire_timeout(wait)
        .connect_lazy_with(options.pragma("query_only", "ON"));
    Ok((pool, readers))
}

/// Connects, and retries while another process switches the file to write-ahead logging. The switch, at the first
/// connection to a new file, ignores the busy timeout: of several processes that start together all but one would
/// fail.
async fn wait_for_wal(options: SqliteConnectOptions, wait: Duration) -> Result<SqlitePool, StoreError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(wait);
        match pool.connect_with(options.clone()).await {
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("5") && waited < START_TIMEOUT => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// The connections that write, and those that read.
async fn open_postgres(url: &str, waits: Waits) -> Result<(PgPool, PgPool), StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        StoreError::Address(
            "the postgres:// URL cannot be parsed: use postgres://USER:PASSWORD@HOST:PORT/NAME".to_owned(),
        )
    })?;
    // A connection of its own, without a lock timeout: a process that starts waits while another one migrates.
    let start = PgPoolOptions::new().max_connections(1).acquire_timeout(START_TIMEOUT);
    let start = start.connect_with(options.clone()).await?;
    POSTGRES_MIGRATIONS.run_direct(None, &mut *start.acquire().await?, false).await?;
    start.close().await;
    let pool = |connections| {
        let lock_timeout = format!("SET lock_timeout = {}", waits.lock.as_millis());
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(waits.connection)
            .after_connect(move |connection, _| {
                let statement = sqlx::query(sqlx::AssertSqlSafe(lock_timeout.clone()));
                Box::pin(async move { statement.execute(connection).await.map(drop) })
            })
            .connect_lazy_with(options.clone())
    };
    Ok((pool(POSTGRES_WRITERS), pool(POSTGRES_READERS)))
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

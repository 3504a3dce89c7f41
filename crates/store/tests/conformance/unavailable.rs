//! Locks that others hold: writes that wait for one fail in time and as such, and reads go on.

use crate::fixture::{Fixture, on_both_databases};
use domain::id::RaterId;
use std::time::{Duration, Instant};
use store::{Db, Store, StoreError, Unavailable, Waits};

on_both_databases!(reads_go_on_while_writes_wait_for_a_lock, a_refused_row_is_no_lack_of_the_database);

/// Short, so that the test is.
const WAITS: Waits = Waits { lock: Duration::from_secs(2), connection: Duration::from_millis(1500) };

/// More writes at once than any pool has connections.
const WRITES: u8 = 40;

async fn reads_go_on_while_writes_wait_for_a_lock(mut fixture: Fixture) {
    let server = Store::open(&fixture.url, WAITS).await.unwrap();
    fixture.model("shapes").await;
    let now = fixture.tick();
    match fixture.store.db() {
        Db::Sqlite(pool) => {
            let lock = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            check(&server, now).await;
            lock.rollback().await.unwrap();
        }
        Db::Postgres(pool) => {
            let mut lock = pool.begin().await.unwrap();
            sqlx::query("LOCK TABLE raters IN EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
            check(&server, now).await;
            lock.rollback().await.unwrap();
        }
    }
    server.ensure_rater(RaterId::new(now, [1; 10]), now).await.expect("the lock is released");
    server.close().await;
}

/// While the lock is held, reads succeed at once and writes fail after their wait.
async fn check(server: &Store, now: domain::Timestamp) {
    let began = Instant::now();
    let writes: Vec<_> = (0..WRITES)
        .map(|number| {
            let server = server.clone();
            tokio::spawn(async move { server.ensure_rater(RaterId::new(now, [number; 10]), now).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..50 {
        let read = Instant::now();
        assert_eq!(server.get_model_by_name("shapes").await.unwrap().unwrap().name, "shapes");
        assert!(read.elapsed() < Duration::from_millis(900), "a read waited for {:?}", read.elapsed());
    }
    assert!(began.elapsed() < WAITS.lock, "the reads took as long as the writes wait");
    let mut locked = 0;
    for write in writes {
        let error = write.await.unwrap().expect_err("the lock is held");
        let why = error.unavailable().unwrap_or_else(|| panic!("{error}"));
        locked += usize::from(why == Unavailable::Locked);
    }
    assert!(locked > 0, "no write failed for the lock itself");
    // The first write waits for the lock, the others for its connection at most as long again.
    assert!(began.elapsed() < 3 * WAITS.lock, "{:?}", began.elapsed());
}

async fn a_refused_row_is_no_lack_of_the_database(mut fixture: Fixture) {
    let mut orphan = fixture.new_model("orphan");
    orphan.base_id = Some(fixture.new_model("never inserted").id);
    let refused = fixture.store.insert_model(&orphan, None).await.expect_err("no such base");
    assert_eq!(refused.unavailable(), None, "{refused}");
    let missing: StoreError = match fixture.store.db() {
        Db::Sqlite(pool) => sqlx::query("SELECT 1 FROM nothing").execute(pool).await.unwrap_err().into(),
        Db::Postgres(pool) => sqlx::query("SELECT 1 FROM nothing").execute(pool).await.unwrap_err().into(),
    };
    assert_eq!(missing.unavailable(), None, "{missing}");
}

//! Opening a store: URLs, pragmas, and concurrent starts.

use crate::fixture::{Fixture, on_both_databases};
use store::{Db, Store, StoreError};

on_both_databases!(an_open_store_answers, a_reference_to_a_missing_row_is_refused);

async fn an_open_store_answers(fixture: Fixture) {
    fixture.store.ping().await.unwrap();
}

async fn a_reference_to_a_missing_row_is_refused(mut fixture: Fixture) {
    let mut model = fixture.new_model("orphan");
    model.base_id = Some(model.id);
    // Its own base: the database accepts a row that refers to itself.
    fixture.store.insert_model(&model, None).await.unwrap();
    let mut other = fixture.new_model("other");
    other.base_id = Some(fixture.new_model("never inserted").id);
    let refused = fixture.store.insert_model(&other, None).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
}

#[tokio::test]
async fn an_invalid_url_is_refused() {
    for url in ["mysql://localhost/x", "", "sqlite://", "data.db", "postgres://host:port/x"] {
        let refused = Store::connect(url).await;
        assert!(matches!(refused, Err(StoreError::Address(_))), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn sqlite_syncs_every_commit_and_checks_references() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::connect(&format!("sqlite://{}", folder.path().join("a.db").display())).await.unwrap();
    let Db::Sqlite(pool) = store.db() else { panic!("not SQLite") };
    let (mode,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
    let (synchronous,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(pool).await.unwrap();
    let (references,): (i64,) = sqlx::query_as("PRAGMA foreign_keys").fetch_one(pool).await.unwrap();
    let (busy_timeout,): (i64,) = sqlx::query_as("PRAGMA busy_timeout").fetch_one(pool).await.unwrap();
    assert_eq!((mode.as_str(), synchronous, references, busy_timeout), ("wal", 2, 1, 10_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_start_together_can_share_a_new_file() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("a.db").display());
        let starts: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { Store::connect(&url).await })
            })
            .collect();
        for start in starts {
            start.await.unwrap().unwrap().ping().await.unwrap();
        }
    }
}

//! Opening: addresses, pragmas, and several processes that start at once.

use crate::world::{World, on_both_databases};
use store::{Db, Store, StoreError};

on_both_databases!(a_store_answers, a_broken_reference_is_refused);

async fn a_store_answers(world: World) {
    world.store.ping().await.unwrap();
}

async fn a_broken_reference_is_refused(mut world: World) {
    let mut model = world.new_model("orphan");
    model.base_id = Some(model.id);
    // Its own base: allowed by the database, since the row refers to itself.
    world.store.insert_model(&model, None).await.unwrap();
    let mut other = world.new_model("other");
    other.base_id = Some(world.new_model("never inserted").id);
    let refused = world.store.insert_model(&other, None).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_with_the_remedy() {
    for url in ["mysql://localhost/x", "", "sqlite://", "data.db", "postgres://host:port/x"] {
        let refused = Store::connect(url).await;
        assert!(matches!(refused, Err(StoreError::Address(_))), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn sqlite_is_durable_and_checks_references() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::connect(&format!("sqlite://{}", folder.path().join("a.db").display())).await.unwrap();
    let Db::Sqlite(pool) = store.db() else { panic!("not SQLite") };
    let (mode,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
    let (synchronous,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(pool).await.unwrap();
    let (references,): (i64,) = sqlx::query_as("PRAGMA foreign_keys").fetch_one(pool).await.unwrap();
    let (patience,): (i64,) = sqlx::query_as("PRAGMA busy_timeout").fetch_one(pool).await.unwrap();
    assert_eq!((mode.as_str(), synchronous, references, patience), ("wal", 2, 1, 10_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_and_workers_that_start_together_share_a_new_file() {
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

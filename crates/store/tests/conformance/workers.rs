//! Workers: their rows and jobs.

use crate::fixture::{Fixture, on_both_databases};
use chrono::TimeDelta;
use domain::worker::{SILENCE_SECONDS, WorkerInfo, WorkerState};

on_both_databases!(
    a_worker_is_listed_with_its_job_until_it_falls_silent,
    a_worker_that_starts_again_replaces_its_row_and_old_ones_are_forgotten,
);

fn info(fixture: &Fixture, name: &str) -> WorkerInfo {
    WorkerInfo {
        name: name.to_owned(),
        device: "CPU".to_owned(),
        version: "1.0.0".to_owned(),
        threads: 2,
        memory: 8 << 30,
        started_at: fixture.now,
    }
}

async fn a_worker_is_listed_with_its_job_until_it_falls_silent(mut fixture: Fixture) {
    assert_eq!(fixture.store.list_workers(fixture.now).await.unwrap(), []);
    fixture.train_job().await;
    let claim = fixture.claim().await;
    let name = claim.job.worker.clone().expect("a worker");
    for name in [name.as_str(), "idle"] {
        fixture.store.put_worker(&info(&fixture, name)).await.unwrap();
    }
    fixture.store.see_worker(&name, fixture.now, 1 << 20, false).await.unwrap();
    let listed = fixture.store.list_workers(fixture.now).await.unwrap();
    assert_eq!(listed.len(), 2);
    let busy = listed.iter().find(|worker| worker.info.name == name).expect("the busy one");
    assert_eq!((busy.state, busy.peak_memory, busy.info.memory), (WorkerState::Working, 1 << 20, 8 << 30));
    assert_eq!(busy.job.as_ref().map(|job| job.id), Some(claim.job.id));
    let idle = listed.iter().find(|worker| worker.info.name == "idle").expect("the idle one");
    assert_eq!((idle.state, idle.job.clone()), (WorkerState::Idle, None));

    fixture.store.see_worker("idle", fixture.now, 0, true).await.unwrap();
    let later = fixture.now + TimeDelta::seconds(SILENCE_SECONDS + 1);
    let states: Vec<_> = fixture
        .store
        .list_workers(later)
        .await
        .unwrap()
        .iter()
        .map(|worker| (worker.state, worker.job.clone()))
        .collect();
    assert_eq!(states, [(WorkerState::Silent, None), (WorkerState::Stopped, None)]);
}

async fn a_worker_that_starts_again_replaces_its_row_and_old_ones_are_forgotten(mut fixture: Fixture) {
    fixture.store.put_worker(&info(&fixture, "a")).await.unwrap();
    fixture.store.put_worker(&info(&fixture, "b")).await.unwrap();
    fixture.store.see_worker("a", fixture.now, 5, true).await.unwrap();
    fixture.tick();
    fixture.store.put_worker(&WorkerInfo { threads: 4, ..info(&fixture, "a") }).await.unwrap();
    let listed = fixture.store.list_workers(fixture.now).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].info.threads, listed[0].state, listed[0].peak_memory), (4, WorkerState::Idle, 0));
    let later = WorkerInfo { started_at: fixture.now + TimeDelta::days(15), ..info(&fixture, "c") };
    fixture.store.put_worker(&later).await.unwrap();
    let names: Vec<String> = fixture
        .store
        .list_workers(later.started_at)
        .await
        .unwrap()
        .into_iter()
        .map(|worker| worker.info.name)
        .collect();
    assert_eq!(names, ["c"]);
}

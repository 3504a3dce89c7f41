//! The queue: order, leases, fencing, cancellation.

use crate::world::{LEASE, World, evaluate_spec, on_both_databases, params, train_spec};
use domain::evaluate::Metric;
use domain::id::{JobId, RunId};
use domain::image::Purpose;
use domain::job::{JobSpec, JobState};
use domain::run::MetricPoint;
use rand::Rng;
use std::collections::HashSet;
use std::time::Duration;
use store::{Claim, Conflict, Ending, Heartbeat, ImageScore, StoreError};

on_both_databases!(
    a_job_comes_back_as_it_was_enqueued,
    jobs_are_listed_newest_first_by_state_and_counted,
    the_oldest_job_is_claimed_first,
    nothing_to_claim_is_none,
    eight_workers_never_share_a_job,
    a_lapsed_lease_hands_the_job_over_and_the_old_token_is_refused_everywhere,
    two_workers_cannot_both_take_a_lapsed_job,
    a_heartbeat_renews_the_lease_and_tells_progress,
    every_ending_is_kept,
    a_released_job_is_claimed_again,
    a_released_job_that_was_to_stop_is_cancelled,
    a_queued_job_is_cancelled_at_once,
    a_running_job_is_told_to_stop,
    a_job_of_a_lost_worker_is_cancelled_at_once,
    an_ended_or_unknown_job_cannot_be_cancelled,
    an_unreadable_row_is_named,
);

async fn a_job_comes_back_as_it_was_enqueued(mut world: World) {
    for spec in [JobSpec::Train(train_spec("run-1")), evaluate_spec()] {
        let job = world.enqueue(&spec).await;
        assert_eq!((job.state, job.attempt, &job.spec), (JobState::Queued, 0, &spec));
        assert_eq!(world.store.get_job(job.id).await.unwrap(), Some(job));
    }
    let unknown = JobId::new(world.now, [0; 10]);
    assert_eq!(world.store.get_job(unknown).await.unwrap(), None);
}

async fn jobs_are_listed_newest_first_by_state_and_counted(mut world: World) {
    assert!(world.store.count_jobs().await.unwrap().is_empty());
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.insert(0, world.train_job().await.id);
    }
    let claimed = world.claim().await.job.id;
    assert_eq!(Some(&claimed), ids.last());
    let listed = |jobs: Vec<domain::job::Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(listed(world.store.list_jobs(None, 100).await.unwrap()), ids);
    assert_eq!(listed(world.store.list_jobs(None, 2).await.unwrap()), ids[..2]);
    assert_eq!(listed(world.store.list_jobs(Some(JobState::Queued), 100).await.unwrap()), ids[..3]);
    assert_eq!(listed(world.store.list_jobs(Some(JobState::Running), 100).await.unwrap()), [claimed]);
    let counts = world.store.count_jobs().await.unwrap();
    assert_eq!(counts, [(JobState::Queued, 3), (JobState::Running, 1)].into());
}

async fn the_oldest_job_is_claimed_first(mut world: World) {
    let (first, second) = (world.train_job().await, world.enqueue(&evaluate_spec()).await);
    let (begin, token) = (world.tick(), world.token());
    let claim = world.store.claim_job("worker-1", token, begin, LEASE).await.unwrap().unwrap();
    assert_eq!((claim.job.id, claim.token, claim.attempt), (first.id, token, 1));
    assert_eq!(claim.job.state, JobState::Running);
    assert_eq!((claim.job.worker.as_deref(), claim.job.started_at), (Some("worker-1"), Some(begin)));
    assert_eq!(world.store.get_job(first.id).await.unwrap().as_ref(), Some(&claim.job));
    assert_eq!(world.claim().await.job.id, second.id);
}

async fn nothing_to_claim_is_none(mut world: World) {
    let token = world.token();
    assert_eq!(world.store.claim_job("worker", token, world.now, LEASE).await.unwrap(), None);
    world.train_job().await;
    world.claim().await;
    // A lease that has not lapsed is not taken.
    let (almost, token) = (world.pass(LEASE - Duration::from_secs(1)), world.token());
    assert_eq!(world.store.claim_job("worker", token, almost, LEASE).await.unwrap(), None);
}

async fn eight_workers_never_share_a_job(mut world: World) {
    let mut jobs = HashSet::new();
    for _ in 0..50 {
        jobs.insert(world.train_job().await.id);
    }
    let mut workers = Vec::new();
    for n in 0..8 {
        let (store, now, mut rng) = (world.store.clone(), world.now, world.rng.clone());
        rng.set_stream(n + 1);
        workers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let token = uuid::Builder::from_random_bytes(rng.random()).into_uuid();
                match store.claim_job(&format!("worker-{n}"), token, now, LEASE).await.unwrap() {
                    Some(claim) => mine.push(claim),
                    None => return mine,
                }
            }
        }));
    }
    let mut claims = Vec::new();
    for worker in workers {
        claims.extend(worker.await.unwrap());
    }
    // A worker stops only when nothing waits: so all are claimed, and each by one.
    assert_eq!(claims.len(), 50);
    assert_eq!(claims.iter().map(|claim| claim.job.id).collect::<HashSet<_>>(), jobs);
    for claim in claims {
        world.store.finish_job(&claim, world.now, &Ending::Succeeded).await.unwrap();
    }
}

async fn a_lapsed_lease_hands_the_job_over_and_the_old_token_is_refused_everywhere(mut world: World) {
    let (old, run) = world.run().await;
    let began = old.job.started_at;
    world.pass(LEASE + Duration::from_secs(1));
    let new = world.claim().await;
    assert_eq!((new.job.id, new.attempt, new.job.started_at), (old.job.id, 2, began));

    let (now, store) = (world.now, world.store.clone());
    let model = world.new_model("late");
    let mut image = world.new_image(Purpose::Sample, None, "late");
    (image.run_id, image.step) = (Some(run.id), Some(1));
    let score = ImageScore { image_id: image.id, metric: Metric::ClipScore, value: 1.0 };
    let point = MetricPoint { name: "loss".to_owned(), step: 1, value: 1.0 };
    let refused = [
        store.heartbeat(&old, now, LEASE, 1, 2).await.map(drop),
        store.finish_job(&old, now, &Ending::Succeeded).await,
        store.release_job(&old, now).await,
        store.begin_run(&old, run.id).await.map(drop),
        store.append_metrics(&old, run.id, 1, &[point]).await,
        store.rewind_run(&old, run.id, 0).await,
        store.insert_model(&model, Some(&old)).await,
        store.insert_images(&[image], Some(&old)).await,
        store.put_scores(&[score], Some(&old)).await,
    ];
    for (i, result) in refused.into_iter().enumerate() {
        assert!(matches!(result, Err(StoreError::LeaseLost)), "write {i}: {result:?}");
    }
    assert_eq!(store.metrics(run.id, -1).await.unwrap(), []);
    assert_eq!(store.get_model(model.id).await.unwrap(), None);
    assert_eq!(store.list_samples(run.id).await.unwrap(), []);
    assert_eq!(store.get_job(new.job.id).await.unwrap(), Some(new.job.clone()));
    // The new worker goes on with the same run.
    let resumed = store.begin_run(&new, RunId::new(now, world.rng.random())).await.unwrap();
    assert_eq!(resumed.id, run.id);
    store.finish_job(&new, now, &Ending::Succeeded).await.unwrap();
}

async fn two_workers_cannot_both_take_a_lapsed_job(mut world: World) {
    world.train_job().await;
    world.claim().await;
    for round in 2..12 {
        let now = world.pass(LEASE + Duration::from_secs(1));
        let attempts = [world.token(), world.token(), world.token()].map(|token| {
            let store = world.store.clone();
            tokio::spawn(async move { store.claim_job("worker", token, now, LEASE).await.unwrap() })
        });
        let mut claims = Vec::new();
        for attempt in attempts {
            claims.extend(attempt.await.unwrap());
        }
        assert_eq!(claims.iter().map(|claim| claim.attempt).collect::<Vec<_>>(), [round]);
    }
}

async fn a_heartbeat_renews_the_lease_and_tells_progress(mut world: World) {
    world.train_job().await;
    let claim = world.claim().await;
    let now = world.pass(LEASE - Duration::from_secs(1));
    let beat = world.store.heartbeat(&claim, now, LEASE, 7, 100).await.unwrap();
    assert_eq!(beat, Heartbeat { cancel_requested: false });
    let (now, token) = (world.pass(LEASE - Duration::from_secs(1)), world.token());
    assert_eq!(world.store.claim_job("worker", token, now, LEASE).await.unwrap(), None);
    let job = world.store.get_job(claim.job.id).await.unwrap().unwrap();
    assert_eq!((job.progress, job.total, job.attempt), (7, 100, 1));
}

async fn every_ending_is_kept(mut world: World) {
    let broke = Ending::Failed("the disk is full".to_owned());
    for (ending, error) in
        [(Ending::Succeeded, None), (broke, Some("the disk is full")), (Ending::Cancelled, None)]
    {
        world.train_job().await;
        let claim = world.claim().await;
        let end = world.tick();
        world.store.finish_job(&claim, end, &ending).await.unwrap();
        let job = world.store.get_job(claim.job.id).await.unwrap().unwrap();
        assert_eq!((job.state, job.error.as_deref()), (ending.state(), error));
        assert_eq!((job.finished_at, job.worker.as_deref()), (Some(end), Some("worker")));
        let again = world.store.finish_job(&claim, end, &ending).await;
        assert!(matches!(again, Err(StoreError::LeaseLost)), "{again:?}");
    }
}

async fn a_released_job_is_claimed_again(mut world: World) {
    world.train_job().await;
    let first = world.claim().await;
    world.store.release_job(&first, world.now).await.unwrap();
    let job = world.store.get_job(first.job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.worker, job.finished_at), (JobState::Queued, None, None));
    let second = world.claim().await;
    assert_eq!((second.job.id, second.attempt), (first.job.id, 2));
    let late = world.store.release_job(&first, world.now).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
}

async fn a_released_job_that_was_to_stop_is_cancelled(mut world: World) {
    world.train_job().await;
    let claim = world.claim().await;
    world.store.request_cancel(claim.job.id, world.now).await.unwrap();
    let end = world.tick();
    world.store.release_job(&claim, end).await.unwrap();
    let job = world.store.get_job(claim.job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_at), (JobState::Cancelled, Some(end)));
}

async fn a_queued_job_is_cancelled_at_once(mut world: World) {
    let job = world.train_job().await;
    let at = world.tick();
    let cancelled = world.store.request_cancel(job.id, at).await.unwrap().unwrap();
    assert_eq!((cancelled.state, cancelled.finished_at), (JobState::Cancelled, Some(at)));
    let token = world.token();
    assert_eq!(world.store.claim_job("worker", token, at, LEASE).await.unwrap(), None);
}

async fn a_running_job_is_told_to_stop(mut world: World) {
    world.train_job().await;
    let claim = world.claim().await;
    let job = world.store.request_cancel(claim.job.id, world.now).await.unwrap().unwrap();
    assert_eq!((job.state, job.cancel_requested, job.finished_at), (JobState::Running, true, None));
    let beat = world.store.heartbeat(&claim, world.now, LEASE, 1, 2).await.unwrap();
    assert!(beat.cancel_requested);
    world.store.finish_job(&claim, world.now, &Ending::Cancelled).await.unwrap();
}

async fn a_job_of_a_lost_worker_is_cancelled_at_once(mut world: World) {
    world.train_job().await;
    let claim = world.claim().await;
    let at = world.pass(LEASE + Duration::from_secs(1));
    let job = world.store.request_cancel(claim.job.id, at).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_at), (JobState::Cancelled, Some(at)));
    let late = world.store.finish_job(&claim, at, &Ending::Succeeded).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
}

async fn an_ended_or_unknown_job_cannot_be_cancelled(mut world: World) {
    world.train_job().await;
    let claim: Claim = world.claim().await;
    world.store.finish_job(&claim, world.now, &Ending::Succeeded).await.unwrap();
    let refused = world.store.request_cancel(claim.job.id, world.now).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::JobEnded))), "{refused:?}");
    let unknown = JobId::new(world.now, [0; 10]);
    assert_eq!(world.store.request_cancel(unknown, world.now).await.unwrap(), None);
}

async fn an_unreadable_row_is_named(mut world: World) {
    let job = world.train_job().await;
    world.vandalise("UPDATE jobs SET spec = '{\"kind\": \"knit\"}'").await;
    match world.store.get_job(job.id).await {
        Err(StoreError::Inconsistent { table: "jobs", column: "spec", id }) => {
            assert_eq!(id, job.id.to_string());
        }
        other => panic!("{other:?}"),
    }
    let model = world.model("m").await;
    let image = world.evaluation_image(&model, "p").await;
    world.vandalise("UPDATE images SET sampler = 'dice'").await;
    let read = world.store.find_evaluation_images(model.id, &[params("p")]).await;
    let named = matches!(&read, Err(StoreError::Inconsistent { table: "images", column: "sampler", id })
        if *id == image.id.to_string());
    assert!(named, "{read:?}");
}

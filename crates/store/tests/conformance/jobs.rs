//! The job queue: order, leases, fencing, cancellation.

use crate::fixture::{Fixture, LEASE, evaluate_spec, on_both_databases, params, train_spec};
use domain::evaluate::Metric;
use domain::id::{JobId, RunId};
use domain::image::Purpose;
use domain::job::{Job, JobSpec, JobState};
use domain::run::MetricPoint;
use rand::Rng;
use std::collections::HashSet;
use std::time::Duration;
use store::{Claim, Conflict, Ending, Heartbeat, ImageScore, StoreError};

on_both_databases!(
    an_enqueued_job_can_be_read,
    jobs_are_listed_newest_first_and_by_state,
    the_oldest_job_is_claimed_first,
    an_empty_queue_gives_no_claim,
    each_job_is_claimed_by_one_of_eight_workers,
    a_job_with_an_expired_lease_is_claimed_again_and_the_old_token_is_refused,
    a_job_with_an_expired_lease_is_claimed_by_one_worker,
    a_heartbeat_renews_the_lease_and_stores_progress,
    each_ending_is_stored,
    a_released_job_is_claimed_again,
    a_released_job_with_a_cancel_request_is_cancelled,
    a_queued_job_is_cancelled_at_once,
    the_worker_of_a_running_job_sees_a_cancel_request,
    a_job_with_an_expired_lease_is_cancelled_at_once,
    an_ended_or_unknown_job_cannot_be_cancelled,
    a_job_done_outside_the_queue_is_inserted_once_and_never_claimed,
    an_invalid_row_is_named,
);

async fn an_enqueued_job_can_be_read(mut fixture: Fixture) {
    for spec in [JobSpec::Train(train_spec("run-1")), evaluate_spec()] {
        let job = fixture.enqueue(&spec).await;
        assert_eq!((job.state, job.attempt, &job.spec), (JobState::Queued, 0, &spec));
        assert_eq!(fixture.store.get_job(job.id).await.unwrap(), Some(job));
    }
    let unknown = JobId::new(fixture.now, [0; 10]);
    assert_eq!(fixture.store.get_job(unknown).await.unwrap(), None);
}

async fn jobs_are_listed_newest_first_and_by_state(mut fixture: Fixture) {
    assert_eq!(fixture.store.list_jobs(None, 100).await.unwrap(), []);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.insert(0, fixture.train_job().await.id);
    }
    let claimed = fixture.claim().await.job.id;
    assert_eq!(Some(&claimed), ids.last());
    let listed = |jobs: Vec<domain::job::Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(listed(fixture.store.list_jobs(None, 100).await.unwrap()), ids);
    assert_eq!(listed(fixture.store.list_jobs(None, 2).await.unwrap()), ids[..2]);
    assert_eq!(listed(fixture.store.list_jobs(Some(JobState::Queued), 100).await.unwrap()), ids[..3]);
    assert_eq!(listed(fixture.store.list_jobs(Some(JobState::Running), 100).await.unwrap()), [claimed]);
}

async fn the_oldest_job_is_claimed_first(mut fixture: Fixture) {
    let (first, second) = (fixture.train_job().await, fixture.enqueue(&evaluate_spec()).await);
    let (begin, token) = (fixture.tick(), fixture.token());
    let claim = fixture.store.claim_job("worker-1", token, begin, LEASE).await.unwrap().unwrap();
    assert_eq!((claim.job.id, claim.token, claim.attempt), (first.id, token, 1));
    assert_eq!(claim.job.state, JobState::Running);
    assert_eq!((claim.job.worker.as_deref(), claim.job.started_at), (Some("worker-1"), Some(begin)));
    assert_eq!(fixture.store.get_job(first.id).await.unwrap().as_ref(), Some(&claim.job));
    assert_eq!(fixture.claim().await.job.id, second.id);
}

async fn an_empty_queue_gives_no_claim(mut fixture: Fixture) {
    let token = fixture.token();
    assert_eq!(fixture.store.claim_job("worker", token, fixture.now, LEASE).await.unwrap(), None);
    fixture.train_job().await;
    fixture.claim().await;
    // A job whose lease has not expired cannot be claimed.
    let (almost, token) = (fixture.pass(LEASE - Duration::from_secs(1)), fixture.token());
    assert_eq!(fixture.store.claim_job("worker", token, almost, LEASE).await.unwrap(), None);
}

async fn each_job_is_claimed_by_one_of_eight_workers(mut fixture: Fixture) {
    let mut jobs = HashSet::new();
    for _ in 0..50 {
        jobs.insert(fixture.train_job().await.id);
    }
    let mut workers = Vec::new();
    for n in 0..8 {
        let (store, now, mut rng) = (fixture.store.clone(), fixture.now, fixture.rng.clone());
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
    // Workers stop when no job is waiting, so all jobs are claimed, each once.
    assert_eq!(claims.len(), 50);
    assert_eq!(claims.iter().map(|claim| claim.job.id).collect::<HashSet<_>>(), jobs);
    for claim in claims {
        fixture.store.finish_job(&claim, fixture.now, &Ending::Succeeded).await.unwrap();
    }
}

async fn a_job_with_an_expired_lease_is_claimed_again_and_the_old_token_is_refused(mut fixture: Fixture) {
    let (old, run) = fixture.run().await;
    let began = old.job.started_at;
    fixture.pass(LEASE + Duration::from_secs(1));
    let new = fixture.claim().await;
    assert_eq!((new.job.id, new.attempt, new.job.started_at), (old.job.id, 2, began));

    let (now, store) = (fixture.now, fixture.store.clone());
    let model = fixture.new_model("late");
    let mut image = fixture.new_image(Purpose::Sample, None, "late");
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
    // The new worker resumes the same run.
    let resumed = store.begin_run(&new, RunId::new(now, fixture.rng.random())).await.unwrap();
    assert_eq!(resumed.id, run.id);
    store.finish_job(&new, now, &Ending::Succeeded).await.unwrap();
}

async fn a_job_with_an_expired_lease_is_claimed_by_one_worker(mut fixture: Fixture) {
    fixture.train_job().await;
    fixture.claim().await;
    for round in 2..12 {
        let now = fixture.pass(LEASE + Duration::from_secs(1));
        let attempts = [fixture.token(), fixture.token(), fixture.token()].map(|token| {
            let store = fixture.store.clone();
            tokio::spawn(async move { store.claim_job("worker", token, now, LEASE).await.unwrap() })
        });
        let mut claims = Vec::new();
        for attempt in attempts {
            claims.extend(attempt.await.unwrap());
        }
        assert_eq!(claims.iter().map(|claim| claim.attempt).collect::<Vec<_>>(), [round]);
    }
}

async fn a_heartbeat_renews_the_lease_and_stores_progress(mut fixture: Fixture) {
    fixture.train_job().await;
    let claim = fixture.claim().await;
    let now = fixture.pass(LEASE - Duration::from_secs(1));
    let beat = fixture.store.heartbeat(&claim, now, LEASE, 7, 100).await.unwrap();
    assert_eq!(beat, Heartbeat { cancel_requested: false });
    let (now, token) = (fixture.pass(LEASE - Duration::from_secs(1)), fixture.token());
    assert_eq!(fixture.store.claim_job("worker", token, now, LEASE).await.unwrap(), None);
    let job = fixture.store.get_job(claim.job.id).await.unwrap().unwrap();
    assert_eq!((job.progress, job.total, job.attempt), (7, 100, 1));
}

async fn each_ending_is_stored(mut fixture: Fixture) {
    let failed = Ending::Failed("the disk is full".to_owned());
    for (ending, error) in
        [(Ending::Succeeded, None), (failed, Some("the disk is full")), (Ending::Cancelled, None)]
    {
        fixture.train_job().await;
        let claim = fixture.claim().await;
        let end = fixture.tick();
        fixture.store.finish_job(&claim, end, &ending).await.unwrap();
        let job = fixture.store.get_job(claim.job.id).await.unwrap().unwrap();
        assert_eq!((job.state, job.error.as_deref()), (ending.state(), error));
        assert_eq!((job.finished_at, job.worker.as_deref()), (Some(end), Some("worker")));
        let again = fixture.store.finish_job(&claim, end, &ending).await;
        assert!(matches!(again, Err(StoreError::LeaseLost)), "{again:?}");
    }
}

async fn a_released_job_is_claimed_again(mut fixture: Fixture) {
    fixture.train_job().await;
    let first = fixture.claim().await;
    fixture.store.release_job(&first, fixture.now).await.unwrap();
    let job = fixture.store.get_job(first.job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.worker, job.finished_at), (JobState::Queued, None, None));
    let second = fixture.claim().await;
    assert_eq!((second.job.id, second.attempt), (first.job.id, 2));
    let late = fixture.store.release_job(&first, fixture.now).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
}

async fn a_released_job_with_a_cancel_request_is_cancelled(mut fixture: Fixture) {
    fixture.train_job().await;
    let claim = fixture.claim().await;
    fixture.store.request_cancel(claim.job.id, fixture.now).await.unwrap();
    let end = fixture.tick();
    fixture.store.release_job(&claim, end).await.unwrap();
    let job = fixture.store.get_job(claim.job.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_at), (JobState::Cancelled, Some(end)));
}

async fn a_queued_job_is_cancelled_at_once(mut fixture: Fixture) {
    let job = fixture.train_job().await;
    let at = fixture.tick();
    let cancelled = fixture.store.request_cancel(job.id, at).await.unwrap().unwrap();
    assert_eq!((cancelled.state, cancelled.finished_at), (JobState::Cancelled, Some(at)));
    let token = fixture.token();
    assert_eq!(fixture.store.claim_job("worker", token, at, LEASE).await.unwrap(), None);
}

async fn the_worker_of_a_running_job_sees_a_cancel_request(mut fixture: Fixture) {
    fixture.train_job().await;
    let claim = fixture.claim().await;
    let job = fixture.store.request_cancel(claim.job.id, fixture.now).await.unwrap().unwrap();
    assert_eq!((job.state, job.cancel_requested, job.finished_at), (JobState::Running, true, None));
    let beat = fixture.store.heartbeat(&claim, fixture.now, LEASE, 1, 2).await.unwrap();
    assert!(beat.cancel_requested);
    fixture.store.finish_job(&claim, fixture.now, &Ending::Cancelled).await.unwrap();
}

async fn a_job_with_an_expired_lease_is_cancelled_at_once(mut fixture: Fixture) {
    fixture.train_job().await;
    let claim = fixture.claim().await;
    let at = fixture.pass(LEASE + Duration::from_secs(1));
    let job = fixture.store.request_cancel(claim.job.id, at).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_at), (JobState::Cancelled, Some(at)));
    let late = fixture.store.finish_job(&claim, at, &Ending::Succeeded).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
}

async fn an_ended_or_unknown_job_cannot_be_cancelled(mut fixture: Fixture) {
    fixture.train_job().await;
    let claim: Claim = fixture.claim().await;
    fixture.store.finish_job(&claim, fixture.now, &Ending::Succeeded).await.unwrap();
    let refused = fixture.store.request_cancel(claim.job.id, fixture.now).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::JobEnded))), "{refused:?}");
    let unknown = JobId::new(fixture.now, [0; 10]);
    assert_eq!(fixture.store.request_cancel(unknown, fixture.now).await.unwrap(), None);
}

async fn a_job_done_outside_the_queue_is_inserted_once_and_never_claimed(mut fixture: Fixture) {
    let job = fixture.ended_job(evaluate_spec(), JobState::Succeeded);
    let changed = Job { worker: Some("another".to_owned()), ..job.clone() };
    for job in [&job, &changed] {
        fixture.store.insert_ended_job(job).await.unwrap();
    }
    assert_eq!(fixture.store.get_job(job.id).await.unwrap().as_ref(), Some(&job));
    assert_eq!(fixture.store.list_jobs(None, 10).await.unwrap(), [job]);
    let token = fixture.token();
    assert_eq!(fixture.store.claim_job("worker", token, fixture.now, LEASE).await.unwrap(), None);
    for state in [JobState::Queued, JobState::Running] {
        let job = fixture.ended_job(evaluate_spec(), state);
        let refused = fixture.store.insert_ended_job(&job).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
}

async fn an_invalid_row_is_named(mut fixture: Fixture) {
    let job = fixture.train_job().await;
    fixture.execute("UPDATE jobs SET spec = '{\"kind\": \"knit\"}'").await;
    match fixture.store.get_job(job.id).await {
        Err(StoreError::Inconsistent { table: "jobs", column: "spec", id }) => {
            assert_eq!(id, job.id.to_string());
        }
        other => panic!("{other:?}"),
    }
    let model = fixture.model("m").await;
    let image = fixture.evaluation_image(&model, "p").await;
    fixture.execute("UPDATE images SET sampler = 'dice'").await;
    let read = fixture.store.find_evaluation_images(model.id, &[params("p")]).await;
    let named = matches!(&read, Err(StoreError::Inconsistent { table: "images", column: "sampler", id })
        if *id == image.id.to_string());
    assert!(named, "{read:?}");
}

//! The order of the queue, and jobs that go on.

use crate::fixture::{Fixture, evaluate_spec, on_both_databases, train_spec};
use domain::id::{JobId, RunId};
use domain::job::{Job, JobSpec, JobState};
use domain::train::TrainSpec;
use rand::Rng;
use std::time::Duration;
use store::{ActiveJob, Conflict, Ending, StoreError};

on_both_databases!(
    jobs_of_a_higher_priority_are_claimed_first,
    only_a_queued_job_has_a_priority_to_change,
    an_ended_job_goes_to_the_end_of_the_queue_and_its_run_goes_on,
    a_job_that_has_not_ended_is_not_queued_again,
    jobs_that_wait_or_run_are_told_with_what_changes,
);

async fn jobs_of_a_higher_priority_are_claimed_first(mut fixture: Fixture) {
    let mut jobs: Vec<Job> = Vec::new();
    for _ in 0..4 {
        jobs.push(fixture.train_job().await);
    }
    let places: Vec<_> = jobs.iter().map(|job| job.position).collect();
    assert_eq!(places, [Some(1), Some(2), Some(3), Some(4)]);
    let raised = fixture.store.set_priority(jobs[2].id, 5).await.unwrap().unwrap();
    assert_eq!((raised.priority, raised.position), (5, Some(1)));
    fixture.store.set_priority(jobs[0].id, -5).await.unwrap();
    let now = fixture.tick();
    let id = JobId::new(now, fixture.rng.random());
    let urgent = fixture.store.enqueue_job_with(id, &evaluate_spec(), 7, now).await.unwrap();
    assert_eq!((urgent.priority, urgent.position), (7, Some(1)));
    let expected = [urgent.id, jobs[2].id, jobs[1].id, jobs[3].id, jobs[0].id];
    let mut places = fixture.store.list_jobs(Some(JobState::Queued), 10).await.unwrap();
    places.sort_by_key(|job| job.position);
    assert_eq!(places.iter().map(|job| job.id).collect::<Vec<_>>(), expected);
    for id in expected {
        let claimed = fixture.claim().await.job;
        assert_eq!((claimed.id, claimed.position), (id, None));
    }
}

async fn only_a_queued_job_has_a_priority_to_change(mut fixture: Fixture) {
    let job = fixture.train_job().await;
    let claim = fixture.claim().await;
    let refused = fixture.store.set_priority(job.id, 1).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::JobNotQueued))), "{refused:?}");
    assert_eq!(fixture.store.get_job(job.id).await.unwrap().unwrap().priority, claim.job.priority);
    let unknown = JobId::new(fixture.now, [0; 10]);
    assert_eq!(fixture.store.set_priority(unknown, 1).await.unwrap(), None);
}

async fn an_ended_job_goes_to_the_end_of_the_queue_and_its_run_goes_on(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let end = fixture.pass(Duration::from_secs(7));
    fixture.store.finish_job(&claim, end, &Ending::Failed("out of memory".to_owned())).await.unwrap();
    let other = fixture.train_job().await;
    let now = fixture.tick();
    let longer = JobSpec::Train(TrainSpec { steps: 200, ..train_spec("run") });
    let queued = fixture.store.requeue_job(claim.job.id, &longer, now).await.unwrap().unwrap();
    assert_eq!((queued.state, queued.position, queued.error.as_deref()), (JobState::Queued, Some(2), None));
    assert_eq!((queued.queued_at, queued.created_at), (now, claim.job.created_at));
    assert_eq!((queued.started_at, queued.finished_at), (None, None));
    assert_eq!(fixture.claim().await.job.id, other.id);
    let begin = fixture.tick();
    let again = fixture.claim().await;
    assert_eq!((again.job.id, again.attempt, again.job.started_at), (claim.job.id, 2, Some(begin)));
    let resumed = fixture.store.begin_run(&again, RunId::new(now, [9; 10])).await.unwrap();
    assert_eq!((resumed.id, resumed.spec.steps, resumed.worked_ms), (run.id, 200, 7000));
    let end = fixture.pass(Duration::from_secs(5));
    fixture.store.finish_job(&again, end, &Ending::Succeeded).await.unwrap();
    let ended = fixture.store.get_run(run.id).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.worked_ms), (JobState::Succeeded, 12_000));
}

async fn a_job_that_has_not_ended_is_not_queued_again(mut fixture: Fixture) {
    let job = fixture.train_job().await;
    for _ in 0..2 {
        let refused = fixture.store.requeue_job(job.id, &job.spec, fixture.now).await;
        assert!(matches!(refused, Err(StoreError::Conflict(Conflict::JobNotEnded))), "{refused:?}");
        if fixture.store.get_job(job.id).await.unwrap().unwrap().state == JobState::Queued {
            fixture.claim().await;
        }
    }
    let unknown = JobId::new(fixture.now, [0; 10]);
    assert_eq!(fixture.store.requeue_job(unknown, &job.spec, fixture.now).await.unwrap(), None);
}

async fn jobs_that_wait_or_run_are_told_with_what_changes(mut fixture: Fixture) {
    assert_eq!(fixture.store.active_jobs().await.unwrap(), []);
    let (claim, run) = fixture.run().await;
    let waiting = fixture.enqueue(&evaluate_spec()).await;
    let find = |jobs: &[ActiveJob], id: JobId| jobs.iter().find(|job| job.id == id).cloned();
    let jobs = fixture.store.active_jobs().await.unwrap();
    assert_eq!(jobs.len(), 2);
    let before = find(&jobs, claim.job.id).unwrap();
    assert_eq!((before.run, before.state, before.step), (Some(run.id), JobState::Running, Some(0)));
    let queued = find(&jobs, waiting.id).unwrap();
    assert_eq!((queued.run, queued.state, queued.step), (None, JobState::Queued, None));
    let now = fixture.tick();
    fixture.store.heartbeat(&claim, now, Duration::from_secs(30), 3, 10).await.unwrap();
    let after = find(&fixture.store.active_jobs().await.unwrap(), claim.job.id).unwrap();
    assert_eq!(after, ActiveJob { progress: (3, 10), ..before });
    fixture.store.finish_job(&claim, now, &Ending::Succeeded).await.unwrap();
    fixture.store.request_cancel(waiting.id, now).await.unwrap();
    assert_eq!(fixture.store.active_jobs().await.unwrap(), []);
}

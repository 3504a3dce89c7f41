//! Studies and the jobs of their cells.

use crate::fixture::{Fixture, on_both_databases, train_spec};
use domain::id::{JobId, RunId, StudyId};
use domain::job::{JobSpec, JobState};
use domain::study::{Study, StudySpec, StudyState};
use rand::Rng;
use std::collections::BTreeSet;
use store::{Ending, StoreError};

on_both_databases!(
    a_study_is_read_back_and_its_name_is_taken_once,
    eight_workers_at_once_submit_each_cell_once,
    cells_are_listed_with_their_jobs_and_models,
    only_running_studies_without_open_jobs_are_idle,
    a_cancelled_study_submits_nothing,
    a_retried_cell_is_submitted_again,
);

fn spec(name: &str) -> StudySpec {
    let spec = serde_json::json!({
        "name": name,
        "base": "shapes",
        "budget": { "pairs": 32 },
        "train": { "batch_size": 4, "learning_rate": { "rate": 1e-4 } },
        "data": [{ "name": "winter", "set": { "source": "shapes", "set": "winter", "count": 16 } }],
        "methods": [{ "name": "sft", "objective": { "kind": "sft" } }],
        "evaluate": [{ "name": "held_out", "prompts": { "source": "shapes_held_out", "count": 2 } }],
    });
    serde_json::from_value(spec).expect("a spec")
}

async fn submit(fixture: &mut Fixture, name: &str) -> Study {
    let now = fixture.tick();
    let id = StudyId::new(now, fixture.rng.random());
    fixture.store.submit_study(id, &spec(name), now).await.expect("a study")
}

fn jobs(fixture: &mut Fixture, cells: &[&str]) -> Vec<(String, JobId, JobSpec)> {
    let now = fixture.tick();
    let new = |cell: &&str| {
        let spec = JobSpec::Train(train_spec(&cell.replace('/', "-")));
        ((*cell).to_owned(), JobId::new(now, fixture.rng.random()), spec)
    };
    cells.iter().map(new).collect()
}

async fn a_study_is_read_back_and_its_name_is_taken_once(mut fixture: Fixture) {
    let study = submit(&mut fixture, "first").await;
    assert_eq!((study.state, &study.spec), (StudyState::Running, &spec("first")));
    assert_eq!(fixture.store.get_study(study.id).await.unwrap(), Some(study.clone()));
    // Another spec of the same name changes nothing.
    let (now, other) = (fixture.tick(), StudySpec { seeds: vec![7], ..spec("first") });
    let id = StudyId::new(now, fixture.rng.random());
    assert_eq!(fixture.store.submit_study(id, &other, now).await.unwrap(), study);
    assert_eq!(fixture.store.get_study(id).await.unwrap(), None);
    let second = submit(&mut fixture, "second").await;
    assert_eq!(fixture.store.list_studies(10).await.unwrap(), [second.clone(), study]);
    assert_eq!(fixture.store.list_studies(1).await.unwrap(), [second]);
    assert_eq!(fixture.store.get_study_by_name("third").await.unwrap(), None);
}

async fn eight_workers_at_once_submit_each_cell_once(mut fixture: Fixture) {
    let study = submit(&mut fixture, "shared").await;
    let cells = ["final/sft/winter/seed1", "final/sft/winter/seed2", "final/sft/winter/seed3"];
    let mut workers = Vec::new();
    for _ in 0..8 {
        let (jobs, store, now) = (jobs(&mut fixture, &cells), fixture.store.clone(), fixture.now);
        workers.push(tokio::spawn(async move { store.enqueue_study_jobs(study.id, &jobs, now).await }));
    }
    let mut added = 0;
    for worker in workers {
        added += worker.await.unwrap().unwrap();
    }
    assert_eq!(added, 3);
    let rows = fixture.store.list_study_jobs(study.id).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.cell.as_str()).collect::<Vec<_>>(), cells);
    let queued = fixture.store.list_jobs(Some(JobState::Queued), 100).await.unwrap();
    let ids = |ids: Vec<JobId>| ids.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(
        ids(queued.into_iter().map(|job| job.id).collect()),
        ids(rows.iter().map(|row| row.job).collect())
    );
}

async fn cells_are_listed_with_their_jobs_and_models(mut fixture: Fixture) {
    let study = submit(&mut fixture, "listed").await;
    let new = jobs(&mut fixture, &["final/a", "final/b"]);
    assert_eq!(fixture.store.enqueue_study_jobs(study.id, &new, fixture.now).await.unwrap(), 2);
    let claim = fixture.claim().await;
    let run = RunId::new(fixture.now, fixture.rng.random());
    fixture.store.begin_run(&claim, run).await.unwrap();
    for (name, step) in [("end", 100), ("middle", 50)] {
        let mut model = fixture.new_model(name);
        (model.run_id, model.step) = (Some(run), Some(step));
        fixture.store.insert_model(&model, Some(&claim)).await.unwrap();
    }
    let end = fixture.tick();
    fixture.store.finish_job(&claim, end, &Ending::Succeeded).await.unwrap();
    let rows = fixture.store.list_study_jobs(study.id).await.unwrap();
    assert_eq!(rows.len(), 2);
    let done = rows.iter().find(|row| row.job == claim.job.id).expect("the claimed one");
    assert_eq!((done.state, done.model.as_deref()), (JobState::Succeeded, Some("end")));
    assert_eq!((done.started_at, done.finished_at), (claim.job.started_at, Some(end)));
    let other = rows.iter().find(|row| row.job != claim.job.id).expect("the other one");
    assert_eq!((other.state, &other.model), (JobState::Queued, &None));
    assert_eq!(fixture.store.get_study_of_job(done.job).await.unwrap(), Some(study.id));
    // The queued cell has no run yet, and the run of another job is no run of the study.
    assert_eq!(fixture.store.list_study_runs(study.id).await.unwrap(), [run]);
    let alone = fixture.train_job().await;
    assert_eq!(fixture.store.get_study_of_job(alone.id).await.unwrap(), None);
}

async fn only_running_studies_without_open_jobs_are_idle(mut fixture: Fixture) {
    let (first, second) = (submit(&mut fixture, "first").await, submit(&mut fixture, "second").await);
    let idle = async |fixture: &Fixture| {
        let idle = fixture.store.list_idle_studies().await.unwrap();
        idle.into_iter().map(|study| study.id).collect::<Vec<_>>()
    };
    assert_eq!(idle(&fixture).await, [first.id, second.id]);
    let new = jobs(&mut fixture, &["final/a"]);
    fixture.store.enqueue_study_jobs(first.id, &new, fixture.now).await.unwrap();
    assert_eq!(idle(&fixture).await, [second.id]);
    let claim = fixture.claim().await;
    assert_eq!(idle(&fixture).await, [second.id]);
    assert!(!fixture.store.finish_study(first.id, fixture.now).await.unwrap(), "a job is running");
    fixture.store.finish_job(&claim, fixture.now, &Ending::Failed("no".to_owned())).await.unwrap();
    assert_eq!(idle(&fixture).await, [first.id, second.id]);
    let end = fixture.tick();
    assert!(fixture.store.finish_study(first.id, end).await.unwrap());
    assert!(!fixture.store.finish_study(first.id, end).await.unwrap(), "it ends once");
    assert_eq!(idle(&fixture).await, [second.id]);
    let study = fixture.store.get_study(first.id).await.unwrap().expect("the study");
    assert_eq!((study.state, study.finished_at), (StudyState::Finished, Some(end)));
}

async fn a_cancelled_study_submits_nothing(mut fixture: Fixture) {
    let study = submit(&mut fixture, "stopped").await;
    let end = fixture.tick();
    assert!(fixture.store.cancel_study(study.id, end).await.unwrap());
    assert!(!fixture.store.cancel_study(study.id, end).await.unwrap());
    let new = jobs(&mut fixture, &["final/a"]);
    assert_eq!(fixture.store.enqueue_study_jobs(study.id, &new, fixture.now).await.unwrap(), 0);
    assert_eq!(fixture.store.list_jobs(None, 10).await.unwrap(), []);
    let study = fixture.store.get_study(study.id).await.unwrap().expect("the study");
    assert_eq!((study.state, study.finished_at), (StudyState::Cancelled, Some(end)));
}

async fn a_retried_cell_is_submitted_again(mut fixture: Fixture) {
    let study = submit(&mut fixture, "again").await;
    let new = jobs(&mut fixture, &["final/a", "final/b"]);
    fixture.store.enqueue_study_jobs(study.id, &new, fixture.now).await.unwrap();
    for _ in 0..2 {
        let claim = fixture.claim().await;
        fixture.store.finish_job(&claim, fixture.now, &Ending::Failed("no".to_owned())).await.unwrap();
    }
    assert!(fixture.store.finish_study(study.id, fixture.now).await.unwrap());
    fixture.store.retry_study_cells(study.id, &["final/b".to_owned()]).await.unwrap();
    let after = fixture.store.get_study(study.id).await.unwrap().expect("the study");
    assert_eq!((after.state, after.finished_at), (StudyState::Running, None));
    let new = jobs(&mut fixture, &["final/a", "final/b"]);
    assert_eq!(fixture.store.enqueue_study_jobs(study.id, &new, fixture.now).await.unwrap(), 1);
    let rows = fixture.store.list_study_jobs(study.id).await.unwrap();
    let states: Vec<JobState> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [JobState::Failed, JobState::Queued]);
    let unknown = StudyId::new(fixture.now, [9; 10]);
    let refused = fixture.store.retry_study_cells(unknown, &[]).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
}

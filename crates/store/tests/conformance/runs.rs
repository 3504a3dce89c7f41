//! Runs and their curves: resuming, order, replaced points.

use crate::fixture::{Fixture, evaluate_spec, on_both_databases, train_spec};
use domain::id::RunId;
use domain::image::Purpose;
use domain::job::{Job, JobSpec, JobState};
use domain::run::{MetricPoint, Run};
use domain::train::TrainSpec;
use std::time::Duration;
use store::{Conflict, Ending, StoreError};

on_both_databases!(
    a_run_has_the_spec_and_state_of_its_job,
    a_job_that_does_not_train_has_no_run,
    runs_are_listed_newest_first_with_their_last_model,
    points_are_listed_in_order_of_step,
    a_repeated_point_is_replaced,
    values_that_are_not_finite_are_kept_for_charts,
    the_latest_points_are_those_of_the_last_steps,
    a_rewound_run_loses_later_points_and_samples,
    a_run_of_another_job_is_refused,
    a_run_made_outside_the_queue_is_registered_and_advances,
    a_run_that_a_worker_may_hold_is_not_registered,
    points_added_without_a_claim_keep_those_that_exist,
);

fn point(name: &str, step: i64, value: f64) -> MetricPoint {
    MetricPoint { name: name.to_owned(), step, value }
}

async fn a_run_has_the_spec_and_state_of_its_job(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let JobSpec::Train(spec) = claim.job.spec.clone() else { panic!("not training") };
    let expected = Run {
        id: run.id,
        job_id: claim.job.id,
        name: spec.name.clone(),
        spec,
        state: JobState::Running,
        step: 0,
        error: None,
        model_id: None,
        tags: Vec::new(),
        notes: String::new(),
        pinned: false,
        archived: false,
        created_at: claim.job.created_at,
        queued_at: claim.job.created_at,
        started_at: claim.job.started_at,
        worked_ms: 0,
        finished_at: None,
    };
    assert_eq!(run, expected);
    assert_eq!(fixture.store.get_run(run.id).await.unwrap().as_ref(), Some(&run));
    assert_eq!(fixture.store.get_job(claim.job.id).await.unwrap().unwrap().run_id, Some(run.id));

    fixture.store.append_metrics(&claim, run.id, 9, &[]).await.unwrap();
    let end = fixture.tick();
    fixture.store.finish_job(&claim, end, &Ending::Failed("out of memory".to_owned())).await.unwrap();
    let ended = fixture.store.get_run(run.id).await.unwrap().unwrap();
    assert_eq!(
        (ended.state, ended.step, ended.error.as_deref()),
        (JobState::Failed, 9, Some("out of memory"))
    );
    assert_eq!((ended.finished_at, ended.worked_ms), (Some(end), 1000));
    let unknown = RunId::new(fixture.now, [0; 10]);
    assert_eq!(fixture.store.get_run(unknown).await.unwrap(), None);
}

async fn a_job_that_does_not_train_has_no_run(mut fixture: Fixture) {
    fixture.enqueue(&evaluate_spec()).await;
    let claim = fixture.claim().await;
    let refused = fixture.store.begin_run(&claim, RunId::new(fixture.now, [0; 10])).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}

async fn runs_are_listed_newest_first_with_their_last_model(mut fixture: Fixture) {
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.insert(0, fixture.run().await);
    }
    let mut last = None;
    for (name, step) in [("step-50", 50), ("step-100", 100)] {
        let mut model = fixture.new_model(name);
        (model.run_id, model.step) = (Some(runs[1].1.id), Some(step));
        fixture.store.insert_model(&model, Some(&runs[1].0)).await.unwrap();
        last = Some(model.id);
    }
    let listed = fixture.store.list_runs(10).await.unwrap();
    let models: Vec<_> = listed.iter().map(|run| (run.id, run.model_id)).collect();
    assert_eq!(models, [(runs[0].1.id, None), (runs[1].1.id, last), (runs[2].1.id, None)]);
    assert_eq!(fixture.store.list_runs(1).await.unwrap().len(), 1);
}

async fn points_are_listed_in_order_of_step(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let store = &fixture.store;
    store
        .append_metrics(&claim, run.id, 1, &[point("loss", 1, 0.5), point("grad_norm", 1, 2.0)])
        .await
        .unwrap();
    store.append_metrics(&claim, run.id, 2, &[point("loss", 2, 1.0 / 3.0)]).await.unwrap();
    let all = store.metrics(run.id, -1).await.unwrap();
    assert_eq!(all, [point("grad_norm", 1, 2.0), point("loss", 1, 0.5), point("loss", 2, 1.0 / 3.0)]);
    assert_eq!(store.metrics(run.id, 1).await.unwrap(), [point("loss", 2, 1.0 / 3.0)]);
    assert_eq!(store.metrics(run.id, 2).await.unwrap(), []);
}

async fn a_repeated_point_is_replaced(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    for value in [0.5, 0.25] {
        fixture.store.append_metrics(&claim, run.id, 1, &[point("loss", 1, value)]).await.unwrap();
    }
    assert_eq!(fixture.store.metrics(run.id, -1).await.unwrap(), [point("loss", 1, 0.25)]);
}

async fn values_that_are_not_finite_are_kept_for_charts(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let store = &fixture.store;
    let points =
        [point("a", 1, f64::NAN), point("b", 1, f64::NEG_INFINITY), point("c", 1, f64::MIN_POSITIVE)];
    store.append_metrics(&claim, run.id, 1, &points).await.unwrap();
    assert_eq!(store.metrics(run.id, -1).await.unwrap(), points[2..]);
    let curves = store.curves(run.id, &[], 0, 9).await.unwrap();
    assert!(curves["a"][0].1.is_nan());
    assert_eq!(
        (&curves["b"][..], &curves["c"][..]),
        (&[(1, f64::NEG_INFINITY)][..], &[(1, f64::MIN_POSITIVE)][..])
    );

    // A repeated step replaces a value by one of the other kind.
    let points = [point("a", 1, 0.5), point("c", 1, f64::INFINITY)];
    store.append_metrics(&claim, run.id, 1, &points).await.unwrap();
    assert_eq!(store.metrics(run.id, -1).await.unwrap(), [point("a", 1, 0.5)]);
    let curves = store.curves(run.id, &["a".into(), "c".into()], 0, 9).await.unwrap();
    assert_eq!(
        curves.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), vec![(1, 0.5)]), ("c".to_owned(), vec![(1, f64::INFINITY)])]
    );
    store.rewind_run(&claim, run.id, 0).await.unwrap();
    assert!(store.curves(run.id, &[], 0, 9).await.unwrap().is_empty());
}

async fn the_latest_points_are_those_of_the_last_steps(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let points =
        [point("loss", 2, 0.2), point("loss", 10, 0.1), point("grad_norm", 5, 3.0), point("other", 11, 1.0)];
    fixture.store.append_metrics(&claim, run.id, 11, &points).await.unwrap();
    let latest = fixture.store.latest_metrics(run.id, &["loss", "absent", "grad_norm"]).await.unwrap();
    assert_eq!(latest, [point("loss", 10, 0.1), point("grad_norm", 5, 3.0)]);
}

async fn a_rewound_run_loses_later_points_and_samples(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    for step in 1..=4 {
        fixture.store.append_metrics(&claim, run.id, step, &[point("loss", step, 1.0)]).await.unwrap();
        let mut sample = fixture.new_image(Purpose::Sample, None, "a red circle");
        (sample.run_id, sample.step) = (Some(run.id), Some(step));
        fixture.store.insert_images(&[sample], Some(&claim)).await.unwrap();
    }
    fixture.store.release_job(&claim, fixture.now).await.unwrap();
    fixture.pass(Duration::from_secs(5));
    let again = fixture.claim().await;
    fixture.store.rewind_run(&again, run.id, 2).await.unwrap();
    let steps: Vec<_> = fixture.store.metrics(run.id, -1).await.unwrap().iter().map(|p| p.step).collect();
    assert_eq!(steps, [1, 2]);
    let samples: Vec<_> = fixture.store.list_samples(run.id).await.unwrap().iter().map(|i| i.step).collect();
    assert_eq!(samples, [Some(1), Some(2)]);
    assert_eq!(fixture.store.get_run(run.id).await.unwrap().unwrap().step, 2);

    // A run that was ended before its first checkpoint begins at step 0 again, and draws the samples of step 0 again.
    let mut first = fixture.new_image(Purpose::Sample, None, "a prompt");
    (first.run_id, first.step) = (Some(run.id), Some(0));
    fixture.store.insert_images(&[first], Some(&again)).await.unwrap();
    fixture.store.rewind_run(&again, run.id, 0).await.unwrap();
    assert_eq!(fixture.store.list_samples(run.id).await.unwrap(), []);
    assert_eq!(fixture.store.metrics(run.id, -1).await.unwrap(), []);
}

async fn a_run_of_another_job_is_refused(mut fixture: Fixture) {
    let (_, run) = fixture.run().await;
    let (other, _) = fixture.run().await;
    let refused = fixture.store.append_metrics(&other, run.id, 1, &[point("loss", 1, 1.0)]).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
    let refused = fixture.store.rewind_run(&other, run.id, 0).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
    assert_eq!(fixture.store.metrics(run.id, -1).await.unwrap(), []);
}

async fn a_run_made_outside_the_queue_is_registered_and_advances(mut fixture: Fixture) {
    let spec = JobSpec::Train(train_spec("made"));
    let first = fixture.ended_job(spec.clone(), JobState::Cancelled);
    let id = RunId::new(fixture.now, [3; 10]);
    let run = fixture.store.register_run(&first, id, 4).await.unwrap();
    assert_eq!((run.id, run.job_id, run.step, run.state), (id, first.id, 4, JobState::Cancelled));
    assert_eq!((&*run.name, run.created_at), ("made", first.created_at));

    // Repeated, it keeps its first job and changes nothing; with more steps both advance.
    let again = fixture.ended_job(spec.clone(), JobState::Cancelled);
    assert_eq!(fixture.store.register_run(&again, id, 4).await.unwrap(), run);
    let end = fixture.tick();
    let done = Job { progress: 100, finished_at: Some(end), ..fixture.ended_job(spec, JobState::Succeeded) };
    let finished = fixture.store.register_run(&done, id, 100).await.unwrap();
    assert_eq!((finished.job_id, finished.step, finished.state), (first.id, 100, JobState::Succeeded));
    assert_eq!(finished.finished_at, Some(end));
    assert_eq!(fixture.store.register_run(&again, id, 4).await.unwrap(), finished);
    let jobs = fixture.store.list_jobs(None, 10).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].progress), (1, 100));

    // A finished run that was prolonged has the spec and state of its continuation.
    let longer = JobSpec::Train(TrainSpec { steps: 200, ..train_spec("made") });
    let stopped = fixture.ended_job(longer.clone(), JobState::Cancelled);
    let prolonged = fixture.store.register_run(&stopped, id, 150).await.unwrap();
    assert_eq!((prolonged.job_id, prolonged.step, prolonged.state), (first.id, 150, JobState::Cancelled));
    assert_eq!(JobSpec::Train(prolonged.spec), longer);

    let other = fixture.ended_job(evaluate_spec(), JobState::Succeeded);
    let refused = fixture.store.register_run(&other, RunId::new(fixture.now, [4; 10]), 1).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}

async fn a_run_that_a_worker_may_hold_is_not_registered(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let job = fixture.ended_job(claim.job.spec.clone(), JobState::Cancelled);
    let refused = fixture.store.register_run(&job, run.id, 4).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::JobNotEnded))), "{refused:?}");
    // Once its job has failed, a copy of the run that went on elsewhere succeeds it.
    let end = fixture.tick();
    fixture.store.finish_job(&claim, end, &Ending::Failed("lost".to_owned())).await.unwrap();
    let run = fixture.store.register_run(&job, run.id, 4).await.unwrap();
    assert_eq!((run.job_id, run.step, run.state, run.error), (claim.job.id, 4, JobState::Cancelled, None));
}

async fn points_added_without_a_claim_keep_those_that_exist(mut fixture: Fixture) {
    let job = fixture.ended_job(JobSpec::Train(train_spec("made")), JobState::Succeeded);
    let id = RunId::new(fixture.now, [3; 10]);
    let store = &fixture.store;
    let refused = store.add_points(id, &[point("loss", 1, 0.5)]).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
    store.register_run(&job, id, 3000).await.unwrap();
    store.add_points(id, &[]).await.unwrap();
    store.add_points(id, &[point("loss", 1, 0.5), point("loss", 2, f64::NAN)]).await.unwrap();
    // More than one statement holds.
    let many: Vec<MetricPoint> = (1..=3000).map(|step| point("loss", step, 0.25)).collect();
    store.add_points(id, &many).await.unwrap();
    let listed = store.metrics(id, -1).await.unwrap();
    assert_eq!(listed[0], point("loss", 1, 0.5));
    assert_eq!(listed[1..], many[1..]);
}

//! Runs and their curves: resuming, order, replaced points.

use crate::fixture::{Fixture, evaluate_spec, on_both_databases};
use domain::id::RunId;
use domain::image::Purpose;
use domain::job::{JobSpec, JobState};
use domain::run::{MetricPoint, Run};
use std::time::Duration;
use store::{Ending, StoreError};

on_both_databases!(
    a_run_has_the_spec_and_state_of_its_job,
    a_job_that_does_not_train_has_no_run,
    runs_are_listed_newest_first_with_their_last_model,
    points_are_listed_in_order_of_step,
    a_repeated_point_is_replaced,
    values_that_are_not_finite_are_left_out,
    the_latest_points_are_those_of_the_last_steps,
    a_rewound_run_loses_later_points_and_samples,
    a_run_of_another_job_is_refused,
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
        created_at: claim.job.created_at,
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
    assert_eq!(ended.finished_at, Some(end));
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

async fn values_that_are_not_finite_are_left_out(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let points = [point("a", 1, f64::NAN), point("b", 1, f64::INFINITY), point("c", 1, f64::MIN_POSITIVE)];
    fixture.store.append_metrics(&claim, run.id, 1, &points).await.unwrap();
    assert_eq!(fixture.store.metrics(run.id, -1).await.unwrap(), points[2..]);
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

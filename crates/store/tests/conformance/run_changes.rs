//! Names, notes, tags and the deletion of runs.

use crate::fixture::{Fixture, on_both_databases, train_spec};
use domain::api::RunChange;
use domain::id::RunId;
use domain::image::Purpose;
use domain::job::JobSpec;
use domain::run::MetricPoint;
use store::{Conflict, Ending, StoreError};

on_both_databases!(
    only_the_fields_of_a_change_are_changed,
    a_taken_name_gets_a_free_one,
    a_deleted_run_leaves_nothing_but_its_models,
    a_run_that_has_not_ended_is_not_deleted,
    a_run_whose_samples_were_judged_is_not_deleted,
);

async fn only_the_fields_of_a_change_are_changed(mut fixture: Fixture) {
    let (_, run) = fixture.run().await;
    let change = RunChange {
        name: Some("renamed".to_owned()),
        notes: Some("a\n“note”".to_owned()),
        tags: Some(["b", "a", "b"].map(str::to_owned).into()),
        pinned: Some(true),
        archived: Some(true),
    };
    fixture.store.change_run(run.id, &change).await.unwrap();
    let changed = fixture.store.get_run(run.id).await.unwrap().unwrap();
    assert_eq!((&*changed.name, &*changed.spec.name, &*changed.notes), ("renamed", "run", "a\n“note”"));
    assert_eq!((changed.tags, changed.pinned, changed.archived), (vec!["a".into(), "b".into()], true, true));

    let change = RunChange { tags: Some(Vec::new()), archived: Some(false), ..RunChange::default() };
    fixture.store.change_run(run.id, &change).await.unwrap();
    let changed = fixture.store.get_run(run.id).await.unwrap().unwrap();
    assert_eq!((&*changed.name, &*changed.notes, changed.pinned), ("renamed", "a\n“note”", true));
    assert_eq!((changed.tags, changed.archived), (Vec::new(), false));
    let unknown = RunId::new(fixture.now, [0; 10]);
    let tags = RunChange { tags: Some(vec!["a".to_owned()]), ..RunChange::default() };
    fixture.store.change_run(unknown, &tags).await.unwrap();
}

async fn a_taken_name_gets_a_free_one(mut fixture: Fixture) {
    let (_, run) = fixture.run().await;
    assert_eq!(fixture.store.name_instead("run", None).await.unwrap().as_deref(), Some("run-2"));
    assert_eq!(fixture.store.name_instead("run", Some(run.id)).await.unwrap(), None);
    assert_eq!(fixture.store.name_instead("free", None).await.unwrap(), None);
    // A job that waits for a worker has no run yet.
    let waiting = fixture.enqueue(&JobSpec::Train(train_spec("free"))).await;
    assert_eq!(fixture.store.name_instead("free", None).await.unwrap().as_deref(), Some("free-2"));
    fixture.store.request_cancel(waiting.id, fixture.now).await.unwrap();
    assert_eq!(fixture.store.name_instead("free", None).await.unwrap(), None);
}

async fn a_deleted_run_leaves_nothing_but_its_models(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let points: Vec<MetricPoint> = (1..=600)
        .map(|step| MetricPoint {
            name: "loss".to_owned(),
            step,
            value: if step == 3 { f64::NAN } else { 0.5 },
        })
        .collect();
    fixture.store.append_metrics(&claim, run.id, 600, &points).await.unwrap();
    let tags = RunChange { tags: Some(vec!["a".to_owned()]), ..RunChange::default() };
    fixture.store.change_run(run.id, &tags).await.unwrap();
    let mut model = fixture.new_model("made");
    (model.run_id, model.step) = (Some(run.id), Some(100));
    fixture.store.insert_model(&model, Some(&claim)).await.unwrap();
    let mut sample = fixture.new_image(Purpose::Sample, None, "a prompt");
    (sample.run_id, sample.step) = (Some(run.id), Some(1));
    fixture.store.insert_images(std::slice::from_ref(&sample), Some(&claim)).await.unwrap();
    let end = fixture.tick();
    fixture.store.finish_job(&claim, end, &Ending::Succeeded).await.unwrap();
    assert_eq!(fixture.store.count_samples(run.id).await.unwrap(), (0, 1));

    assert_eq!(fixture.store.remove_run(run.id).await.unwrap(), [sample.artifact]);
    assert_eq!(fixture.store.get_run(run.id).await.unwrap(), None);
    assert_eq!(fixture.store.get_job(claim.job.id).await.unwrap(), None);
    assert_eq!(fixture.store.metrics(run.id, -1).await.unwrap(), []);
    assert!(fixture.store.curves(run.id, &[], 0, 1000).await.unwrap().is_empty());
    assert_eq!(fixture.store.list_samples(run.id).await.unwrap(), []);
    assert_eq!(fixture.store.run_choices().await.unwrap(), Default::default());
    let kept = fixture.store.get_model(model.id).await.unwrap().unwrap();
    assert_eq!((kept.run_id, kept.step), (None, Some(100)));
    assert!(fixture.store.remove_run(run.id).await.unwrap().is_empty());
}

async fn a_run_that_has_not_ended_is_not_deleted(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let refused = fixture.store.remove_run(run.id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::JobNotEnded))), "{refused:?}");
    fixture.store.release_job(&claim, fixture.now).await.unwrap();
    let refused = fixture.store.remove_run(run.id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::JobNotEnded))), "{refused:?}");
    assert!(fixture.store.get_run(run.id).await.unwrap().is_some());
}

async fn a_run_whose_samples_were_judged_is_not_deleted(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    for step in 1..=2 {
        let mut sample = fixture.new_image(Purpose::Sample, None, "a prompt");
        (sample.run_id, sample.step) = (Some(run.id), Some(step));
        fixture.store.insert_images(std::slice::from_ref(&sample), Some(&claim)).await.unwrap();
    }
    let end = fixture.tick();
    fixture.store.finish_job(&claim, end, &Ending::Succeeded).await.unwrap();
    // No page draws matchups of samples, so rows are written by hand.
    fixture
        .execute(
            "INSERT INTO matchups (id, prompt, left_image, right_image, created_at) \
             SELECT a.id, 'p', a.id, b.id, a.created_at FROM images a JOIN images b ON a.step = 1 AND b.step = 2",
        )
        .await;
    fixture.rater().await;
    fixture
        .execute(
            "INSERT INTO votes (id, matchup_id, rater_id, choice, created_at) \
             SELECT m.id, m.id, r.id, 'left', m.created_at FROM matchups m, raters r",
        )
        .await;
    assert_eq!(fixture.store.count_samples(run.id).await.unwrap(), (1, 2));
    let refused = fixture.store.remove_run(run.id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::RunInUse))), "{refused:?}");
    assert_eq!(fixture.store.count_samples(run.id).await.unwrap(), (1, 2));
}

//! Points as charts read them: the same from packed copies as from rows, whatever was written, repeated or rewound.

use crate::fixture::{Fixture, on_both_databases, train_spec};
use domain::id::RunId;
use domain::job::{JobSpec, JobState};
use domain::run::MetricPoint;
use store::Db;

on_both_databases!(
    packed_points_equal_their_rows,
    a_repeated_or_rewound_step_changes_packed_points,
    points_of_a_registered_run_are_packed,
    a_range_and_names_restrict_curves,
);

fn points(steps: std::ops::RangeInclusive<i64>, shift: f64) -> Vec<MetricPoint> {
    let value = |step: i64| if step == 700 { f64::NAN } else { step as f64 / 7.0 + shift };
    let loss = steps.clone().map(|step| MetricPoint { name: "loss".to_owned(), step, value: value(step) });
    let sparse = steps.filter(|step| step % 100 == 0);
    let validation =
        sparse.map(|step| MetricPoint { name: "validation/loss".to_owned(), step, value: step as f64 });
    loss.chain(validation).collect()
}

/// The curves as they were written, with NaN as text so that they can be compared.
fn expected(points: &[MetricPoint]) -> Vec<(String, String)> {
    let mut all: Vec<_> = points.iter().map(|p| (p.name.clone(), p.step, p.value)).collect();
    all.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    all.into_iter().map(|(name, step, value)| (name, format!("{step} {value:?}"))).collect()
}

async fn read(fixture: &Fixture, run: RunId) -> Vec<(String, String)> {
    let curves = fixture.store.curves(run, &[], 0, 1_000_000).await.unwrap();
    let flat = curves.into_iter().flat_map(|(name, points)| {
        points.into_iter().map(move |(step, value)| (name.clone(), format!("{step} {value:?}")))
    });
    flat.collect()
}

/// Chunks that are stored for a run, over all curves.
async fn chunks(fixture: &Fixture, run: RunId) -> i64 {
    let sql = "SELECT COUNT(*) FROM metric_chunks WHERE run_id = $1";
    match fixture.store.db() {
        Db::Sqlite(pool) => sqlx::query_scalar(sql).bind(run.0).fetch_one(pool).await.unwrap(),
        Db::Postgres(pool) => sqlx::query_scalar(sql).bind(run.0).fetch_one(pool).await.unwrap(),
    }
}

async fn packed_points_equal_their_rows(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let all = points(1..=1300, 0.0);
    for step in (100..=1300).step_by(100) {
        let part: Vec<_> = all.iter().filter(|p| p.step > step - 100 && p.step <= step).cloned().collect();
        fixture.store.append_metrics(&claim, run.id, step, &part).await.unwrap();
    }
    // Steps 0 to 1023 of two curves are packed.
    assert_eq!(chunks(&fixture, run.id).await, 4);
    assert!(fixture.store.is_packed(run.id).await.unwrap());
    assert_eq!(fixture.store.curve_names(run.id).await.unwrap(), ["loss", "validation/loss"]);
    assert_eq!(read(&fixture, run.id).await, expected(&all));
    // The copies are what is read: without rows they remain.
    fixture.execute("DELETE FROM metrics WHERE step < 1024").await;
    fixture.execute("DELETE FROM metrics_not_finite").await;
    assert_eq!(read(&fixture, run.id).await, expected(&all));
}

async fn a_repeated_or_rewound_step_changes_packed_points(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let store = fixture.store.clone();
    store.append_metrics(&claim, run.id, 1300, &points(1..=1300, 0.0)).await.unwrap();
    assert_eq!(chunks(&fixture, run.id).await, 4);

    let changed = [MetricPoint { name: "loss".to_owned(), step: 600, value: -1.0 }];
    store.append_metrics(&claim, run.id, 1300, &changed).await.unwrap();
    let curves = store.curves(run.id, &["loss".into()], 599, 601).await.unwrap();
    assert_eq!(curves["loss"][1], (600, -1.0));
    assert_eq!(chunks(&fixture, run.id).await, 4);

    store.rewind_run(&claim, run.id, 550).await.unwrap();
    assert_eq!(chunks(&fixture, run.id).await, 2);
    assert_eq!(read(&fixture, run.id).await, expected(&points(1..=550, 0.0)));
    store.append_metrics(&claim, run.id, 1100, &points(551..=1100, 2.0)).await.unwrap();
    let all: Vec<_> = points(1..=550, 0.0).into_iter().chain(points(551..=1100, 2.0)).collect();
    assert_eq!(read(&fixture, run.id).await, expected(&all));
    assert_eq!(chunks(&fixture, run.id).await, 4);
}

async fn points_of_a_registered_run_are_packed(mut fixture: Fixture) {
    let job = fixture.ended_job(JobSpec::Train(train_spec("made")), JobState::Succeeded);
    let id = RunId::new(fixture.now, [3; 10]);
    fixture.store.register_run(&job, id, 6000).await.unwrap();
    let all = points(1..=6000, 0.0);
    fixture.store.add_points(id, &all).await.unwrap();
    // More than one transaction packs, and 5632 is the last multiple of 512.
    assert_eq!(chunks(&fixture, id).await, 22);
    assert_eq!(read(&fixture, id).await, expected(&all));
    // A database of an earlier version has no copies.
    fixture.execute("DELETE FROM metric_chunks").await;
    fixture.execute("UPDATE runs SET packed_to = 0").await;
    assert!(!fixture.store.is_packed(id).await.unwrap());
    assert_eq!(read(&fixture, id).await, expected(&all));
    while fixture.store.pack_points(id).await.unwrap() {}
    assert_eq!(chunks(&fixture, id).await, 22);
    assert_eq!(read(&fixture, id).await, expected(&all));
}

async fn a_range_and_names_restrict_curves(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    fixture.store.append_metrics(&claim, run.id, 1300, &points(1..=1300, 0.0)).await.unwrap();
    for (from, to) in [(500, 520), (1020, 1030), (1290, 5000), (0, 0)] {
        let curves = fixture.store.curves(run.id, &["loss".into()], from, to).await.unwrap();
        let steps: Vec<i64> = curves.get("loss").into_iter().flatten().map(|point| point.0).collect();
        assert_eq!(steps, (from.max(1)..=to.min(1300)).collect::<Vec<_>>());
        assert!(!curves.contains_key("validation/loss"));
    }
    let none = fixture.store.curves(run.id, &["absent".into()], 0, 9999).await.unwrap();
    assert!(none.is_empty());
    let unknown = RunId::new(fixture.now, [9; 10]);
    assert!(fixture.store.curves(unknown, &[], 0, 9).await.unwrap().is_empty());
}

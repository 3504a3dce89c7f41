//! Logs and measurements of runs.

use crate::fixture::{Fixture, evaluate_spec, on_both_databases};
use domain::log::{LogLevel, LogLine};
use domain::run::MetricPoint;
use domain::usage::Usage;
use store::{Ending, StoreError};

on_both_databases!(
    lines_are_numbered_and_the_first_of_a_long_log_removed,
    measurements_are_thinned_out_and_bounded,
    only_the_holder_of_a_job_writes_records,
    lowest_and_highest_values_leave_out_what_is_not_finite,
);

fn line(fixture: &mut Fixture, message: &str) -> LogLine {
    LogLine { line: 0, at: fixture.tick(), level: LogLevel::Info, message: message.to_owned() }
}

fn usage(fixture: &mut Fixture, memory: u64) -> Usage {
    Usage { at: fixture.tick(), cores: 0.5, memory, host_memory: 9, device_memory: Some(7) }
}

async fn lines_are_numbered_and_the_first_of_a_long_log_removed(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let first = line(&mut fixture, "first");
    assert!(fixture.store.append_log(&claim, std::slice::from_ref(&first)).await.unwrap());
    assert_eq!(fixture.store.run_log(run.id, None, 10).await.unwrap(), [LogLine { line: 1, ..first }]);
    let many: Vec<LogLine> = (0..5010).map(|_| line(&mut fixture, "later")).collect();
    assert!(fixture.store.append_log(&claim, &many).await.unwrap());
    let numbers = |lines: Vec<LogLine>| lines.into_iter().map(|line| line.line).collect::<Vec<_>>();
    assert_eq!(numbers(fixture.store.run_log(run.id, Some(0), 2).await.unwrap()), [12, 13]);
    assert_eq!(numbers(fixture.store.run_log(run.id, None, 2).await.unwrap()), [5010, 5011]);
    assert_eq!(numbers(fixture.store.run_log(run.id, Some(5011), 2).await.unwrap()), [0_i64; 0]);
}

async fn measurements_are_thinned_out_and_bounded(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    for memory in 0..1500 {
        let usage = usage(&mut fixture, memory);
        fixture.store.append_usage(&claim, &usage).await.unwrap();
    }
    let kept = fixture.store.run_usage(run.id).await.unwrap().measurements;
    let memory: Vec<u64> = kept.iter().map(|usage| usage.memory).collect();
    // Every fourth, and the newest.
    assert_eq!((memory.len(), &memory[..3], &memory[374..]), (376, &[0, 4, 8][..], &[1496, 1499][..]));
    assert_eq!((kept[0].cores, kept[0].host_memory, kept[0].device_memory), (0.5, 9, Some(7)));
}

async fn only_the_holder_of_a_job_writes_records(mut fixture: Fixture) {
    fixture.enqueue(&evaluate_spec()).await;
    let claim = fixture.claim().await;
    let (line, usage) = (line(&mut fixture, "a line"), usage(&mut fixture, 1));
    // An evaluation has no run.
    assert!(!fixture.store.append_log(&claim, std::slice::from_ref(&line)).await.unwrap());
    fixture.store.append_usage(&claim, &usage).await.unwrap();
    let (claim, run) = fixture.run().await;
    let now = fixture.tick();
    fixture.store.finish_job(&claim, now, &Ending::Succeeded).await.unwrap();
    assert!(matches!(fixture.store.append_log(&claim, &[line]).await, Err(StoreError::LeaseLost)));
    assert!(matches!(fixture.store.append_usage(&claim, &usage).await, Err(StoreError::LeaseLost)));
    assert_eq!(fixture.store.run_log(run.id, None, 1).await.unwrap(), []);
}

async fn lowest_and_highest_values_leave_out_what_is_not_finite(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let point = |step: i64, value: f64| MetricPoint { name: "loss".to_owned(), step, value };
    let points = [point(1, 0.75), point(2, f64::NEG_INFINITY), point(3, 0.25), point(4, f64::NAN)];
    fixture.store.append_metrics(&claim, run.id, 4, &points).await.unwrap();
    let extremes = fixture.store.extreme_values(&[run.id], "loss").await.unwrap();
    assert_eq!(extremes.get(&run.id), Some(&(0.25, 0.75)));
    assert!(fixture.store.extreme_values(&[run.id], "none").await.unwrap().is_empty());
    assert!(fixture.store.extreme_values(&[], "loss").await.unwrap().is_empty());
}

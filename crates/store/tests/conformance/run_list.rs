//! The list of runs: filters, orders, and pages that stay in place while runs are added.

use crate::fixture::{Fixture, evaluate_spec, on_both_databases, train_spec};
use domain::api::{RunChange, RunSort};
use domain::id::{RunId, StudyId};
use domain::job::{JobSpec, JobState};
use domain::run::{MetricPoint, Run};
use domain::train::{Objective, TrainSpec};
use rand::Rng;
use std::time::Duration;
use store::{Ending, RunCursor, RunFilter};

on_both_databases!(
    runs_are_filtered_by_each_field,
    pages_have_each_run_once_in_every_order_while_runs_are_added,
    the_choices_are_what_runs_have,
    the_last_points_of_several_runs_are_read_at_once,
);

/// A run of this name and objective that has ended after some seconds.
async fn ended(
    fixture: &mut Fixture,
    name: &str,
    objective: Objective,
    seconds: u64,
    ending: &Ending,
) -> Run {
    let spec = TrainSpec { objective, base: format!("base-of-{name}"), ..train_spec(name) };
    fixture.enqueue(&JobSpec::Train(spec)).await;
    let claim = fixture.claim().await;
    let run = fixture.store.begin_run(&claim, RunId::new(fixture.now, fixture.rng.random())).await.unwrap();
    let end = fixture.pass(Duration::from_secs(seconds));
    fixture.store.finish_job(&claim, end, ending).await.unwrap();
    fixture.store.get_run(run.id).await.unwrap().unwrap()
}

async fn names(fixture: &Fixture, filter: &RunFilter, sort: RunSort) -> Vec<String> {
    let runs = fixture.store.list_run_page(filter, sort, None, 100).await.unwrap();
    runs.into_iter().map(|run| run.name).collect()
}

async fn runs_are_filtered_by_each_field(mut fixture: Fixture) {
    let failed = Ending::Failed("lost".to_owned());
    let first = ended(&mut fixture, "Own_dpo", Objective::Sft {}, 3, &Ending::Succeeded).await;
    ended(&mut fixture, "other", Objective::DiffusionDpo { beta: 1.0 }, 1, &failed).await;
    ended(&mut fixture, "ownxdpo", Objective::Sft {}, 2, &failed).await;
    let tags = RunChange { tags: Some(vec!["b".to_owned(), "a".to_owned()]), ..RunChange::default() };
    fixture.store.change_run(first.id, &tags).await.unwrap();
    let study: StudyId = "0199c5a8-7d3e-7f00-8000-0123456789ab".parse().unwrap();
    let all = RunFilter::default();
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (all.clone(), vec!["ownxdpo", "other", "Own_dpo"]),
        (RunFilter { search: text("own"), ..all.clone() }, vec!["ownxdpo", "Own_dpo"]),
        // A letter of a pattern stands for itself.
        (RunFilter { search: text("OWN_"), ..all.clone() }, vec!["Own_dpo"]),
        (RunFilter { search: text("%"), ..all.clone() }, vec![]),
        (RunFilter { state: Some(JobState::Failed), ..all.clone() }, vec!["ownxdpo", "other"]),
        (RunFilter { objective: text("sft"), ..all.clone() }, vec!["ownxdpo", "Own_dpo"]),
        (RunFilter { base: text("base-of-other"), ..all.clone() }, vec!["other"]),
        (RunFilter { tag: text("a"), ..all.clone() }, vec!["Own_dpo"]),
        (RunFilter { tag: text("c"), ..all.clone() }, vec![]),
        (RunFilter { study: Some(study), ..all.clone() }, vec![]),
        (RunFilter { archived: true, ..all.clone() }, vec![]),
        (RunFilter { state: Some(JobState::Failed), objective: text("sft"), ..all.clone() }, vec!["ownxdpo"]),
    ] {
        assert_eq!(names(&fixture, &filter, RunSort::Newest).await, expected, "{filter:?}");
    }
    assert_eq!(names(&fixture, &all, RunSort::Name).await, ["other", "Own_dpo", "ownxdpo"]);
    assert_eq!(names(&fixture, &all, RunSort::Duration).await, ["Own_dpo", "ownxdpo", "other"]);
    let pinned = RunChange { pinned: Some(true), ..RunChange::default() };
    fixture.store.change_run(first.id, &pinned).await.unwrap();
    assert_eq!(names(&fixture, &all, RunSort::Newest).await, ["Own_dpo", "ownxdpo", "other"]);
    let archived = RunChange { archived: Some(true), ..RunChange::default() };
    fixture.store.change_run(first.id, &archived).await.unwrap();
    assert_eq!(names(&fixture, &all, RunSort::Newest).await, ["ownxdpo", "other"]);
    assert_eq!(names(&fixture, &RunFilter { archived: true, ..all }, RunSort::Newest).await, ["Own_dpo"]);
}

async fn pages_have_each_run_once_in_every_order_while_runs_are_added(mut fixture: Fixture) {
    let mut runs = Vec::new();
    for index in 0..11u64 {
        // Equal names and durations, so that ids decide.
        let name = format!("run-{}", index % 4);
        runs.push(ended(&mut fixture, &name, Objective::Sft {}, index % 3, &Ending::Succeeded).await.id);
    }
    for id in [runs[2], runs[7]] {
        let pinned = RunChange { pinned: Some(true), ..RunChange::default() };
        fixture.store.change_run(id, &pinned).await.unwrap();
    }
    let filter = RunFilter::default();
    for sort in RunSort::ALL {
        let all: Vec<RunId> = fixture
            .store
            .list_run_page(&filter, sort, None, 100)
            .await
            .unwrap()
            .iter()
            .map(|run| run.id)
            .filter(|id| runs.contains(id))
            .collect();
        assert_eq!(all.len(), runs.len());
        let (mut seen, mut after) = (Vec::new(), None::<RunCursor>);
        loop {
            let page = fixture.store.list_run_page(&filter, sort, after.as_ref(), 3).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(RunCursor::of(last, sort).to_string().parse().unwrap());
            seen.extend(page.iter().map(|run| run.id));
            // Its key lies before the cursor in some orders, and after it in others.
            ended(&mut fixture, "added", Objective::Sft {}, 1, &Ending::Succeeded).await;
        }
        seen.retain(|id| runs.contains(id));
        assert_eq!(seen, all, "{sort:?}");
        assert_eq!(&all[..2].iter().filter(|id| [runs[2], runs[7]].contains(id)).count(), &2);
    }
}

async fn the_choices_are_what_runs_have(mut fixture: Fixture) {
    assert_eq!(fixture.store.run_choices().await.unwrap(), Default::default());
    for name in ["b", "a", "b"] {
        let run = ended(&mut fixture, name, Objective::Sft {}, 1, &Ending::Succeeded).await;
        let tags = RunChange { tags: Some(vec![name.to_owned(), "all".to_owned()]), ..RunChange::default() };
        fixture.store.change_run(run.id, &tags).await.unwrap();
    }
    let choices = fixture.store.run_choices().await.unwrap();
    assert_eq!(
        (choices.bases, choices.tags),
        (
            vec!["base-of-a".to_owned(), "base-of-b".to_owned()],
            vec!["a".to_owned(), "all".to_owned(), "b".to_owned()],
        )
    );
}

async fn the_last_points_of_several_runs_are_read_at_once(mut fixture: Fixture) {
    let point = |name: &str, step, value| MetricPoint { name: name.to_owned(), step, value };
    let (first_claim, first) = fixture.run().await;
    let (second_claim, second) = fixture.run().await;
    let (_, third) = fixture.run().await;
    fixture.enqueue(&evaluate_spec()).await;
    let points = [point("loss", 1, 0.9), point("loss", 3, 0.5), point("grad_norm", 2, 7.0)];
    fixture.store.append_metrics(&first_claim, first.id, 3, &points).await.unwrap();
    fixture.store.append_metrics(&second_claim, second.id, 1, &[point("loss", 1, 0.25)]).await.unwrap();
    let ids = [first.id, second.id, third.id];
    let last = fixture.store.last_points(&ids, &["loss", "grad_norm", "absent"]).await.unwrap();
    assert_eq!(last[&first.id], [point("loss", 3, 0.5), point("grad_norm", 2, 7.0)]);
    assert_eq!(last[&second.id], [point("loss", 1, 0.25)]);
    assert_eq!(last.get(&third.id), None);
    assert!(fixture.store.last_points(&[], &["loss"]).await.unwrap().is_empty());
}

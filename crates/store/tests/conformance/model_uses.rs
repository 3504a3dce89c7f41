//! What depends on a model, votes on its images, and its removal.

use crate::fixture::{Fixture, on_both_databases, train_spec};
use domain::id::StudyId;
use domain::image::Purpose;
use domain::job::JobSpec;
use domain::model::Model;
use domain::preference::{Choice, Matchup, Question};
use domain::study::StudySpec;
use rand::Rng;
use store::{Activity, Conflict, ModelVotes, StoreError};

on_both_databases!(
    votes_on_a_model_are_counted_on_both_sides_and_not_those_on_its_adapters,
    models_jobs_and_studies_depend_on_a_model,
    a_model_is_removed_with_its_images_and_unjudged_matchups,
    a_model_with_votes_or_descendants_is_not_removed,
    models_of_a_base_are_listed_oldest_first,
    activity_counts_jobs_by_state,
);

async fn matchup(fixture: &mut Fixture, a: &Model, b: &Model, prompt: &str) -> Matchup {
    let (x, y) = (fixture.evaluation_image(a, prompt).await, fixture.evaluation_image(b, prompt).await);
    let now = fixture.tick();
    fixture.store.create_matchup(x.id, y.id, Question::Overall, now, &mut fixture.rng).await.unwrap()
}

async fn votes_on_a_model_are_counted_on_both_sides_and_not_those_on_its_adapters(mut fixture: Fixture) {
    let [model, other] = [fixture.model("model").await, fixture.model("other").await];
    let rater = fixture.rater().await;
    for (index, wins) in [true, true, true, false].into_iter().enumerate() {
        let matchup = matchup(&mut fixture, &model, &other, &format!("p{index}")).await;
        let left = fixture.store.matchup_model_names(matchup.id).await.unwrap().unwrap().0;
        let choice = if (left == "model") == wins { Choice::Left } else { Choice::Right };
        fixture.vote(&matchup, rater, choice).await;
    }
    for (prompt, choice) in [("t", Choice::Tie), ("b", Choice::BothBad)] {
        let matchup = matchup(&mut fixture, &other, &model, prompt).await;
        fixture.vote(&matchup, rater, choice).await;
    }
    // Two images of one model say nothing of it against others.
    let own = matchup(&mut fixture, &model, &model, "own").await;
    fixture.vote(&own, rater, Choice::Left).await;
    let store = &fixture.store;
    let expected = ModelVotes { wins: 3, losses: 1, ties: 1, both_bad: 1 };
    assert_eq!(store.model_votes(model.id).await.unwrap(), expected);
    let expected = ModelVotes { wins: 1, losses: 3, ..expected };
    assert_eq!(store.model_votes(other.id).await.unwrap(), expected);
    assert!(store.is_comparable(model.id).await.unwrap());
    let fresh = fixture.model("fresh").await;
    assert_eq!(fixture.store.model_votes(fresh.id).await.unwrap(), ModelVotes::default());
    assert!(!fixture.store.is_comparable(fresh.id).await.unwrap());
}

async fn models_jobs_and_studies_depend_on_a_model(mut fixture: Fixture) {
    let base = fixture.model("the-base").await;
    let mut tuned = fixture.new_model("tuned");
    tuned.base_id = Some(base.id);
    let mut twin = fixture.new_model("twin");
    twin.folder.clone_from(&base.folder);
    for model in [&tuned, &twin] {
        fixture.store.insert_model(model, None).await.unwrap();
    }
    let mut by_name = train_spec("by-name");
    by_name.base = "the-base".to_owned();
    let mut by_id = train_spec("by-id");
    by_id.reference = Some(base.id.to_string());
    let by_name = fixture.enqueue(&JobSpec::Train(by_name)).await;
    fixture.enqueue(&JobSpec::Train(by_id)).await;
    let study = serde_json::json!({
        "name": "a-study", "base": "the-base", "budget": { "pairs": 32 },
        "train": { "batch_size": 4, "learning_rate": { "rate": 1e-4 } },
        "data": [{ "name": "winter", "set": { "source": "shapes", "set": "winter", "count": 16 } }],
        "methods": [{ "name": "sft", "objective": { "kind": "sft" } }],
        "evaluate": [{ "name": "held_out", "prompts": { "source": "shapes_held_out", "count": 2 } }],
    });
    let study: StudySpec = serde_json::from_value(study).expect("a spec");
    let now = fixture.tick();
    let id = StudyId::new(now, fixture.rng.random());
    fixture.store.submit_study(id, &study, now).await.unwrap();

    let found = fixture.store.dependants(base.id, "the-base").await.unwrap();
    assert_eq!(found, ["model tuned", "model twin", "job by-name", "job by-id", "study a-study"]);
    assert_eq!(fixture.store.dependants(tuned.id, "tuned").await.unwrap(), Vec::<String>::new());
    // What has ended needs nothing.
    let now = fixture.tick();
    fixture.store.request_cancel(by_name.id, now).await.unwrap();
    let found = fixture.store.dependants(base.id, "the-base").await.unwrap();
    assert_eq!(found, ["model tuned", "model twin", "job by-id", "study a-study"]);
}

async fn a_model_is_removed_with_its_images_and_unjudged_matchups(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let [model, other] = [fixture.model("model").await, fixture.model("other").await];
    let open = matchup(&mut fixture, &model, &other, "p").await;
    let generated = fixture.new_image(Purpose::Generation, Some(model.id), "q");
    let mut sample = fixture.new_image(Purpose::Sample, Some(model.id), "s");
    (sample.run_id, sample.step) = (Some(run.id), Some(5));
    fixture.store.insert_images(std::slice::from_ref(&generated), None).await.unwrap();
    fixture.store.insert_images(std::slice::from_ref(&sample), Some(&claim)).await.unwrap();
    fixture.store.record_fingerprint(model.id, "{}").await.unwrap();
    let store = &fixture.store;
    assert_eq!(store.count_model_images(model.id).await.unwrap(), 2);
    let artifacts = store.remove_model(model.id).await.unwrap();
    assert!(
        artifacts.len() == 2
            && artifacts.contains(&generated.artifact)
            && !artifacts.contains(&sample.artifact)
    );
    assert_eq!(store.get_model(model.id).await.unwrap(), None);
    assert_eq!(store.get_matchup(open.id).await.unwrap(), None);
    assert_eq!(store.get_image(generated.id).await.unwrap(), None);
    let samples = store.list_samples(run.id).await.unwrap();
    assert_eq!(
        samples.iter().map(|image| (image.id, image.model_id)).collect::<Vec<_>>(),
        [(sample.id, None)]
    );
    assert_eq!(store.list_evaluation_images(other.id, 5).await.unwrap().len(), 1);
    assert!(!store.is_comparable(other.id).await.unwrap());
    assert_eq!(store.remove_model(model.id).await.unwrap(), Vec::<String>::new());
}

async fn a_model_with_votes_or_descendants_is_not_removed(mut fixture: Fixture) {
    let [judged, base] = [fixture.model("judged").await, fixture.model("base").await];
    let opponent = fixture.model("opponent").await;
    let matchup = matchup(&mut fixture, &judged, &opponent, "p").await;
    let rater = fixture.rater().await;
    fixture.vote(&matchup, rater, Choice::Tie).await;
    let mut tuned = fixture.new_model("tuned");
    tuned.base_id = Some(base.id);
    fixture.store.insert_model(&tuned, None).await.unwrap();
    for model in [&judged, &opponent, &base] {
        let refused = fixture.store.remove_model(model.id).await;
        assert!(matches!(refused, Err(StoreError::Conflict(Conflict::ModelInUse))), "{refused:?}");
    }
    assert_eq!(fixture.store.count_votes(rater).await.unwrap(), 1);
    fixture.store.remove_model(tuned.id).await.unwrap();
    fixture.store.remove_model(base.id).await.unwrap();
    assert_eq!(fixture.store.get_model(base.id).await.unwrap(), None);
}

async fn models_of_a_base_are_listed_oldest_first(mut fixture: Fixture) {
    let base = fixture.model("base").await;
    let mut derived = Vec::new();
    for name in ["first", "second"] {
        let mut model = fixture.new_model(name);
        model.base_id = Some(base.id);
        fixture.store.insert_model(&model, None).await.unwrap();
        derived.push(model);
    }
    assert_eq!(fixture.store.list_derived(base.id).await.unwrap(), derived);
    assert_eq!(fixture.store.list_derived(derived[0].id).await.unwrap(), []);
}

async fn activity_counts_jobs_by_state(mut fixture: Fixture) {
    assert_eq!(fixture.store.activity().await.unwrap(), Activity::default());
    fixture.run().await;
    for _ in 0..2 {
        fixture.train_job().await;
    }
    fixture.model("a").await;
    let expected = Activity { running: 1, queued: 2, models: 1 };
    assert_eq!(fixture.store.activity().await.unwrap(), expected);
}

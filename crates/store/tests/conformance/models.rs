//! Models: unique names, lookups, lists, deletion.

use crate::fixture::{Fixture, on_both_databases};
use domain::id::ModelId;
use domain::model::Model;
use store::{Conflict, StoreError};

on_both_databases!(
    a_model_is_found_by_id_and_by_name,
    a_name_is_unique,
    a_model_is_moved,
    a_model_is_found_by_its_weights,
    ancestors_are_listed_nearest_first,
    models_are_listed_newest_first_and_by_run,
    a_model_in_use_is_not_deleted,
    the_first_fingerprint_of_a_model_stays,
    models_that_other_runs_made_from_a_run_are_listed,
);

async fn a_model_is_found_by_id_and_by_name(mut fixture: Fixture) {
    let base = fixture.model("base").await;
    let (claim, run) = fixture.run().await;
    let mut model = fixture.new_model("tuned");
    (model.base_id, model.run_id, model.step) = (Some(base.id), Some(run.id), Some(100));
    model.objective = Some("diff_contrast".to_owned());
    fixture.store.insert_model(&model, Some(&claim)).await.unwrap();

    let store = &fixture.store;
    assert_eq!(store.get_model(model.id).await.unwrap().as_ref(), Some(&model));
    assert_eq!(store.get_model_by_name("tuned").await.unwrap().as_ref(), Some(&model));
    assert_eq!(store.find_model("tuned").await.unwrap().as_ref(), Some(&model));
    assert_eq!(store.find_model(&model.id.to_string()).await.unwrap().as_ref(), Some(&model));
    assert_eq!(store.find_model("TUNED").await.unwrap(), None);
    assert_eq!(store.find_model(&run.id.to_string()).await.unwrap(), None);
}

async fn a_model_is_moved(mut fixture: Fixture) {
    let [moved, other] = [fixture.model("moved").await, fixture.model("other").await];
    fixture.store.move_model(moved.id, "models:moved").await.unwrap();
    let found = fixture.store.get_model(moved.id).await.unwrap().expect("a row");
    assert_eq!(found, Model { folder: "models:moved".to_owned(), ..moved });
    assert_eq!(fixture.store.get_model(other.id).await.unwrap(), Some(other));
}

async fn a_name_is_unique(mut fixture: Fixture) {
    let first = fixture.model("same").await;
    let second = fixture.new_model("same");
    let refused = fixture.store.insert_model(&second, None).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::ModelName))), "{refused:?}");
    assert_eq!(fixture.store.get_model_by_name("same").await.unwrap(), Some(first));
    assert_eq!(fixture.store.get_model(second.id).await.unwrap(), None);
}

async fn a_model_is_found_by_its_weights(mut fixture: Fixture) {
    let [first, twin] = [fixture.model("first").await, fixture.model("twin").await];
    let mut other = fixture.new_model("other");
    other.sha256 = "cd".repeat(32);
    fixture.store.insert_model(&other, None).await.unwrap();
    assert_eq!(first.sha256, twin.sha256);
    let found = async |sha256: &str| fixture.store.get_model_by_sha256(sha256).await.unwrap();
    assert_eq!(found(&first.sha256).await, Some(first));
    assert_eq!(found(&other.sha256).await, Some(other));
    assert_eq!(found("ef").await, None);
}

async fn ancestors_are_listed_nearest_first(mut fixture: Fixture) {
    let first = fixture.model("first").await;
    let _apart = fixture.model("apart").await;
    let mut line = vec![first];
    for name in ["second", "third"] {
        let mut model = fixture.new_model(name);
        model.base_id = Some(line[0].id);
        fixture.store.insert_model(&model, None).await.unwrap();
        line.insert(0, model);
    }
    let store = &fixture.store;
    assert_eq!(store.list_ancestors(&line[0]).await.unwrap(), line[1..]);
    assert_eq!(store.list_ancestors(&line[2]).await.unwrap(), []);
    let mut orphan = line[0].clone();
    orphan.base_id = Some(ModelId(uuid::Uuid::nil()));
    assert!(matches!(store.list_ancestors(&orphan).await, Err(StoreError::Missing(_))));
    // A cycle, which only manual edits can create, ends the list.
    let mut cyclic = line[2].clone();
    cyclic.base_id = Some(line[0].id);
    assert_eq!(store.list_ancestors(&cyclic).await.unwrap(), line[..2]);
}

async fn a_model_in_use_is_not_deleted(mut fixture: Fixture) {
    let (claim, _) = fixture.run().await;
    let [unused, imaged, base] =
        [fixture.model("unused").await, fixture.model("imaged").await, fixture.model("base").await];
    fixture.evaluation_image(&imaged, "p").await;
    let mut tuned = fixture.new_model("tuned");
    tuned.base_id = Some(base.id);
    fixture.store.insert_model(&tuned, None).await.unwrap();
    let store = &fixture.store;
    store.delete_model(unused.id, &claim).await.unwrap();
    assert_eq!(store.get_model(unused.id).await.unwrap(), None);
    for model in [imaged, base] {
        let refused = store.delete_model(model.id, &claim).await;
        assert!(matches!(refused, Err(StoreError::Conflict(Conflict::ModelInUse))), "{refused:?}");
        assert_eq!(store.get_model(model.id).await.unwrap(), Some(model));
    }
    // Deleting it again has no effect.
    store.delete_model(unused.id, &claim).await.unwrap();
}

async fn models_are_listed_newest_first_and_by_run(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    let base = fixture.model("base").await;
    let mut made = Vec::new();
    for name in ["step-50", "step-100"] {
        let mut model = fixture.new_model(name);
        model.run_id = Some(run.id);
        fixture.store.insert_model(&model, Some(&claim)).await.unwrap();
        made.push(model);
    }
    assert_eq!(fixture.store.list_models_of_run(run.id).await.unwrap(), made);
    let newest_first = [made[1].clone(), made[0].clone(), base];
    assert_eq!(fixture.store.list_models(10).await.unwrap(), newest_first);
    assert_eq!(fixture.store.list_models(2).await.unwrap(), newest_first[..2]);
}

async fn the_first_fingerprint_of_a_model_stays(mut fixture: Fixture) {
    let (claim, _) = fixture.run().await;
    let [model, other] = [fixture.model("model").await, fixture.model("other").await];
    let store = &fixture.store;
    assert_eq!(store.record_fingerprint(model.id, "{\"a\":1}").await.unwrap(), "{\"a\":1}");
    assert_eq!(store.record_fingerprint(model.id, "{\"a\":2}").await.unwrap(), "{\"a\":1}");
    assert_eq!(store.record_fingerprint(other.id, "{}").await.unwrap(), "{}");
    // It does not keep its model from being deleted, and goes with it.
    store.delete_model(model.id, &claim).await.unwrap();
    let missing = store.record_fingerprint(model.id, "{}").await;
    assert!(matches!(missing, Err(StoreError::Missing(_))), "{missing:?}");
}

async fn models_that_other_runs_made_from_a_run_are_listed(mut fixture: Fixture) {
    let base = fixture.model("base").await;
    let (first, second) = (fixture.run().await.1, fixture.run().await.1);
    let mut made = Vec::new();
    for (name, run, base) in [("a-50", &first, base.id), ("a-100", &first, base.id)] {
        let model = Model { run_id: Some(run.id), base_id: Some(base), ..fixture.new_model(name) };
        fixture.store.insert_model(&model, None).await.unwrap();
        made.push(model);
    }
    let child = Model { run_id: Some(second.id), base_id: Some(made[1].id), ..fixture.new_model("b") };
    fixture.store.insert_model(&child, None).await.unwrap();
    assert_eq!(fixture.store.list_models_from_run(first.id).await.unwrap(), [child]);
    assert_eq!(fixture.store.list_models_from_run(second.id).await.unwrap(), []);
}

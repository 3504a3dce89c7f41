//! Images: round trips, filters, pagination.

use crate::fixture::{Fixture, on_both_databases, params};
use domain::id::{ImageId, ModelId};
use domain::image::{Image, Purpose, Sampler};
use domain::lora::LoraUse;
use domain::preference::{Choice, Matchup, Question};
use store::{Conflict, ImageFilter, StoreError};

on_both_databases!(
    an_inserted_image_can_be_read,
    a_batch_is_inserted_completely_or_not_at_all,
    images_are_filtered,
    special_characters_in_a_prompt_search_are_literal,
    pages_continue_after_the_last_image,
    samples_are_listed_in_order_of_step,
    an_evaluation_image_is_found_by_its_parameters,
    only_requested_images_that_nobody_judged_are_deleted,
);

async fn an_inserted_image_can_be_read(mut fixture: Fixture) {
    let model = fixture.model("m").await;
    let mut image =
        fixture.new_image(Purpose::Generation, Some(model.id), "a ‘red’ circle; DROP TABLE images --");
    image.params.negative_prompt = "blue".to_owned();
    image.params.guidance_scale = 0.1 + 0.2;
    image.params.sampler = Sampler::Ddim;
    image.params.lora = vec![
        LoraUse { model: "snow".to_owned(), scale: 0.1 + 0.2, sha256: Some("ab".to_owned()) },
        LoraUse { model: "star".to_owned(), scale: -1.0, sha256: None },
    ];
    fixture.store.insert_images(std::slice::from_ref(&image), None).await.unwrap();
    assert_eq!(fixture.store.get_image(image.id).await.unwrap(), Some(image));
    let unknown = ImageId::new(fixture.now, [0; 10]);
    assert_eq!(fixture.store.get_image(unknown).await.unwrap(), None);
}

async fn a_batch_is_inserted_completely_or_not_at_all(mut fixture: Fixture) {
    let model = fixture.model("m").await;
    let good = fixture.new_image(Purpose::Generation, Some(model.id), "p");
    let unknown = ModelId::new(fixture.now, [0; 10]);
    let orphan = fixture.new_image(Purpose::Generation, Some(unknown), "p");
    let refused = fixture.store.insert_images(&[good.clone(), orphan], None).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
    assert_eq!(fixture.store.get_image(good.id).await.unwrap(), None);
    let mut too_large = good.clone();
    too_large.params.seed = u64::MAX;
    let refused = fixture.store.insert_images(&[good.clone(), too_large], None).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    assert_eq!(fixture.store.get_image(good.id).await.unwrap(), None);
}

async fn images_are_filtered(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    let (claim, run) = fixture.run().await;
    let evaluated = fixture.evaluation_image(&a, "a Red circle").await;
    let other = fixture.evaluation_image(&b, "a red square").await;
    let generated = fixture.new_image(Purpose::Generation, Some(a.id), "a blue ring");
    let mut sample = fixture.new_image(Purpose::Sample, None, "a red ring");
    (sample.run_id, sample.step) = (Some(run.id), Some(1));
    fixture.store.insert_images(&[generated.clone(), sample.clone()], Some(&claim)).await.unwrap();

    let all = ImageFilter::default();
    let cases: [(ImageFilter, Vec<&Image>); 6] = [
        (all.clone(), vec![&sample, &generated, &other, &evaluated]),
        (ImageFilter { model_id: Some(a.id), ..all.clone() }, vec![&generated, &evaluated]),
        (ImageFilter { run_id: Some(run.id), ..all.clone() }, vec![&sample]),
        (ImageFilter { purpose: Some(Purpose::Evaluation), ..all.clone() }, vec![&other, &evaluated]),
        (
            ImageFilter { prompt_contains: Some("RED ".to_owned()), ..all.clone() },
            vec![&sample, &other, &evaluated],
        ),
        (
            ImageFilter {
                model_id: Some(a.id),
                purpose: Some(Purpose::Evaluation),
                prompt_contains: Some("blue".to_owned()),
                ..all
            },
            vec![],
        ),
    ];
    for (filter, expected) in cases {
        let found = fixture.store.list_images(&filter, 10).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    assert_eq!(fixture.store.list_evaluation_images(a.id, 8).await.unwrap(), [evaluated]);
}

async fn special_characters_in_a_prompt_search_are_literal(mut fixture: Fixture) {
    let model = fixture.model("m").await;
    for prompt in ["100% red", "under_score", "back\\slash", "plain"] {
        fixture.evaluation_image(&model, prompt).await;
    }
    for (text, count) in [("%", 1), ("_", 1), ("\\", 1), ("", 4), ("0% R", 1)] {
        let filter = ImageFilter { prompt_contains: Some(text.to_owned()), ..ImageFilter::default() };
        assert_eq!(fixture.store.list_images(&filter, 10).await.unwrap().len(), count, "{text:?}");
    }
}

async fn pages_continue_after_the_last_image(mut fixture: Fixture) {
    let model = fixture.model("m").await;
    let mut newest_first = Vec::new();
    for n in 0..7 {
        newest_first.insert(0, fixture.evaluation_image(&model, &format!("prompt {n}")).await.id);
    }
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page =
            fixture.store.list_images(&ImageFilter { before, ..ImageFilter::default() }, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        paged.extend(page.iter().map(|image| image.id));
    }
    assert_eq!(paged, newest_first);
}

async fn samples_are_listed_in_order_of_step(mut fixture: Fixture) {
    let (claim, run) = fixture.run().await;
    for (step, prompt) in [(10, "b"), (5, "a"), (10, "c")] {
        let mut sample = fixture.new_image(Purpose::Sample, None, prompt);
        (sample.run_id, sample.step) = (Some(run.id), Some(step));
        fixture.store.insert_images(&[sample], Some(&claim)).await.unwrap();
    }
    let samples = fixture.store.list_samples(run.id).await.unwrap();
    let order: Vec<_> = samples.iter().map(|i| (i.step.unwrap(), i.params.prompt.as_str())).collect();
    assert_eq!(order, [(5, "a"), (10, "b"), (10, "c")]);
}

async fn an_evaluation_image_is_found_by_its_parameters(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    let image = fixture.evaluation_image(&a, "p").await;
    let found = |model: ModelId, params| {
        let store = fixture.store.clone();
        async move {
            let found = store.find_evaluation_images(model, &[params]).await.unwrap();
            found.into_iter().map(|image| Some(image?.id)).collect::<Vec<_>>()
        }
    };
    assert_eq!(found(a.id, params("p")).await, [Some(image.id)]);
    assert_eq!(found(b.id, params("p")).await, [None]);
    let mut others = vec![params("q"); 9];
    for other in &mut others[1..] {
        other.prompt = "p".to_owned();
    }
    others[1].negative_prompt = "n".to_owned();
    others[2].seed = 1;
    others[3].steps = 21;
    others[4].guidance_scale = 7.500_000_1;
    others[5].width = 128;
    others[6].height = 128;
    others[7].sampler = Sampler::Ddim;
    others[8].lora = vec![LoraUse { model: "snow".to_owned(), scale: 1.0, sha256: None }];
    // More than one query's worth, in the order of the params.
    let asked: Vec<_> = std::iter::once(params("p")).chain(others).cycle().take(700).collect();
    let found = fixture.store.find_evaluation_images(a.id, &asked).await.unwrap();
    for (params, found) in asked.iter().zip(found) {
        let expected = (*params == image.params).then_some(image.id);
        assert_eq!(found.map(|image| image.id), expected, "{params:?}");
    }
}

async fn requested_matchup(fixture: &mut Fixture, a: &Image, b: &Image) -> Matchup {
    let now = fixture.tick();
    let made = fixture.store.create_matchup(a.id, b.id, Question::Overall, now, &mut fixture.rng).await;
    made.unwrap()
}

async fn only_requested_images_that_nobody_judged_are_deleted(mut fixture: Fixture) {
    let model = fixture.model("m").await;
    let requested: Vec<Image> =
        (0..3).map(|_| fixture.new_image(Purpose::Generation, Some(model.id), "a ring")).collect();
    fixture.store.insert_images(&requested, None).await.unwrap();
    let evaluated = fixture.evaluation_image(&model, "a ring").await;
    let refused = fixture.store.remove_requested_image(evaluated.id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::ImageNotRequested))), "{refused:?}");

    // A matchup that nobody has judged goes with its image.
    let matchup = requested_matchup(&mut fixture, &requested[0], &requested[1]).await;
    let deleted = fixture.store.remove_requested_image(requested[0].id).await.unwrap();
    assert_eq!(deleted.as_deref(), Some(requested[0].artifact.as_str()));
    assert_eq!(fixture.store.get_image(requested[0].id).await.unwrap(), None);
    assert_eq!(fixture.store.get_matchup(matchup.id).await.unwrap(), None);
    assert_eq!(fixture.store.remove_requested_image(requested[0].id).await.unwrap(), None);

    // A judged one keeps it.
    let matchup = requested_matchup(&mut fixture, &requested[1], &requested[2]).await;
    let rater = fixture.rater().await;
    fixture.vote(&matchup, rater, Choice::Tie).await;
    let refused = fixture.store.remove_requested_image(requested[1].id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::ImageInUse))), "{refused:?}");
    assert_eq!(fixture.store.get_image(requested[1].id).await.unwrap().as_ref(), Some(&requested[1]));
}

//! Models with adapters are contestants of their own.

use crate::fixture::{Fixture, on_both_databases};
use domain::id::ContestantId;
use domain::image::Image;
use domain::lora::LoraUse;
use domain::preference::{Choice, Matchup, Question};
use store::PairVotes;

on_both_databases!(
    a_model_with_adapters_is_another_contestant_than_the_model,
    votes_on_adapters_count_for_them_and_not_for_the_model,
    a_matchup_of_a_model_and_the_same_with_adapters_is_not_one_of_the_models_images,
    samples_of_models_are_their_own_images,
);

pub(crate) fn used(model: &str, scale: f64, digit: &str) -> LoraUse {
    LoraUse { model: model.to_owned(), scale, sha256: Some(digit.repeat(64)) }
}

async fn matchup(fixture: &mut Fixture, a: &Image, b: &Image) -> Matchup {
    let now = fixture.tick();
    let made = fixture.store.create_matchup(a.id, b.id, Question::Overall, now, &mut fixture.rng).await;
    made.expect("two images of one prompt")
}

/// A vote of a new rater for the image.
async fn prefer(fixture: &mut Fixture, image: &Image, other: &Image) -> Matchup {
    let matchup = matchup(fixture, image, other).await;
    let rater = fixture.rater().await;
    let choice = if matchup.left == image.id { Choice::Left } else { Choice::Right };
    fixture.vote(&matchup, rater, choice).await;
    matchup
}

async fn a_model_with_adapters_is_another_contestant_than_the_model(mut fixture: Fixture) {
    let (shapes, second) = (fixture.model("shapes").await, fixture.model("second").await);
    let snow = used("snow", 1.0, "a");
    fixture.adapted_image(&shapes, "p", &[]).await;
    let first = fixture.adapted_image(&shapes, "p", std::slice::from_ref(&snow)).await;
    // The same adapters again, and with one that changes nothing.
    fixture.adapted_image(&shapes, "q", &[snow.clone(), used("star", 0.0, "b")]).await;
    fixture.adapted_image(&shapes, "p", &[used("star", 0.0, "b")]).await;
    let half = fixture.adapted_image(&shapes, "p", &[used("snow", 0.5, "a")]).await;
    // The same name with other weights or settings.
    let changed = fixture.adapted_image(&shapes, "p", &[used("snow", 1.0, "c")]).await;
    let other = fixture.adapted_image(&second, "p", &[snow]).await;
    let contestants = fixture.store.list_contestants().await.unwrap();
    let listed: Vec<_> = contestants.iter().map(|known| (known.id, known.name.as_str())).collect();
    let of = |image: &Image| ContestantId(image.id.0);
    assert_eq!(
        listed,
        [
            (second.id.into(), "second"),
            (shapes.id.into(), "shapes"),
            (of(&first), "shapes + snow"),
            (of(&half), "shapes + snow:0.5"),
            (of(&changed), "shapes + snow@cccccccc"),
            (of(&other), "second + snow"),
        ]
    );
    assert_eq!(contestants[2].model_id, shapes.id);
    assert_eq!(contestants[3].lora, [used("snow", 0.5, "a")]);
    let stored = fixture.store.get_image(half.id).await.unwrap().unwrap();
    assert_eq!(stored, half);
}

async fn votes_on_adapters_count_for_them_and_not_for_the_model(mut fixture: Fixture) {
    let (shapes, second) = (fixture.model("shapes").await, fixture.model("second").await);
    let plain = fixture.adapted_image(&shapes, "p", &[]).await;
    let other = fixture.adapted_image(&second, "p", &[]).await;
    let snow = fixture.adapted_image(&shapes, "p", &[used("snow", 0.8, "a")]).await;
    let name = "shapes + snow:0.8";
    let against_other = prefer(&mut fixture, &snow, &other).await;
    let against_base = prefer(&mut fixture, &snow, &plain).await;
    let names = fixture.store.matchup_model_names(against_base.id).await.unwrap().unwrap();
    let expected = if against_base.left == snow.id { (name, "shapes") } else { ("shapes", name) };
    assert_eq!((names.0.as_str(), names.1.as_str()), expected);

    let contestant = ContestantId(snow.id.0);
    let tallies = fixture.store.tallies(Question::Overall).await.unwrap();
    for (model, matchup) in [(second.id, &against_other), (shapes.id, &against_base)] {
        let model = ContestantId::from(model);
        let (a, b) = (model.min(contestant), model.max(contestant));
        let [wins_a, wins_b] = if a == contestant { [1, 0] } else { [0, 1] };
        let expected = PairVotes { a, b, wins_a, wins_b, ties: 0, both_bad: 0 };
        assert!(tallies.contains(&expected), "{tallies:?}");
        assert_eq!(matchup.rater_id, None);
    }
    assert_eq!(tallies.len(), 2);
    assert_eq!(fixture.store.count_raters(Question::Overall).await.unwrap(), 2);

    for vote in fixture.store.judged_votes(Question::Overall).await.unwrap() {
        for image in &vote.images {
            let expected = match image.id {
                id if id == snow.id => name,
                id if id == plain.id => "shapes",
                _ => "second",
            };
            assert_eq!(image.model, expected);
        }
    }
    for vote in fixture.store.list_votes(10).await.unwrap() {
        assert_eq!(
            [&vote.left_model, &vote.right_model].into_iter().filter(|model| *model == name).count(),
            1
        );
    }
}

async fn a_matchup_of_a_model_and_the_same_with_adapters_is_not_one_of_the_models_images(
    mut fixture: Fixture,
) {
    let (shapes, second) = (fixture.model("shapes").await, fixture.model("second").await);
    let plain = fixture.adapted_image(&shapes, "p", &[]).await;
    let snow = fixture.adapted_image(&shapes, "p", &[used("snow", 1.0, "a")]).await;
    let other = fixture.adapted_image(&second, "p", &[]).await;
    let against_base = matchup(&mut fixture, &snow, &plain).await;
    matchup(&mut fixture, &snow, &other).await;
    let rater = fixture.rater().await;
    // A rater who is promised images of these models sees no others.
    assert_eq!(fixture.next_matchup(rater, &[shapes.id]).await, None);
    assert_eq!(fixture.next_matchup(rater, &[shapes.id, second.id]).await, None);
    assert_eq!(fixture.next_matchup(rater, &[]).await.unwrap().id, against_base.id);
}

async fn samples_of_models_are_their_own_images(mut fixture: Fixture) {
    let (a, b, c) = (fixture.model("a").await, fixture.model("b").await, fixture.model("c").await);
    let mut evaluated = Vec::new();
    for prompt in ["p", "q", "r"] {
        evaluated.push(fixture.evaluation_image(&a, prompt).await);
    }
    fixture.adapted_image(&a, "generated", &[]).await;
    let older = fixture.adapted_image(&b, "older", &[]).await;
    let newer = fixture.adapted_image(&b, "newer", &[]).await;
    fixture.adapted_image(&b, "with an adapter", &[used("snow", 1.0, "a")]).await;
    fixture.adapted_image(&c, "with an adapter", &[used("snow", 1.0, "a")]).await;
    let all = fixture.store.model_samples(a.id, c.id, 2).await.unwrap();
    let of = |image: &Image| (image.id, image.params.prompt.clone());
    assert_eq!(all[&a.id], [of(&evaluated[0]), of(&evaluated[1])]);
    assert_eq!(all[&b.id], [of(&newer), of(&older)]);
    assert_eq!(all.len(), 2);
    let one = fixture.store.model_samples(b.id, b.id, 1).await.unwrap();
    assert_eq!((one.len(), &one[&b.id]), (1, &vec![of(&newer)]));
}

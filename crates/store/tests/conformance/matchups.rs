//! Matchups: requested and drawn ones, and that no rater judges the same images twice.

use crate::fixture::{Fixture, on_both_databases};
use domain::id::{ImageId, MatchupId, RaterId};
use domain::image::Purpose;
use domain::matchmaking::{Draw, DrawOrder};
use domain::model::Model;
use domain::preference::{Choice, Matchup, Question};
use std::collections::{BTreeSet, HashMap};
use store::StoreError;

on_both_databases!(
    a_requested_matchup_can_be_read,
    images_that_cannot_be_compared_are_refused_with_the_field,
    each_model_is_on_the_left_about_half_the_time,
    an_open_matchup_is_returned_until_it_is_judged,
    a_requested_matchup_comes_before_a_drawn_one_for_every_rater,
    every_comparable_pair_of_images_is_judged_once,
    votes_on_one_question_do_not_affect_another,
    models_with_the_fewest_votes_come_first,
    only_images_of_equal_parameters_are_drawn,
    a_draw_can_be_restricted_to_models,
    images_of_one_model_are_drawn_only_for_that_model,
    votes_on_one_models_images_rank_nothing_and_are_training_data,
    a_requested_matchup_of_one_model_is_shown_to_everyone,
    comparable_pairs_are_counted,
    a_repeated_evaluation_gives_further_matchups,
    a_seeded_generator_draws_these_matchups,
    an_informative_draw_is_recorded_with_its_propensity,
);

/// The two images, regardless of side.
fn images(matchup: &Matchup) -> BTreeSet<ImageId> {
    [matchup.left, matchup.right].into()
}

async fn evaluate(fixture: &mut Fixture, models: &[&Model], prompts: &[&str]) {
    for model in models {
        for prompt in prompts {
            fixture.evaluation_image(model, prompt).await;
        }
    }
}

async fn request(fixture: &mut Fixture, a: ImageId, b: ImageId) -> Result<Matchup, StoreError> {
    let now = fixture.tick();
    fixture.store.create_matchup(a, b, Question::Overall, now, &mut fixture.rng).await
}

async fn models_of(fixture: &Fixture, matchup: &Matchup) -> BTreeSet<String> {
    let names = fixture.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
    [names.0, names.1].into()
}

async fn a_requested_matchup_can_be_read(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    let (x, y) = (fixture.evaluation_image(&a, "p").await, fixture.evaluation_image(&b, "p").await);
    let matchup = request(&mut fixture, x.id, y.id).await.unwrap();
    assert_eq!((matchup.prompt.as_str(), matchup.rater_id), ("p", None));
    assert_eq!(images(&matchup), [x.id, y.id].into());
    assert_eq!(fixture.store.get_matchup(matchup.id).await.unwrap().as_ref(), Some(&matchup));
    let expected = if matchup.left == x.id { ("a", "b") } else { ("b", "a") };
    let names = fixture.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
    assert_eq!((names.0.as_str(), names.1.as_str()), expected);
    let unknown = MatchupId::new(fixture.now, [0; 10]);
    assert_eq!(fixture.store.get_matchup(unknown).await.unwrap(), None);
    assert_eq!(fixture.store.matchup_model_names(unknown).await.unwrap(), None);
}

async fn images_that_cannot_be_compared_are_refused_with_the_field(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    let x = fixture.evaluation_image(&a, "p").await;
    let other_prompt = fixture.evaluation_image(&b, "q").await;
    let (claim, run) = fixture.run().await;
    let mut sample = fixture.new_image(Purpose::Sample, None, "p");
    (sample.run_id, sample.step) = (Some(run.id), Some(1));
    fixture.store.insert_images(std::slice::from_ref(&sample), Some(&claim)).await.unwrap();
    let unknown = ImageId::new(fixture.now, [0; 10]);
    for image in [x.id, other_prompt.id, sample.id, unknown] {
        match request(&mut fixture, x.id, image).await {
            Err(StoreError::Invalid(problems)) => {
                let fields: Vec<_> = problems.0.iter().map(|problem| problem.field.as_str()).collect();
                assert_eq!(fields, ["image_b"], "{problems}");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn each_model_is_on_the_left_about_half_the_time(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    let prompts: Vec<_> = (0..40).map(|n| format!("prompt {n}")).collect();
    evaluate(&mut fixture, &[&a, &b], &prompts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let rater = fixture.rater().await;
    let mut lefts: HashMap<String, usize> = HashMap::new();
    for _ in 0..40 {
        let matchup = fixture.next_matchup(rater, &[]).await.unwrap();
        let (left, _) = fixture.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
        *lefts.entry(left).or_default() += 1;
        fixture.vote(&matchup, rater, Choice::Left).await;
    }
    // Fewer than 10 of 40 has a probability of 1 in 1000. The generator is seeded, so the test is deterministic.
    assert!(lefts["a"] >= 10 && lefts["b"] >= 10, "{lefts:?}");
}

async fn an_open_matchup_is_returned_until_it_is_judged(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    evaluate(&mut fixture, &[&a, &b], &["p", "q"]).await;
    let (rater, other) = (fixture.rater().await, fixture.rater().await);
    let first = fixture.next_matchup(rater, &[]).await.unwrap();
    assert_eq!(first.rater_id, Some(rater));
    assert_eq!(fixture.next_matchup(rater, &[]).await.as_ref(), Some(&first));
    assert_ne!(fixture.next_matchup(other, &[]).await.unwrap().id, first.id);
    fixture.vote(&first, rater, Choice::Tie).await;
    assert_ne!(fixture.next_matchup(rater, &[]).await.unwrap().id, first.id);
}

async fn a_requested_matchup_comes_before_a_drawn_one_for_every_rater(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    evaluate(&mut fixture, &[&a, &b], &["p", "q"]).await;
    let images = fixture.store.list_evaluation_images(a.id, 1).await.unwrap();
    let others = fixture.store.list_evaluation_images(b.id, 1).await.unwrap();
    let requested = request(&mut fixture, images[0].id, others[0].id).await.unwrap();
    for _ in 0..2 {
        let rater = fixture.rater().await;
        assert_eq!(fixture.next_matchup(rater, &[]).await.as_ref(), Some(&requested));
        fixture.vote(&requested, rater, Choice::BothBad).await;
        // The same images are not drawn again; only the other prompt is left.
        let drawn = fixture.next_matchup(rater, &[]).await.unwrap();
        assert_eq!(drawn.prompt, "q");
        fixture.vote(&drawn, rater, Choice::Left).await;
        assert_eq!(fixture.next_matchup(rater, &[]).await, None);
    }
}

async fn every_comparable_pair_of_images_is_judged_once(mut fixture: Fixture) {
    assert_eq!(draw_all(&mut fixture).await, []);
    let (a, b, c) = (fixture.model("a").await, fixture.model("b").await, fixture.model("c").await);
    evaluate(&mut fixture, &[&a, &b, &c], &["p", "q"]).await;
    evaluate(&mut fixture, &[&a], &["only a"]).await;
    for _ in 0..2 {
        let judged = draw_all(&mut fixture).await;
        // Three pairs of models, two prompts each.
        assert_eq!(judged.len(), 6);
        assert_eq!(judged.iter().map(images).collect::<BTreeSet<_>>().len(), 6);
    }
}

/// Lets a new rater judge until nothing is left, and returns the matchups.
async fn draw_all(fixture: &mut Fixture) -> Vec<Matchup> {
    let rater: RaterId = fixture.rater().await;
    let mut judged = Vec::new();
    while let Some(matchup) = fixture.next_matchup(rater, &[]).await {
        fixture.vote(&matchup, rater, Choice::Right).await;
        judged.push(matchup);
    }
    judged
}

async fn models_with_the_fewest_votes_come_first(mut fixture: Fixture) {
    let (a, b, c) = (fixture.model("a").await, fixture.model("b").await, fixture.model("c").await);
    evaluate(&mut fixture, &[&a, &b, &c], &["p", "q", "r", "s"]).await;
    let mut votes: HashMap<BTreeSet<String>, usize> = HashMap::new();
    for round in 1..=4 {
        for _ in 0..3 {
            let rater = fixture.rater().await;
            let matchup = fixture.next_matchup(rater, &[]).await.unwrap();
            *votes.entry(models_of(&fixture, &matchup).await).or_default() += 1;
            fixture.vote(&matchup, rater, Choice::Tie).await;
        }
        assert!(votes.len() == 3 && votes.values().all(|&n| n == round), "{votes:?}");
    }
}

async fn only_images_of_equal_parameters_are_drawn(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    fixture.evaluation_image(&a, "p").await;
    let mut other_seed = fixture.new_image(Purpose::Evaluation, Some(b.id), "p");
    other_seed.params.seed = 5;
    let generated = fixture.new_image(Purpose::Generation, Some(b.id), "p");
    fixture.store.insert_images(&[other_seed, generated], None).await.unwrap();
    let rater = fixture.rater().await;
    assert_eq!(fixture.next_matchup(rater, &[]).await, None);
    let comparable = fixture.evaluation_image(&b, "p").await;
    let matchup = fixture.next_matchup(rater, &[]).await.unwrap();
    assert!(images(&matchup).contains(&comparable.id));
}

async fn a_draw_can_be_restricted_to_models(mut fixture: Fixture) {
    let (a, b, c) = (fixture.model("a").await, fixture.model("b").await, fixture.model("c").await);
    evaluate(&mut fixture, &[&a, &b, &c], &["p", "q"]).await;
    let rater = fixture.rater().await;
    let open = fixture.next_matchup(rater, &[a.id, b.id]).await.unwrap();
    assert_eq!(models_of(&fixture, &open).await, ["a".to_owned(), "b".to_owned()].into());
    // The open matchup is of other models, so it stays open.
    let other = fixture.next_matchup(rater, &[c.id, b.id]).await.unwrap();
    assert_eq!(models_of(&fixture, &other).await, ["b".to_owned(), "c".to_owned()].into());
    assert_eq!(fixture.next_matchup(rater, &[a.id, b.id]).await.as_ref(), Some(&open));
    assert_eq!(fixture.next_matchup(rater, &[a.id]).await, None);
}

/// Evaluation images of a model and prompt, with these seeds.
async fn seeds(fixture: &mut Fixture, model: &Model, prompt: &str, seeds: &[u64]) -> Vec<ImageId> {
    let mut images = Vec::new();
    for &seed in seeds {
        let mut image = fixture.new_image(Purpose::Evaluation, Some(model.id), prompt);
        image.params.seed = seed;
        images.push(image);
    }
    fixture.store.insert_images(&images, None).await.unwrap();
    images.into_iter().map(|image| image.id).collect()
}

async fn images_of_one_model_are_drawn_only_for_that_model(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    // Three images of p, one of q, and an image of p that differs in the steps too.
    let of_p = seeds(&mut fixture, &a, "p", &[1, 2, 3]).await;
    seeds(&mut fixture, &a, "q", &[1]).await;
    let mut other_steps = fixture.new_image(Purpose::Evaluation, Some(a.id), "p");
    (other_steps.params.seed, other_steps.params.steps) = (4, 7);
    fixture.store.insert_images(&[other_steps], None).await.unwrap();
    seeds(&mut fixture, &b, "p", &[1]).await;
    let rater = fixture.rater().await;
    let open = fixture.next_matchup(rater, &[a.id]).await.unwrap();
    assert_eq!(models_of(&fixture, &open).await, ["a".to_owned()].into());
    // The rater leaves: elsewhere the two models are compared, and the open matchup waits.
    for only in [&[][..], &[a.id, b.id][..]] {
        let elsewhere = fixture.next_matchup(rater, only).await.unwrap();
        assert_eq!(models_of(&fixture, &elsewhere).await.len(), 2);
    }
    assert_eq!(fixture.next_matchup(rater, &[a.id]).await.as_ref(), Some(&open));
    let mut judged = BTreeSet::new();
    while let Some(matchup) = fixture.next_matchup(rater, &[a.id]).await {
        assert!(images(&matchup).iter().all(|image| of_p.contains(image)) && matchup.prompt == "p");
        assert!(judged.insert(images(&matchup)), "the same images twice");
        fixture.vote(&matchup, rater, Choice::Left).await;
    }
    assert_eq!(judged.len(), 3);
    assert_eq!(fixture.next_matchup(rater, &[b.id]).await, None);
}

async fn votes_on_one_models_images_rank_nothing_and_are_training_data(mut fixture: Fixture) {
    let a = fixture.model("a").await;
    seeds(&mut fixture, &a, "p", &[1, 2]).await;
    let rater = fixture.rater().await;
    let matchup = fixture.next_matchup(rater, &[a.id]).await.unwrap();
    fixture.vote(&matchup, rater, Choice::Left).await;
    assert_eq!(fixture.store.tallies(Question::Overall).await.unwrap(), []);
    assert_eq!(fixture.store.count_raters(Question::Overall).await.unwrap(), 0);
    let votes = fixture.store.judged_votes(Question::Overall).await.unwrap();
    assert_eq!(votes.len(), 1);
    assert!(votes[0].images.iter().all(|image| image.model == "a"));
    assert_ne!(votes[0].images[0].id, votes[0].images[1].id);
}

async fn a_requested_matchup_of_one_model_is_shown_to_everyone(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    let of_a = seeds(&mut fixture, &a, "p", &[1, 2]).await;
    assert!(matches!(request(&mut fixture, of_a[0], of_a[0]).await, Err(StoreError::Invalid(_))));
    let requested = request(&mut fixture, of_a[0], of_a[1]).await.unwrap();
    let rater = fixture.rater().await;
    for only in [&[][..], &[a.id][..]] {
        assert_eq!(fixture.next_matchup(rater, only).await.as_ref(), Some(&requested));
    }
    assert_eq!(fixture.next_matchup(rater, &[a.id, b.id]).await, None);
    // Once judged, the same images are not drawn for the model.
    fixture.vote(&requested, rater, Choice::Left).await;
    assert_eq!(fixture.next_matchup(rater, &[a.id]).await, None);
}

async fn comparable_pairs_are_counted(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    seeds(&mut fixture, &a, "p", &[1, 2, 3]).await;
    seeds(&mut fixture, &b, "p", &[2, 3, 4]).await;
    for (models, pairs) in [(&[a.id][..], 3), (&[a.id, b.id][..], 2), (&[][..], 0)] {
        assert_eq!(fixture.store.count_comparable(models).await.unwrap(), pairs);
    }
}

async fn a_repeated_evaluation_gives_further_matchups(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    evaluate(&mut fixture, &[&a, &b, &a], &["p"]).await;
    let rater = fixture.rater().await;
    let mut drawn = BTreeSet::new();
    while let Some(matchup) = fixture.next_matchup(rater, &[]).await {
        assert_eq!(models_of(&fixture, &matchup).await.len(), 2);
        assert!(drawn.insert(images(&matchup)), "the same images twice");
        fixture.vote(&matchup, rater, Choice::Left).await;
    }
    assert_eq!(drawn.len(), 2);
}

/// The same images are judged again for another question, and its votes count for that question only.
async fn votes_on_one_question_do_not_affect_another(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    evaluate(&mut fixture, &[&a, &b], &["p"]).await;
    let rater = fixture.rater().await;
    let overall = fixture.next_matchup(rater, &[]).await.unwrap();
    assert_eq!(overall.question, Question::Overall);
    fixture.vote(&overall, rater, Choice::Left).await;
    assert_eq!(fixture.next_matchup(rater, &[]).await, None);

    let now = fixture.tick();
    let alignment = fixture.next_for(rater, Question::Alignment, &[], now).await.unwrap();
    assert_eq!((alignment.question, images(&alignment)), (Question::Alignment, images(&overall)));
    assert_eq!(fixture.store.get_matchup(alignment.id).await.unwrap().as_ref(), Some(&alignment));
    // The matchup is open, but for another question.
    assert_eq!(fixture.next_matchup(rater, &[]).await, None);
    fixture.vote(&alignment, rater, Choice::BothBad).await;
    assert_eq!(fixture.next_for(rater, Question::Alignment, &[], now).await, None);

    for (question, ties) in [(Question::Overall, 0), (Question::Alignment, 1)] {
        let tallies = fixture.store.tallies(question).await.unwrap();
        assert_eq!((tallies.len(), tallies[0].total(), tallies[0].both_bad), (1, 1, ties), "{question:?}");
    }
    assert_eq!(fixture.store.tallies(Question::Appeal).await.unwrap(), []);
    for question in [Question::Overall, Question::Alignment] {
        let votes = fixture.store.judged_votes(question).await.unwrap();
        assert_eq!(votes.iter().map(|vote| vote.question).collect::<Vec<_>>(), [question]);
    }
    let listed = fixture.store.list_votes(10).await.unwrap();
    assert_eq!(
        listed.iter().map(|vote| vote.question).collect::<Vec<_>>(),
        [Question::Alignment, Question::Overall]
    );
}

/// The matchups that a seeded generator draws must not change: the list was recorded before matchmaking moved to
/// `domain`.
async fn a_seeded_generator_draws_these_matchups(mut fixture: Fixture) {
    let (a, b, c) = (fixture.model("a").await, fixture.model("b").await, fixture.model("c").await);
    evaluate(&mut fixture, &[&a, &b, &c], &["p", "q", "r"]).await;
    evaluate(&mut fixture, &[&b], &["p", "only b"]).await;
    let mut drawn = Vec::new();
    for _ in 0..3 {
        let rater: RaterId = fixture.rater().await;
        for choice in Choice::ALL {
            let matchup = fixture.next_matchup(rater, &[]).await.unwrap();
            let (left, right) = fixture.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
            drawn.push((matchup.prompt.clone(), left + &right, matchup.id.to_string()));
            fixture.vote(&matchup, rater, choice).await;
        }
    }
    let expected = [
        ("q", "ca", "019b76da-e6fb-774b-aacc-fd1996d32f15"),
        ("p", "cb", "019b76da-eecb-774b-a1e2-3ff318426710"),
        ("r", "ba", "019b76da-f69b-774b-b7b7-3c5892296175"),
        ("q", "bc", "019b76da-fe6b-774b-8b93-d94b837e5fc6"),
        ("p", "ac", "019b76db-0a23-774b-941d-a0776d16b0d8"),
        ("r", "ba", "019b76db-11f3-774b-b8df-76e8d7bf80bc"),
        ("p", "cb", "019b76db-19c3-774b-bc57-504b09bc0c3b"),
        ("q", "ab", "019b76db-2193-774b-8dcb-10d98025b6e3"),
        ("r", "ca", "019b76db-2d4b-774b-aa5b-2ab059624ec9"),
        ("p", "ca", "019b76db-351b-774b-a3d7-d025582235f2"),
        ("p", "bc", "019b76db-3ceb-774b-ae9e-2d4b0fc36988"),
        ("p", "ba", "019b76db-44bb-774b-b452-06e42c1c1b05"),
    ];
    let expected = expected.map(|(prompt, sides, id)| (prompt.to_owned(), sides.to_owned(), id.to_owned()));
    assert_eq!(drawn, expected);
}

async fn an_informative_draw_is_recorded_with_its_propensity(mut fixture: Fixture) {
    let (a, b, c) = (fixture.model("a").await, fixture.model("b").await, fixture.model("c").await);
    evaluate(&mut fixture, &[&a, &b, &c], &["p", "q"]).await;
    let order = |is_even| DrawOrder::Informative {
        ranked: vec![(c.id, b.id), (a.id, b.id), (a.id, c.id)],
        even_share: 0.3,
        is_even,
    };
    let rater = fixture.rater().await;
    for models in [["b", "c"], ["b", "c"], ["a", "b"]] {
        let now = fixture.tick();
        let drawn = fixture
            .store
            .upcoming_matchups(&order(false), rater, Question::Overall, &[], 1, now, &mut fixture.rng)
            .await
            .unwrap()
            .remove(0);
        assert_eq!(models_of(&fixture, &drawn).await, models.map(str::to_owned).into());
        let propensity = if models == ["b", "c"] { 0.8 } else { 0.1 };
        let Draw { is_even, propensity: recorded } =
            fixture.store.draw_of_matchup(drawn.id).await.unwrap().expect("a draw");
        assert!(!is_even && (recorded - propensity).abs() < 1e-12, "{recorded}");
        fixture.vote(&drawn, rater, Choice::Tie).await;
    }
    let (now, other) = (fixture.tick(), fixture.rater().await);
    let even = fixture
        .store
        .upcoming_matchups(&order(true), other, Question::Overall, &[], 1, now, &mut fixture.rng)
        .await
        .unwrap()
        .remove(0);
    assert!(fixture.store.draw_of_matchup(even.id).await.unwrap().expect("a draw").is_even);
    let by_votes = fixture.rater().await;
    let drawn = fixture.next_matchup(by_votes, &[]).await.unwrap();
    assert_eq!(fixture.store.draw_of_matchup(drawn.id).await.unwrap(), None);
}

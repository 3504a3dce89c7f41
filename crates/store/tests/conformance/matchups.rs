//! Matchups: those asked for, those drawn, and that nobody judges the same images twice.

use crate::world::{World, on_both_databases};
use domain::id::{ImageId, MatchupId, RaterId};
use domain::image::Purpose;
use domain::model::Model;
use domain::preference::{Choice, Matchup, Question};
use std::collections::{BTreeSet, HashMap};
use store::StoreError;

on_both_databases!(
    a_matchup_asked_for_comes_back,
    images_that_cannot_be_compared_are_refused_with_the_field,
    sides_are_fair,
    an_open_matchup_is_shown_again_until_judged,
    a_matchup_asked_for_comes_before_a_drawn_one_for_every_rater,
    everything_comparable_is_judged_once_and_then_nothing_is_left,
    questions_are_judged_apart,
    the_fewest_votes_come_first,
    only_images_of_equal_params_are_drawn,
    a_draw_can_be_restricted_to_models,
    a_repeated_evaluation_does_not_confuse_the_draw,
);

/// The two images regardless of side.
fn images(matchup: &Matchup) -> BTreeSet<ImageId> {
    [matchup.left, matchup.right].into()
}

async fn evaluate(world: &mut World, models: &[&Model], prompts: &[&str]) {
    for model in models {
        for prompt in prompts {
            world.evaluation_image(model, prompt).await;
        }
    }
}

async fn ask(world: &mut World, a: ImageId, b: ImageId) -> Result<Matchup, StoreError> {
    let now = world.tick();
    world.store.create_matchup(a, b, Question::Overall, now, &mut world.rng).await
}

async fn models_of(world: &World, matchup: &Matchup) -> BTreeSet<String> {
    let names = world.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
    [names.0, names.1].into()
}

async fn a_matchup_asked_for_comes_back(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    let (x, y) = (world.evaluation_image(&a, "p").await, world.evaluation_image(&b, "p").await);
    let matchup = ask(&mut world, x.id, y.id).await.unwrap();
    assert_eq!((matchup.prompt.as_str(), matchup.rater_id), ("p", None));
    assert_eq!(images(&matchup), [x.id, y.id].into());
    assert_eq!(world.store.get_matchup(matchup.id).await.unwrap().as_ref(), Some(&matchup));
    let expected = if matchup.left == x.id { ("a", "b") } else { ("b", "a") };
    let names = world.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
    assert_eq!((names.0.as_str(), names.1.as_str()), expected);
    let unknown = MatchupId::new(world.now, [0; 10]);
    assert_eq!(world.store.get_matchup(unknown).await.unwrap(), None);
    assert_eq!(world.store.matchup_model_names(unknown).await.unwrap(), None);
}

async fn images_that_cannot_be_compared_are_refused_with_the_field(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    let x = world.evaluation_image(&a, "p").await;
    let same_model = world.evaluation_image(&a, "p").await;
    let other_prompt = world.evaluation_image(&b, "q").await;
    let (claim, run) = world.run().await;
    let mut sample = world.new_image(Purpose::Sample, None, "p");
    (sample.run_id, sample.step) = (Some(run.id), Some(1));
    world.store.insert_images(std::slice::from_ref(&sample), Some(&claim)).await.unwrap();
    let unknown = ImageId::new(world.now, [0; 10]);
    for image in [x.id, same_model.id, other_prompt.id, sample.id, unknown] {
        match ask(&mut world, x.id, image).await {
            Err(StoreError::Invalid(problems)) => {
                let fields: Vec<_> = problems.0.iter().map(|problem| problem.field.as_str()).collect();
                assert_eq!(fields, ["image_b"], "{problems}");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn sides_are_fair(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    let prompts: Vec<_> = (0..40).map(|n| format!("prompt {n}")).collect();
    evaluate(&mut world, &[&a, &b], &prompts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let rater = world.rater().await;
    let mut lefts: HashMap<String, usize> = HashMap::new();
    for _ in 0..40 {
        let matchup = world.next_matchup(rater, &[]).await.unwrap();
        let (left, _) = world.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
        *lefts.entry(left).or_default() += 1;
        world.vote(&matchup, rater, Choice::Left).await;
    }
    // Of 40 fair throws fewer than 10 heads come once in 1000; the generator is seeded, so this never flickers.
    assert!(lefts["a"] >= 10 && lefts["b"] >= 10, "{lefts:?}");
}

async fn an_open_matchup_is_shown_again_until_judged(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    evaluate(&mut world, &[&a, &b], &["p", "q"]).await;
    let (rater, other) = (world.rater().await, world.rater().await);
    let first = world.next_matchup(rater, &[]).await.unwrap();
    assert_eq!(first.rater_id, Some(rater));
    assert_eq!(world.next_matchup(rater, &[]).await.as_ref(), Some(&first));
    assert_ne!(world.next_matchup(other, &[]).await.unwrap().id, first.id);
    world.vote(&first, rater, Choice::Tie).await;
    assert_ne!(world.next_matchup(rater, &[]).await.unwrap().id, first.id);
}

async fn a_matchup_asked_for_comes_before_a_drawn_one_for_every_rater(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    evaluate(&mut world, &[&a, &b], &["p", "q"]).await;
    let images = world.store.list_evaluation_images(a.id, 1).await.unwrap();
    let others = world.store.list_evaluation_images(b.id, 1).await.unwrap();
    let asked = ask(&mut world, images[0].id, others[0].id).await.unwrap();
    for _ in 0..2 {
        let rater = world.rater().await;
        assert_eq!(world.next_matchup(rater, &[]).await.as_ref(), Some(&asked));
        world.vote(&asked, rater, Choice::BothBad).await;
        // The same images are not drawn again: the other prompt is left.
        let drawn = world.next_matchup(rater, &[]).await.unwrap();
        assert_eq!(drawn.prompt, "q");
        world.vote(&drawn, rater, Choice::Left).await;
        assert_eq!(world.next_matchup(rater, &[]).await, None);
    }
}

async fn everything_comparable_is_judged_once_and_then_nothing_is_left(mut world: World) {
    assert_eq!(draw_all(&mut world).await, []);
    let (a, b, c) = (world.model("a").await, world.model("b").await, world.model("c").await);
    evaluate(&mut world, &[&a, &b, &c], &["p", "q"]).await;
    evaluate(&mut world, &[&a], &["only a"]).await;
    for _ in 0..2 {
        let judged = draw_all(&mut world).await;
        // Three pairs of models, two prompts each.
        assert_eq!(judged.len(), 6);
        assert_eq!(judged.iter().map(images).collect::<BTreeSet<_>>().len(), 6);
    }
}

/// What a new rater judges until nothing is left.
async fn draw_all(world: &mut World) -> Vec<Matchup> {
    let rater: RaterId = world.rater().await;
    let mut judged = Vec::new();
    while let Some(matchup) = world.next_matchup(rater, &[]).await {
        world.vote(&matchup, rater, Choice::Right).await;
        judged.push(matchup);
    }
    judged
}

async fn the_fewest_votes_come_first(mut world: World) {
    let (a, b, c) = (world.model("a").await, world.model("b").await, world.model("c").await);
    evaluate(&mut world, &[&a, &b, &c], &["p", "q", "r", "s"]).await;
    let mut votes: HashMap<BTreeSet<String>, usize> = HashMap::new();
    for round in 1..=4 {
        for _ in 0..3 {
            let rater = world.rater().await;
            let matchup = world.next_matchup(rater, &[]).await.unwrap();
            *votes.entry(models_of(&world, &matchup).await).or_default() += 1;
            world.vote(&matchup, rater, Choice::Tie).await;
        }
        assert!(votes.len() == 3 && votes.values().all(|&n| n == round), "{votes:?}");
    }
}

async fn only_images_of_equal_params_are_drawn(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    world.evaluation_image(&a, "p").await;
    let mut other_seed = world.new_image(Purpose::Evaluation, Some(b.id), "p");
    other_seed.params.seed = 5;
    let generated = world.new_image(Purpose::Generation, Some(b.id), "p");
    world.store.insert_images(&[other_seed, generated], None).await.unwrap();
    let rater = world.rater().await;
    assert_eq!(world.next_matchup(rater, &[]).await, None);
    let comparable = world.evaluation_image(&b, "p").await;
    let matchup = world.next_matchup(rater, &[]).await.unwrap();
    assert!(images(&matchup).contains(&comparable.id));
}

async fn a_draw_can_be_restricted_to_models(mut world: World) {
    let (a, b, c) = (world.model("a").await, world.model("b").await, world.model("c").await);
    evaluate(&mut world, &[&a, &b, &c], &["p", "q"]).await;
    let rater = world.rater().await;
    let open = world.next_matchup(rater, &[a.id, b.id]).await.unwrap();
    assert_eq!(models_of(&world, &open).await, ["a".to_owned(), "b".to_owned()].into());
    // The open one is of other models: it waits.
    let other = world.next_matchup(rater, &[c.id, b.id]).await.unwrap();
    assert_eq!(models_of(&world, &other).await, ["b".to_owned(), "c".to_owned()].into());
    assert_eq!(world.next_matchup(rater, &[a.id, b.id]).await.as_ref(), Some(&open));
    assert_eq!(world.next_matchup(rater, &[a.id]).await, None);
}

async fn a_repeated_evaluation_does_not_confuse_the_draw(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    evaluate(&mut world, &[&a, &b, &a], &["p"]).await;
    let rater = world.rater().await;
    let mut drawn = BTreeSet::new();
    while let Some(matchup) = world.next_matchup(rater, &[]).await {
        assert_eq!(models_of(&world, &matchup).await.len(), 2);
        assert!(drawn.insert(images(&matchup)), "the same images twice");
        world.vote(&matchup, rater, Choice::Left).await;
    }
    assert_eq!(drawn.len(), 2);
}

/// The same images come again with another question, and its votes count for that alone.
async fn questions_are_judged_apart(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    evaluate(&mut world, &[&a, &b], &["p"]).await;
    let rater = world.rater().await;
    let overall = world.next_matchup(rater, &[]).await.unwrap();
    assert_eq!(overall.question, Question::Overall);
    world.vote(&overall, rater, Choice::Left).await;
    assert_eq!(world.next_matchup(rater, &[]).await, None);

    let now = world.tick();
    let alignment = world.next_asked(rater, Question::Alignment, &[], now).await.unwrap();
    assert_eq!((alignment.question, images(&alignment)), (Question::Alignment, images(&overall)));
    assert_eq!(world.store.get_matchup(alignment.id).await.unwrap().as_ref(), Some(&alignment));
    // Open, but asked otherwise.
    assert_eq!(world.next_matchup(rater, &[]).await, None);
    world.vote(&alignment, rater, Choice::BothBad).await;
    assert_eq!(world.next_asked(rater, Question::Alignment, &[], now).await, None);

    for (question, ties) in [(Question::Overall, 0), (Question::Alignment, 1)] {
        let tallies = world.store.tallies(question).await.unwrap();
        assert_eq!((tallies.len(), tallies[0].total(), tallies[0].both_bad), (1, 1, ties), "{question:?}");
    }
    assert_eq!(world.store.tallies(Question::Appeal).await.unwrap(), []);
    for question in [Question::Overall, Question::Alignment] {
        let votes = world.store.judged_votes(question).await.unwrap();
        assert_eq!(votes.iter().map(|vote| vote.question).collect::<Vec<_>>(), [question]);
    }
    let listed = world.store.list_votes(10).await.unwrap();
    assert_eq!(
        listed.iter().map(|vote| vote.question).collect::<Vec<_>>(),
        [Question::Alignment, Question::Overall]
    );
}

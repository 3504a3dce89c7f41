//! Votes: one per rater and matchup, and their counts.

use crate::fixture::{Fixture, on_both_databases};
use domain::evaluate::Metric;
use domain::id::{MatchupId, RaterId};
use domain::preference::{Choice, Matchup, Question, VoteRecord};
use domain::ranking::Tally;
use store::{Conflict, ImageScore, ImportedVote, PairVotes, RatedVote, StoreError};

on_both_databases!(
    a_second_vote_on_a_matchup_is_a_conflict,
    one_of_simultaneous_votes_counts,
    a_vote_on_an_unknown_matchup_or_by_an_unknown_rater_is_refused,
    another_raters_matchup_cannot_be_voted_on,
    votes_are_listed_newest_first_with_the_models_names,
    tallies_count_votes_for_a_model_on_either_side,
    judged_votes_include_their_images,
    the_scores_of_the_newest_votes_images_are_listed,
    the_newest_judged_votes_are_those_of_the_newest_matchups,
    categories_of_prompts_are_kept_and_replaced,
    votes_made_elsewhere_are_imported_once,
    votes_for_ratings_have_rater_prompt_and_both_sides,
);

/// Two models with images of the prompt, and a matchup of the images for every rater.
async fn open_matchup(fixture: &mut Fixture, prompt: &str) -> Matchup {
    let mut models = Vec::new();
    for name in ["a", "b"] {
        models.push(match fixture.store.get_model_by_name(name).await.unwrap() {
            Some(model) => model,
            None => fixture.model(name).await,
        });
    }
    let x = fixture.evaluation_image(&models[0], prompt).await;
    let y = fixture.evaluation_image(&models[1], prompt).await;
    let now = fixture.tick();
    fixture.store.create_matchup(x.id, y.id, Question::Overall, now, &mut fixture.rng).await.unwrap()
}

async fn a_second_vote_on_a_matchup_is_a_conflict(mut fixture: Fixture) {
    let matchup = open_matchup(&mut fixture, "p").await;
    let (rater, other) = (fixture.rater().await, fixture.rater().await);
    fixture.vote(&matchup, rater, Choice::Left).await;
    let second = fixture.new_vote(&matchup, rater, Choice::Right);
    let refused = fixture.store.cast_vote(&second).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::AlreadyVoted))), "{refused:?}");
    fixture.vote(&matchup, other, Choice::Right).await;
    let counts =
        (fixture.store.count_votes(rater).await.unwrap(), fixture.store.count_votes(other).await.unwrap());
    assert_eq!(counts, (1, 1));
}

async fn one_of_simultaneous_votes_counts(mut fixture: Fixture) {
    let matchup = open_matchup(&mut fixture, "p").await;
    let rater = fixture.rater().await;
    let votes: Vec<_> = (0..6)
        .map(|_| {
            let (store, vote) = (fixture.store.clone(), fixture.new_vote(&matchup, rater, Choice::Tie));
            tokio::spawn(async move { store.cast_vote(&vote).await })
        })
        .collect();
    let mut counted = 0;
    for vote in votes {
        match vote.await.unwrap() {
            Ok(()) => counted += 1,
            Err(StoreError::Conflict(Conflict::AlreadyVoted)) => {}
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!((counted, fixture.store.count_votes(rater).await.unwrap()), (1, 1));
}

async fn a_vote_on_an_unknown_matchup_or_by_an_unknown_rater_is_refused(mut fixture: Fixture) {
    let mut matchup = open_matchup(&mut fixture, "p").await;
    let unknown = RaterId::new(fixture.now, [0; 10]);
    let vote = fixture.new_vote(&matchup, unknown, Choice::Left);
    let refused = fixture.store.cast_vote(&vote).await;
    assert!(matches!(refused, Err(StoreError::Missing("rater"))), "{refused:?}");
    let rater = fixture.rater().await;
    matchup.id = MatchupId::new(fixture.now, [0; 10]);
    let vote = fixture.new_vote(&matchup, rater, Choice::Left);
    let refused = fixture.store.cast_vote(&vote).await;
    assert!(matches!(refused, Err(StoreError::Missing("matchup for this rater"))), "{refused:?}");
}

async fn another_raters_matchup_cannot_be_voted_on(mut fixture: Fixture) {
    let open = open_matchup(&mut fixture, "p").await;
    let (rater, other) = (fixture.rater().await, fixture.rater().await);
    fixture.vote(&open, rater, Choice::Left).await;
    open_matchup(&mut fixture, "q").await;
    let next = fixture.next_matchup(rater, &[]).await.unwrap();
    fixture.vote(&next, rater, Choice::Left).await;
    let (a, b) = (fixture.model("c").await, fixture.model("d").await);
    fixture.evaluation_image(&a, "r").await;
    fixture.evaluation_image(&b, "r").await;
    let drawn = fixture.next_matchup(rater, &[]).await.unwrap();
    assert_eq!(drawn.rater_id, Some(rater));
    let vote = fixture.new_vote(&drawn, other, Choice::Left);
    let refused = fixture.store.cast_vote(&vote).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
    fixture.vote(&drawn, rater, Choice::Left).await;
}

async fn votes_are_listed_newest_first_with_the_models_names(mut fixture: Fixture) {
    let rater = fixture.rater().await;
    let mut newest_first = Vec::new();
    for choice in Choice::ALL {
        let matchup = open_matchup(&mut fixture, choice.as_str()).await;
        let vote = fixture.vote(&matchup, rater, choice).await;
        let (left_model, right_model) = fixture.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
        let record = VoteRecord {
            id: vote.id,
            matchup_id: matchup.id,
            prompt: choice.as_str().to_owned(),
            question: Question::Overall,
            left_model,
            right_model,
            choice,
            created_at: vote.created_at,
        };
        newest_first.insert(0, record);
    }
    assert_eq!(fixture.store.list_votes(10).await.unwrap(), newest_first);
    assert_eq!(fixture.store.list_votes(2).await.unwrap(), newest_first[..2]);
}

async fn tallies_count_votes_for_a_model_on_either_side(mut fixture: Fixture) {
    assert_eq!(fixture.store.tallies(Question::Overall).await.unwrap(), []);
    // 9 votes for a, 2 for b, 4 ties, 3 both bad, on images with random sides.
    let mut sides = [0, 0];
    for n in 0..18 {
        let matchup = open_matchup(&mut fixture, &format!("prompt {n}")).await;
        let rater = fixture.rater().await;
        let (left, _) = fixture.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
        let a_is_left = left == "a";
        sides[usize::from(a_is_left)] += 1;
        let choice = match n {
            0..9 if a_is_left => Choice::Left,
            0..9 => Choice::Right,
            9..11 if a_is_left => Choice::Right,
            9..11 => Choice::Left,
            11..15 => Choice::Tie,
            _ => Choice::BothBad,
        };
        fixture.vote(&matchup, rater, choice).await;
    }
    assert!(sides[0] > 0 && sides[1] > 0, "{sides:?}");
    let a = fixture.store.get_model_by_name("a").await.unwrap().unwrap().id.into();
    let b = fixture.store.get_model_by_name("b").await.unwrap().unwrap().id.into();
    let pair = PairVotes { a, b, wins_a: 9, wins_b: 2, ties: 4, both_bad: 3 };
    assert_eq!(fixture.store.tallies(Question::Overall).await.unwrap(), [pair]);
    assert_eq!(pair.total(), 18);
    assert_eq!(Tally::from(pair), Tally { a, b, wins_a: 9, wins_b: 2, ties: 7 });
}

async fn judged_votes_include_their_images(mut fixture: Fixture) {
    assert_eq!(fixture.store.judged_votes(Question::Overall).await.unwrap(), []);
    let matchup = open_matchup(&mut fixture, "p").await;
    let names = fixture.store.matchup_model_names(matchup.id).await.unwrap().unwrap();
    let (first, second) = (fixture.rater().await, fixture.rater().await);
    fixture.vote(&matchup, first, Choice::Left).await;
    fixture.vote(&matchup, second, Choice::BothBad).await;
    let votes = fixture.store.judged_votes(Question::Overall).await.unwrap();
    assert_eq!(
        votes.iter().map(|v| (v.rater_id, v.choice)).collect::<Vec<_>>(),
        [(first, Choice::Left), (second, Choice::BothBad)]
    );
    assert_eq!(fixture.store.judged_votes(Question::Appeal).await.unwrap(), []);
    for vote in &votes {
        assert_eq!(vote.prompt, "p");
        assert_eq!([vote.images[0].id, vote.images[1].id], [matchup.left, matchup.right]);
        assert_eq!([&vote.images[0].model, &vote.images[1].model], [&names.0, &names.1]);
        for shown in &vote.images {
            let image = fixture.store.get_image(shown.id).await.unwrap().unwrap();
            assert_eq!(shown.artifact, image.artifact);
        }
    }
}

async fn the_scores_of_the_newest_votes_images_are_listed(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    fixture.evaluation_image(&a, "p").await;
    fixture.evaluation_image(&b, "p").await;
    let rater = fixture.rater().await;
    let matchup = fixture.next_matchup(rater, &[]).await.unwrap();
    fixture.vote(&matchup, rater, Choice::Right).await;
    assert_eq!(fixture.store.scores_of_newest_votes(Question::Overall, 9).await.unwrap(), []);
    let score = |image_id, metric, value| ImageScore { image_id, metric, value };
    let scores = [
        score(matchup.left, Metric::ClipScore, 0.25),
        score(matchup.right, Metric::ClipScore, 0.5),
        score(matchup.left, Metric::ShapeAndColour, 1.0),
    ];
    fixture.store.put_scores(&scores, None).await.unwrap();
    // An image that no vote is on has a score too.
    let other = fixture.evaluation_image(&a, "q").await;
    fixture.store.put_scores(&[score(other.id, Metric::ClipScore, 0.1)], None).await.unwrap();
    let found = fixture.store.scores_of_newest_votes(Question::Overall, 9).await.unwrap();
    assert_eq!(found.len(), 3);
    assert!(scores.iter().all(|score| found.contains(score)), "{found:?}");
    assert_eq!(fixture.store.scores_of_newest_votes(Question::Appeal, 9).await.unwrap(), []);
}

async fn the_newest_judged_votes_are_those_of_the_newest_matchups(mut fixture: Fixture) {
    let rater = fixture.rater().await;
    for prompt in ["p", "q", "r"] {
        let matchup = open_matchup(&mut fixture, prompt).await;
        fixture.vote(&matchup, rater, Choice::Left).await;
    }
    let all = fixture.store.judged_votes(Question::Overall).await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(fixture.store.newest_judged_votes(Question::Overall, 9).await.unwrap(), all);
    assert_eq!(fixture.store.newest_judged_votes(Question::Overall, 2).await.unwrap(), all[1..]);
    assert_eq!(fixture.store.newest_judged_votes(Question::Appeal, 9).await.unwrap(), []);
}

async fn categories_of_prompts_are_kept_and_replaced(fixture: Fixture) {
    let long = "word ".repeat(1600);
    fixture.store.put_prompt_categories(&[("a cat", "animals"), (&long, "long")]).await.unwrap();
    fixture.store.put_prompt_categories(&[("a cat", "pets")]).await.unwrap();
    let found = fixture.store.prompt_categories(&["a cat", "a dog", &long]).await.unwrap();
    assert_eq!((found.len(), &*found["a cat"], &*found[&long]), (2, "pets", "long"));
    assert!(fixture.store.prompt_categories(&[]).await.unwrap().is_empty());
}

async fn votes_for_ratings_have_rater_prompt_and_both_sides(mut fixture: Fixture) {
    let first = open_matchup(&mut fixture, "p").await;
    let second = open_matchup(&mut fixture, "q").await;
    let (rater, other) = (fixture.rater().await, fixture.rater().await);
    let votes = [
        fixture.vote(&first, rater, Choice::Left).await,
        fixture.vote(&second, other, Choice::BothBad).await,
    ];
    let mut expected = Vec::new();
    for (vote, matchup, rater, choice) in
        [(votes[0].id, &first, rater, Choice::Left), (votes[1].id, &second, other, Choice::BothBad)]
    {
        let mut shown = Vec::new();
        for image in [matchup.left, matchup.right] {
            let image = fixture.store.get_image(image).await.unwrap().expect("the image");
            shown.push(image.model_id.expect("a model").into());
        }
        expected.push(RatedVote {
            id: vote,
            images: [matchup.left, matchup.right],
            rater,
            prompt: matchup.prompt.clone(),
            shown: [shown[0], shown[1]],
            choice,
        });
    }
    assert_eq!(fixture.store.rated_votes(Question::Overall, 9).await.unwrap(), expected);
    assert_eq!(fixture.store.rated_votes(Question::Overall, 1).await.unwrap(), expected[1..]);
    assert_eq!(fixture.store.rated_votes(Question::Appeal, 9).await.unwrap(), []);
}

async fn votes_made_elsewhere_are_imported_once(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    let [x, y, z] = [
        fixture.evaluation_image(&a, "p").await,
        fixture.evaluation_image(&b, "p").await,
        fixture.evaluation_image(&b, "q").await,
    ];
    let created_at = fixture.tick();
    let vote = |images, rater: &str, choice| ImportedVote {
        images,
        question: Question::Overall,
        choice,
        rater: rater.to_owned(),
        created_at,
    };
    let mut rng = fixture.rng.clone();
    let first = vote([x.id, y.id], "ann@example.org", Choice::Left);
    assert!(fixture.store.import_vote(&first, &mut rng).await.unwrap());
    assert!(!fixture.store.import_vote(&first, &mut rng).await.unwrap(), "known already");
    let exchanged = vote([y.id, x.id], "ann@example.org", Choice::Left);
    assert!(!fixture.store.import_vote(&exchanged, &mut rng).await.unwrap(), "the same images");
    assert!(fixture.store.import_vote(&vote([y.id, x.id], "bob", Choice::Left), &mut rng).await.unwrap());
    let refused = fixture.store.import_vote(&vote([x.id, z.id], "bob", Choice::Left), &mut rng).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("prompt")), "different prompts");
    let votes = fixture.store.rated_votes(Question::Overall, 9).await.unwrap();
    assert_eq!(votes.len(), 2);
    assert!(votes[0].rater != votes[1].rater);
    let [pair] = fixture.store.tallies(Question::Overall).await.unwrap()[..] else {
        panic!("one pair of models")
    };
    assert_eq!((pair.wins_a, pair.wins_b), (1, 1));
    assert_eq!(fixture.store.count_raters(Question::Overall).await.unwrap(), 2);
}

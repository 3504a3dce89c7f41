//! What the leaderboard says about ties, sides, raters and what the votes decide, and which models are drawn next.

use crate::support::TestApp;
use domain::id::{MatchupId, RaterId, VoteId};
use domain::preference::{Choice, Question, Vote};
use rand::SeedableRng;
use serde_json::Value;
use uuid::Uuid;

/// Casts the rater's votes on every matchup that is left, at most `count`. `choose` gets the names of the left and the
/// right model.
async fn vote(app: &TestApp, rater: u8, count: usize, choose: impl Fn(usize, &str, &str) -> Choice) {
    let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(u64::from(rater));
    let id = RaterId(Uuid::from_bytes([rater; 16]));
    app.store.ensure_rater(id, app.now()).await.expect("a rater");
    for index in 0..count {
        let next = app.store.next_matchup(id, Question::Overall, &[], app.now(), &mut rng).await;
        let Some(matchup) = next.expect("a query") else { return };
        let names = app.store.matchup_model_names(matchup.id).await.expect("a query").expect("names");
        let created_at = app.now();
        let vote_id = VoteId::new(created_at, [rater.wrapping_add(index as u8); 10]);
        let choice = choose(index, &names.0, &names.1);
        let vote = Vote { id: vote_id, matchup_id: matchup.id, rater_id: id, choice, created_at };
        app.store.cast_vote(&vote).await.expect("a vote");
    }
}

/// Prefers the model whose name comes first, with some mistakes and ties.
fn first_name(index: usize, left: &str, right: &str) -> Choice {
    let is_mistaken = index % 10 == 4;
    if index % 10 == 9 {
        Choice::Tie
    } else if (left < right) != is_mistaken {
        Choice::Left
    } else {
        Choice::Right
    }
}

#[tokio::test]
async fn the_leaderboard_names_careless_raters_and_says_what_the_votes_decide() {
    let app = TestApp::start().await;
    app.pairs(40).await;
    vote(&app, 1, 10, first_name).await;
    let few = app.get("/api/v1/leaderboard").await.expect(200).json();
    assert_eq!(few["evidence"]["is_preliminary"], true, "{few}");
    assert!(app.get("/leaderboard").await.expect(200).text().contains("Preliminary"));
    vote(&app, 1, 40, first_name).await;
    for rater in 2..7 {
        vote(&app, rater, 40, first_name).await;
    }
    vote(&app, 7, 40, |_, _, _| Choice::Left).await;

    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    let evidence = &board["evidence"];
    assert_eq!(evidence["is_preliminary"], false, "{evidence}");
    let raters = evidence["raters"].as_array().expect("raters");
    let careless: Vec<bool> = raters.iter().filter_map(|rater| rater["is_careless"].as_bool()).collect();
    assert_eq!(careless, [true, false, false, false, false, false, false], "{evidence}");
    assert_eq!(raters[0]["votes"], 40);
    let id = Uuid::from_bytes([7; 16]).to_string();
    assert!(!board.to_string().contains(&id[24..]), "a rater's id must not be told: {board}");

    let rows = board["rows"].as_array().expect("rows");
    assert_eq!((&rows[0]["model"], &rows[1]["model"]), (&"tuned-contrast".into(), &"tuned-dpo".into()));
    assert_eq!((&rows[0]["rank"], &rows[1]["rank"]), (&1.into(), &2.into()));
    let number = |value: &Value| value.as_f64().expect("a number");
    let best = &rows[0];
    assert!(number(&best["anytime"]["low"]) < number(&best["rating"]["low"]), "{best}");
    assert!(number(&best["rating_all_alike"]) < number(&best["rating"]["value"]) - 5.0, "{best}");
    let separation = &evidence["separation"];
    assert_eq!((&separation["first"], &separation["is_separated"]), (&rows[0]["model"], &true.into()));
    assert_eq!(separation["votes_more"], 0);
    let ties = number(&evidence["tie_share"]);
    assert!((0.05..0.3).contains(&ties), "{evidence}");
    let left = &evidence["left_share"];
    assert!(number(&left["low"]) < number(&left["value"]) && number(&left["value"]) < number(&left["high"]));

    let page = app.get("/leaderboard").await.expect(200).text();
    let name = raters[0]["pseudonym"].as_str().expect("a pseudonym");
    for text in [name, "careless", "at any time", "tuned-contrast is better than tuned-dpo at 95% confidence"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("Preliminary"), "{page}");
}

#[tokio::test]
async fn models_that_are_equally_good_are_not_separable_yet() {
    let app = TestApp::start().await;
    app.pairs(40).await;
    for rater in 1..5 {
        let shift = usize::from(rater);
        vote(&app, rater, 40, move |index, left, right| {
            let is_left = (left < right) == ((index + shift) % 20 < 11);
            if is_left { Choice::Left } else { Choice::Right }
        })
        .await;
    }
    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    let separation = &board["evidence"]["separation"];
    assert_eq!(separation["is_separated"], false, "{board}");
    assert_eq!((&board["rows"][0]["rank"], &board["rows"][1]["rank"]), (&1.into(), &1.into()));
    assert!(separation["votes_more"].as_i64().is_none_or(|votes| votes > 50), "{separation}");
    let page = app.get("/leaderboard").await.expect(200).text();
    assert!(page.contains("are not separable"), "{page}");
}

/// From 100 votes on, where more than two models compete, the models of a vote that tells most are drawn, and it is recorded.
#[tokio::test]
async fn draws_follow_what_a_vote_tells_and_are_recorded() {
    let app = TestApp::start().await;
    let [dpo, contrast] = app.pairs(40).await;
    let third = app.sibling("worse", "sft").await;
    for index in 0..40 {
        app.image(&third, &format!("a small red square number {index}"), [40, 220, 40]).await;
    }
    let next = async || {
        let next = app.get("/api/v1/matchups/next").await.expect(200).json();
        let id: MatchupId = next["matchup"]["id"].as_str().expect("a matchup").parse().expect("an id");
        let names = app.store.matchup_model_names(id).await.expect("a query").expect("names");
        (app.store.draw_of_matchup(id).await.expect("a query"), [names.0, names.1])
    };
    assert_eq!(next().await.0, None, "few votes: by the number of votes");
    // `worse` always loses, the two others are equal.
    for rater in 1..8 {
        vote(&app, rater, 60, |index, left, right| match (left, right) {
            ("worse", _) => Choice::Right,
            (_, "worse") => Choice::Left,
            _ if (index + usize::from(rater)).is_multiple_of(2) => Choice::Left,
            _ => Choice::Right,
        })
        .await;
    }
    let (mut informative, mut even) = (0, 0);
    for _ in 0..40 {
        let (draw, mut names) = next().await;
        let draw = draw.expect("a recorded draw");
        names.sort();
        if draw.is_even {
            even += 1;
        } else {
            informative += 1;
            assert_eq!(names, [contrast.name.clone(), dpo.name.clone()]);
            assert!((draw.propensity - (0.85 + 0.05)).abs() < 1e-9, "{draw:?}");
        }
    }
    assert!(informative > 20 && even > 0, "{informative} {even}");
}

//! Skips, and answers that are taken back.

use crate::fixture::{Fixture, on_both_databases};
use domain::id::MatchupId;
use domain::matchmaking::DrawOrder;
use domain::preference::{Choice, Question};
use store::{Conflict, StoreError};

on_both_databases!(
    an_undone_vote_counts_nowhere_and_its_matchup_is_open_again,
    only_the_last_answer_is_undone,
    a_skipped_matchup_is_not_drawn_again,
    matchups_are_known_before_they_are_next,
);

/// Two models with an image of each prompt.
async fn two_models(fixture: &mut Fixture, prompts: &[&str]) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    for prompt in prompts {
        fixture.evaluation_image(&a, prompt).await;
        fixture.evaluation_image(&b, prompt).await;
    }
}

async fn an_undone_vote_counts_nowhere_and_its_matchup_is_open_again(mut fixture: Fixture) {
    two_models(&mut fixture, &["p"]).await;
    let rater = fixture.rater().await;
    let matchup = fixture.next_matchup(rater, &[]).await.unwrap();
    fixture.vote(&matchup, rater, Choice::Left).await;
    let now = fixture.tick();
    let store = fixture.store.clone();
    store.undo_answer(matchup.id, rater, None, now).await.unwrap();
    assert_eq!(store.tallies(Question::Overall).await.unwrap(), []);
    assert_eq!(store.judged_votes(Question::Overall).await.unwrap(), []);
    assert_eq!(store.list_votes(10).await.unwrap(), []);
    assert_eq!((store.count_votes(rater).await.unwrap(), store.count_undone_votes().await.unwrap()), (0, 1));
    assert_eq!(store.count_raters(Question::Overall).await.unwrap(), 0);
    assert_eq!(fixture.next_matchup(rater, &[]).await.as_ref(), Some(&matchup));
    // The second vote counts, and can be taken back too.
    fixture.vote(&matchup, rater, Choice::Right).await;
    assert_eq!(store.list_votes(10).await.unwrap()[0].choice, Choice::Right);
    let now = fixture.tick();
    store.undo_answer(matchup.id, rater, None, now).await.unwrap();
    assert_eq!(store.count_undone_votes().await.unwrap(), 2);
    let nothing = store.undo_answer(matchup.id, rater, None, now).await;
    assert!(matches!(nothing, Err(StoreError::Missing(_))), "{nothing:?}");
}

async fn only_the_last_answer_is_undone(mut fixture: Fixture) {
    two_models(&mut fixture, &["p", "q"]).await;
    let (rater, other) = (fixture.rater().await, fixture.rater().await);
    let first = fixture.next_matchup(rater, &[]).await.unwrap();
    fixture.vote(&first, rater, Choice::Left).await;
    let second = fixture.next_matchup(rater, &[]).await.unwrap();
    let now = fixture.tick();
    fixture.store.skip_matchup(second.id, rater, now).await.unwrap();
    assert_eq!(fixture.store.last_answered(rater, None).await.unwrap(), Some(second.id));
    let refused = fixture.store.undo_answer(first.id, rater, None, now).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::NotLastAnswer))), "{refused:?}");
    let refused = fixture.store.undo_answer(first.id, other, None, now).await;
    assert!(matches!(refused, Err(StoreError::Missing(_))), "{refused:?}");
    fixture.store.undo_answer(second.id, rater, None, now).await.unwrap();
    assert_eq!(fixture.store.last_answered(rater, None).await.unwrap(), Some(first.id));
    fixture.store.undo_answer(first.id, rater, None, now).await.unwrap();
    assert_eq!(fixture.store.last_answered(rater, None).await.unwrap(), None);
    assert_eq!(fixture.store.count_undone_votes().await.unwrap(), 1);
}

async fn a_skipped_matchup_is_not_drawn_again(mut fixture: Fixture) {
    two_models(&mut fixture, &["p"]).await;
    let (rater, other) = (fixture.rater().await, fixture.rater().await);
    let matchup = fixture.next_matchup(rater, &[]).await.unwrap();
    let now = fixture.tick();
    fixture.store.skip_matchup(matchup.id, rater, now).await.unwrap();
    fixture.store.skip_matchup(matchup.id, rater, now).await.unwrap();
    assert_eq!(fixture.next_matchup(rater, &[]).await, None);
    assert!(fixture.next_matchup(other, &[]).await.is_some());
    let refused = fixture.store.skip_matchup(matchup.id, other, now).await;
    assert!(matches!(refused, Err(StoreError::Missing("matchup for this rater"))), "{refused:?}");
    let unknown = fixture.store.skip_matchup(MatchupId::new(now, [0; 10]), rater, now).await;
    assert!(matches!(unknown, Err(StoreError::Missing(_))), "{unknown:?}");
    // A rater who has judged it cannot skip it.
    let judged = fixture.next_matchup(other, &[]).await.unwrap();
    fixture.vote(&judged, other, Choice::Tie).await;
    let refused = fixture.store.skip_matchup(judged.id, other, now).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::AlreadyVoted))), "{refused:?}");
}

async fn matchups_are_known_before_they_are_next(mut fixture: Fixture) {
    two_models(&mut fixture, &["p", "q", "r", "s"]).await;
    let rater = fixture.rater().await;
    let store = fixture.store.clone();
    let now = fixture.tick();
    let known = store
        .upcoming_matchups(&DrawOrder::FewestVotes, rater, Question::Overall, &[], 3, now, &mut fixture.rng)
        .await
        .unwrap();
    let prompts: std::collections::HashSet<_> = known.iter().map(|matchup| &matchup.prompt).collect();
    assert_eq!((known.len(), prompts.len()), (3, 3), "{known:?}");
    for (index, matchup) in known.iter().enumerate() {
        let now = fixture.tick();
        let again = store
            .upcoming_matchups(
                &DrawOrder::FewestVotes,
                rater,
                Question::Overall,
                &[],
                3,
                now,
                &mut fixture.rng,
            )
            .await
            .unwrap();
        assert_eq!(again.len(), 3.min(4 - index));
        assert_eq!(again[0], *matchup);
        fixture.vote(matchup, rater, Choice::Tie).await;
    }
}

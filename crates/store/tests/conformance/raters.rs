//! Raters: insertion and counts.

use crate::fixture::{Fixture, on_both_databases};
use domain::id::RaterId;
use domain::preference::{Choice, Question};
use store::StoreError;

on_both_databases!(
    a_rater_is_inserted_once,
    only_raters_who_voted_are_counted,
    an_unknown_rater_gets_a_matchup_of_its_own_and_no_row
);

async fn a_rater_is_inserted_once(mut fixture: Fixture) {
    let rater = fixture.rater().await;
    let later = fixture.tick();
    fixture.store.ensure_rater(rater, later).await.unwrap();
    assert_eq!(fixture.store.count_votes(rater).await.unwrap(), 0);
}

async fn only_raters_who_voted_are_counted(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    for prompt in ["p", "q"] {
        fixture.evaluation_image(&a, prompt).await;
        fixture.evaluation_image(&b, prompt).await;
    }
    let (busy, idle) = (fixture.rater().await, fixture.rater().await);
    for _ in 0..2 {
        let matchup = fixture.next_matchup(busy, &[]).await.unwrap();
        fixture.vote(&matchup, busy, Choice::Tie).await;
    }
    assert_eq!(fixture.store.count_raters(Question::Overall).await.unwrap(), 1);
    assert_eq!(fixture.store.count_raters(Question::Appeal).await.unwrap(), 0);
    assert_eq!(fixture.store.count_votes(busy).await.unwrap(), 2);
    assert_eq!(fixture.store.count_votes(idle).await.unwrap(), 0);
}

/// A browser that only looks leaves no rater behind.
async fn an_unknown_rater_gets_a_matchup_of_its_own_and_no_row(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    fixture.evaluation_image(&a, "p").await;
    fixture.evaluation_image(&b, "p").await;
    let unknown = RaterId::new(fixture.now, [0; 10]);
    let drawn = fixture.next_matchup(unknown, &[]).await.unwrap();
    assert_eq!(drawn.rater_id, Some(unknown));
    assert_eq!(fixture.next_matchup(unknown, &[]).await.unwrap(), drawn);
    let other = fixture.rater().await;
    assert_ne!(fixture.next_matchup(other, &[]).await.unwrap().id, drawn.id);
    let vote = fixture.new_vote(&drawn, unknown, Choice::Left);
    let refused = fixture.store.cast_vote(&vote).await;
    assert!(matches!(refused, Err(StoreError::Missing("rater"))), "{refused:?}");
    fixture.store.ensure_rater(unknown, fixture.now).await.unwrap();
    fixture.store.cast_vote(&vote).await.unwrap();
}

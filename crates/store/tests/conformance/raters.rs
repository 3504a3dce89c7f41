//! Raters: insertion and counts.

use crate::fixture::{Fixture, on_both_databases};
use domain::id::RaterId;
use domain::preference::{Choice, Question};
use store::StoreError;

on_both_databases!(
    a_rater_is_inserted_once,
    only_raters_who_voted_are_counted,
    an_unknown_rater_gets_no_matchup
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

async fn an_unknown_rater_gets_no_matchup(mut fixture: Fixture) {
    let (a, b) = (fixture.model("a").await, fixture.model("b").await);
    fixture.evaluation_image(&a, "p").await;
    fixture.evaluation_image(&b, "p").await;
    let unknown = RaterId::new(fixture.now, [0; 10]);
    let refused =
        fixture.store.next_matchup(unknown, Question::Overall, &[], fixture.now, &mut fixture.rng).await;
    assert!(matches!(refused, Err(StoreError::Missing("rater"))), "{refused:?}");
}

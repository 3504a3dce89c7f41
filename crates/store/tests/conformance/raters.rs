//! Raters.

use crate::world::{World, on_both_databases};
use domain::id::RaterId;
use domain::preference::{Choice, Question};
use store::StoreError;

on_both_databases!(a_rater_is_made_once, only_raters_who_voted_are_counted, an_unknown_rater_draws_nothing);

async fn a_rater_is_made_once(mut world: World) {
    let rater = world.rater().await;
    let later = world.tick();
    world.store.ensure_rater(rater, later).await.unwrap();
    assert_eq!(world.store.count_votes(rater).await.unwrap(), 0);
}

async fn only_raters_who_voted_are_counted(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    for prompt in ["p", "q"] {
        world.evaluation_image(&a, prompt).await;
        world.evaluation_image(&b, prompt).await;
    }
    let (busy, idle) = (world.rater().await, world.rater().await);
    for _ in 0..2 {
        let matchup = world.next_matchup(busy, &[]).await.unwrap();
        world.vote(&matchup, busy, Choice::Tie).await;
    }
    assert_eq!(world.store.count_raters(Question::Overall).await.unwrap(), 1);
    assert_eq!(world.store.count_raters(Question::Appeal).await.unwrap(), 0);
    assert_eq!(world.store.count_votes(busy).await.unwrap(), 2);
    assert_eq!(world.store.count_votes(idle).await.unwrap(), 0);
}

async fn an_unknown_rater_draws_nothing(mut world: World) {
    let (a, b) = (world.model("a").await, world.model("b").await);
    world.evaluation_image(&a, "p").await;
    world.evaluation_image(&b, "p").await;
    let unknown = RaterId::new(world.now, [0; 10]);
    let refused = world.store.next_matchup(unknown, Question::Overall, &[], world.now, &mut world.rng).await;
    assert!(matches!(refused, Err(StoreError::Missing("rater"))), "{refused:?}");
}

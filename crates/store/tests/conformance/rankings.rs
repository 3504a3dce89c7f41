//! Sets of up to four images: drawn, ranked, taken back, counted as votes on pairs and as orders, and erased.

use crate::fixture::{Fixture, on_both_databases};
use domain::campaign::{Campaign, CampaignSpec, CampaignState};
use domain::id::{CampaignId, ModelId, RaterId};
use domain::preference::{Choice, Question};
use rand::Rng;
use std::collections::BTreeSet;
use store::{Conflict, DeskItem, ItemKind, StoreError};

on_both_databases!(
    sets_go_to_their_raters,
    the_best_is_a_vote_on_each_pair_and_one_order,
    an_order_is_taken_back_and_given_anew,
    orders_of_a_rater_are_erased,
    answers_and_items_of_a_campaign_are_listed,
);

/// An open campaign of so many models with an image of each prompt.
struct Setting {
    campaign: Campaign,
    models: Vec<ModelId>,
}

async fn setting(fixture: &mut Fixture, models: usize, prompts: &[&str], raters: u32) -> Setting {
    let mut ids = Vec::new();
    for index in 0..models {
        let model = fixture.model(&format!("m{index}")).await;
        for prompt in prompts {
            fixture.evaluation_image(&model, prompt).await;
        }
        ids.push(model.id);
    }
    let now = fixture.tick();
    let id = CampaignId::new(now, fixture.rng.random());
    let text = format!(
        r#"{{"name": "campaign", "models": ["a", "b", "c"], "form": "best_of_four", "raters_per_item": {raters}}}"#
    );
    let spec: CampaignSpec = serde_json::from_str(&text).expect("a spec");
    let campaign = Campaign { id, spec, state: CampaignState::Open, created_at: now, closed_at: None };
    fixture.store.insert_campaign(&campaign, &ids, "hash").await.expect("a campaign");
    Setting { campaign, models: ids }
}

impl Setting {
    async fn items(&self, fixture: &mut Fixture, rater: RaterId, count: usize) -> Vec<DeskItem> {
        let now = fixture.tick();
        let store = fixture.store.clone();
        store.desk_items(&self.campaign, &self.models, rater, count, now, &mut fixture.rng).await.unwrap()
    }

    async fn answer(
        &self,
        fixture: &mut Fixture,
        rater: RaterId,
        item: &DeskItem,
        order: &[u8],
    ) -> Result<(), StoreError> {
        let (store, now) = (fixture.store.clone(), fixture.tick());
        store.answer_set(self.campaign.id, rater, item, order, now, &mut fixture.rng).await
    }

    async fn close(&self, fixture: &mut Fixture) {
        let now = fixture.tick();
        fixture.store.set_campaign_state(self.campaign.id, CampaignState::Closed, now).await.unwrap();
    }
}

async fn sets_go_to_their_raters(mut fixture: Fixture) {
    let setting = setting(&mut fixture, 4, &["p", "q", "r"], 1).await;
    let store = fixture.store.clone();
    assert_eq!(store.count_items(&setting.campaign, &setting.models).await.unwrap(), 3);
    let (first, second) = (fixture.rater().await, fixture.rater().await);
    let items = setting.items(&mut fixture, first, 10).await;
    let prompts: BTreeSet<&str> = items.iter().map(|item| item.prompt.as_str()).collect();
    assert_eq!(prompts.into_iter().collect::<Vec<_>>(), ["p", "q", "r"]);
    assert!(items.iter().all(|item| item.kind == ItemKind::Set && item.more.len() == 2), "{items:?}");
    assert_eq!(setting.items(&mut fixture, first, 10).await, items);
    assert_eq!(
        store.get_desk_item(setting.campaign.id, first, items[0].id).await.unwrap().as_ref(),
        Some(&items[0])
    );
    assert_eq!(store.get_desk_item(setting.campaign.id, second, items[0].id).await.unwrap(), None);
    setting.answer(&mut fixture, first, &items[0], &[1]).await.unwrap();
    // Skipped: this rater does not get it again, and others do.
    setting.answer(&mut fixture, first, &items[1], &[]).await.unwrap();
    assert_eq!(setting.items(&mut fixture, first, 10).await, items[2..]);
    let others = setting.items(&mut fixture, second, 10).await;
    let prompts: BTreeSet<&str> = others.iter().map(|item| item.prompt.as_str()).collect();
    assert!(others.len() == 2 && !prompts.contains(items[0].prompt.as_str()), "{others:?}");
    // Three models make sets of three.
    let few = Setting { campaign: setting.campaign.clone(), models: setting.models[..3].to_vec() };
    let third = fixture.rater().await;
    assert_eq!(few.items(&mut fixture, third, 1).await[0].more.len(), 1);
}

async fn the_best_is_a_vote_on_each_pair_and_one_order(mut fixture: Fixture) {
    let setting = setting(&mut fixture, 4, &["p", "q"], 1).await;
    let (store, rater) = (fixture.store.clone(), fixture.rater().await);
    let items = setting.items(&mut fixture, rater, 2).await;
    setting.answer(&mut fixture, rater, &items[0], &[3]).await.unwrap();
    let again = setting.answer(&mut fixture, rater, &items[0], &[1]).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::AlreadyVoted))), "{again:?}");
    let counts = store.campaign_counts(setting.campaign.id).await.unwrap();
    assert_eq!((counts.votes, counts.raters), (1, 1));
    setting.answer(&mut fixture, rater, &items[1], &[2, 4, 1, 3]).await.unwrap();
    assert_eq!(store.campaign_counts(setting.campaign.id).await.unwrap().votes, 2);
    assert_eq!(store.count_answers(setting.campaign.id, rater).await.unwrap(), 2);
    assert_eq!(store.rated_rankings(Question::Overall, 10).await.unwrap(), []);
    setting.close(&mut fixture).await;
    // 3 pairs of the best, 6 of the order.
    let tallies = store.tallies(Question::Overall).await.unwrap();
    assert_eq!(tallies.iter().map(store::PairVotes::total).sum::<i64>(), 9);
    assert_eq!(store.list_votes(20).await.unwrap().len(), 9);
    assert_eq!(store.rated_votes(Question::Overall, 20).await.unwrap(), []);
    let rankings = store.rated_rankings(Question::Overall, 10).await.unwrap();
    assert_eq!(rankings.iter().map(|r| r.order.clone()).collect::<Vec<_>>(), [vec![2], vec![1, 3, 0, 2]]);
    assert!(rankings.iter().all(|ranking| ranking.shown.len() == 4 && ranking.rater == rater));
    // Each vote is for an image that comes before the other in the order.
    let places = |image| {
        let shown = [items[1].left, items[1].right, items[1].more[0], items[1].more[1]];
        let place = shown.iter().position(|known| *known == image)?;
        [1, 3, 0, 2].iter().position(|known| *known == place)
    };
    let judged = store.judged_votes(Question::Overall).await.unwrap();
    let of_order = judged.iter().filter(|vote| vote.prompt == items[1].prompt);
    let mut pairs = 0;
    for vote in of_order {
        let [left, right] = [places(vote.images[0].id), places(vote.images[1].id)];
        assert_eq!(vote.choice == Choice::Left, left < right, "{vote:?}");
        pairs += 1;
    }
    assert_eq!(pairs, 6);
}

async fn an_order_is_taken_back_and_given_anew(mut fixture: Fixture) {
    let setting = setting(&mut fixture, 4, &["p", "q"], 1).await;
    let (store, rater, id) = (fixture.store.clone(), fixture.rater().await, setting.campaign.id);
    let item = setting.items(&mut fixture, rater, 1).await.remove(0);
    setting.answer(&mut fixture, rater, &item, &[1, 2, 3, 4]).await.unwrap();
    assert_eq!(store.last_answered(rater, Some(id)).await.unwrap(), Some(item.id));
    let decided = store.own_answers(id, rater).await.unwrap();
    assert_eq!(decided.len(), 6);
    let found = store.get_desk_item(id, rater, decided[0].item.id).await.unwrap().expect("a pair");
    assert_eq!((found.kind, found.left), (ItemKind::Decided, decided[0].item.left));
    let now = fixture.tick();
    store.undo_answer(item.id, rater, Some(id), now).await.unwrap();
    assert_eq!(store.count_undone_votes().await.unwrap(), 6);
    assert_eq!(store.campaign_counts(id).await.unwrap().votes, 0);
    // The pairs that it had decided are nothing to answer.
    assert_eq!(setting.items(&mut fixture, rater, 1).await, std::slice::from_ref(&item));
    assert_eq!(store.last_answered(rater, Some(id)).await.unwrap(), None);
    let missing = store.undo_answer(item.id, rater, Some(id), now).await;
    assert!(matches!(missing, Err(StoreError::Missing(_))), "{missing:?}");
    setting.answer(&mut fixture, rater, &item, &[4]).await.unwrap();
    assert_eq!(store.own_answers(id, rater).await.unwrap().len(), 3);
    assert_eq!(store.campaign_counts(id).await.unwrap().votes, 1);
    setting.close(&mut fixture).await;
    let late = setting.answer(&mut fixture, rater, &item, &[1]).await;
    assert!(matches!(late, Err(StoreError::Conflict(Conflict::CampaignNotOpen))), "{late:?}");
    assert_eq!(store.rated_rankings(Question::Overall, 10).await.unwrap()[0].order, [3]);
}

async fn orders_of_a_rater_are_erased(mut fixture: Fixture) {
    let setting = setting(&mut fixture, 3, &["p"], 2).await;
    let (store, id) = (fixture.store.clone(), setting.campaign.id);
    let (rater, other) = (fixture.rater().await, fixture.rater().await);
    for who in [rater, other] {
        let item = setting.items(&mut fixture, who, 1).await.remove(0);
        setting.answer(&mut fixture, who, &item, &[2]).await.unwrap();
    }
    setting.close(&mut fixture).await;
    store.erase_from_campaign(id, rater).await.unwrap();
    assert_eq!(store.campaign_counts(id).await.unwrap().votes, 1);
    let left = store.rated_rankings(Question::Overall, 10).await.unwrap();
    assert_eq!(left.iter().map(|ranking| ranking.rater).collect::<Vec<_>>(), [other]);
    let tallies = store.tallies(Question::Overall).await.unwrap();
    assert_eq!(tallies.iter().map(store::PairVotes::total).sum::<i64>(), 2);
}

async fn answers_and_items_of_a_campaign_are_listed(mut fixture: Fixture) {
    let setting = setting(&mut fixture, 3, &["p", "q"], 2).await;
    let (store, id) = (fixture.store.clone(), setting.campaign.id);
    let (first, second) = (fixture.rater().await, fixture.rater().await);
    let items = setting.items(&mut fixture, first, 2).await;
    setting.answer(&mut fixture, first, &items[0], &[1]).await.unwrap();
    // The second rater finds another image the best.
    let theirs = setting.items(&mut fixture, second, 2).await;
    let same = theirs.iter().find(|item| item.prompt == items[0].prompt).expect("the set");
    let images = [same.left, same.right, same.more[0]];
    let other = images.iter().position(|image| *image == items[0].right).expect("an image");
    setting.answer(&mut fixture, second, same, &[u8::try_from(other + 1).expect("small")]).await.unwrap();
    let answers = store.campaign_answers(id).await.unwrap();
    assert_eq!(answers.iter().map(|answer| answer.rater).collect::<Vec<_>>(), [first, second]);
    assert!(answers.iter().all(|answer| answer.is_vote && answer.choice.is_none()));
    assert!(answers[0].at < answers[1].at);
    let split = store.split_items(id).await.unwrap();
    assert_eq!((split.len(), split[0].votes(), split[1].votes()), (3, 2, 1), "{split:?}");
    // The most disputed pair: each of its images was the best once.
    let pair: BTreeSet<_> = [split[0].a, split[0].b].into();
    assert_eq!(pair, [items[0].left, items[0].right].into());
    assert_eq!((split[0].votes_a, split[0].votes_b, split[0].dispute()), (1, 1, 1.0));
    assert_ne!(split[0].model_a, split[0].model_b);
}

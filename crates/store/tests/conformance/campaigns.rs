//! Campaigns: states, items, checks, invitations, erasure, and what is not counted before the end.

use crate::fixture::{Fixture, on_both_databases};
use domain::api::Invitation;
use domain::campaign::{Campaign, CampaignSpec, CampaignState, GoldPair};
use domain::id::{CampaignId, InvitationId, ModelId, RaterId};
use domain::preference::{Choice, Question, Vote};
use rand::Rng;
use std::collections::BTreeSet;
use std::time::Duration;
use store::{Conflict, DeskItem, ItemKind, StoreError};

on_both_databases!(
    a_campaign_is_found_listed_and_closed_once,
    a_campaign_ends_by_its_votes_or_its_time,
    items_go_to_their_raters_and_count_after_the_end,
    checks_come_at_their_turns_and_the_first_answer_counts,
    answers_in_a_campaign_are_taken_back,
    models_are_withheld_until_the_last_campaign_is_closed,
    an_invitation_ends_and_is_revoked,
    a_rater_is_erased_from_one_campaign,
);

/// An open campaign of two models with an image of each prompt.
struct Setting {
    campaign: Campaign,
    models: Vec<ModelId>,
}

async fn setting(fixture: &mut Fixture, prompts: &[&str], more: &str) -> Setting {
    let mut models = Vec::new();
    for name in ["a", "b"] {
        let model = match fixture.store.get_model_by_name(name).await.unwrap() {
            Some(model) => model,
            None => {
                let model = fixture.model(name).await;
                for prompt in prompts {
                    fixture.evaluation_image(&model, prompt).await;
                }
                model
            }
        };
        models.push(model.id);
    }
    let now = fixture.tick();
    let id = CampaignId::new(now, fixture.rng.random());
    let text = format!(r#"{{"name": "campaign {id}", "models": ["a", "b"]{more}}}"#);
    let spec: CampaignSpec = serde_json::from_str(&text).expect("a spec");
    let created_at = chrono::SubsecRound::trunc_subsecs(now, 6);
    let campaign = Campaign { id, spec, state: CampaignState::Open, created_at, closed_at: None };
    fixture.store.insert_campaign(&campaign, &models, "hash").await.expect("a campaign");
    Setting { campaign, models }
}

impl Setting {
    async fn items(&self, fixture: &mut Fixture, rater: RaterId, count: usize) -> Vec<DeskItem> {
        let now = fixture.tick();
        let store = fixture.store.clone();
        store.desk_items(&self.campaign, &self.models, rater, count, now, &mut fixture.rng).await.unwrap()
    }
}

async fn vote(fixture: &mut Fixture, item: &DeskItem, rater: RaterId, choice: Choice) {
    let created_at = fixture.tick();
    let id = domain::id::VoteId::new(created_at, fixture.rng.random());
    let vote = Vote { id, matchup_id: item.id, rater_id: rater, choice, created_at };
    fixture.store.cast_vote(&vote).await.expect("a vote");
}

async fn a_campaign_is_found_listed_and_closed_once(mut fixture: Fixture) {
    let Setting { campaign, models } = setting(&mut fixture, &["p"], "").await;
    let store = fixture.store.clone();
    assert_eq!(store.get_campaign(campaign.id).await.unwrap().as_ref(), Some(&campaign));
    assert_eq!(store.list_campaigns(10).await.unwrap(), std::slice::from_ref(&campaign));
    assert_eq!(store.campaign_models(campaign.id).await.unwrap(), {
        let mut sorted = models.clone();
        sorted.sort();
        sorted
    });
    assert!(store.is_campaign_owner(campaign.id, "hash").await.unwrap());
    assert!(!store.is_campaign_owner(campaign.id, "other").await.unwrap());
    let again = Campaign { id: CampaignId::new(fixture.now, [9; 10]), ..campaign.clone() };
    let refused = store.insert_campaign(&again, &models, "hash").await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::CampaignName))), "{refused:?}");

    let now = fixture.tick();
    for state in [CampaignState::Paused, CampaignState::Open, CampaignState::Closed, CampaignState::Closed] {
        store.set_campaign_state(campaign.id, state, now).await.unwrap();
        assert_eq!(store.get_campaign(campaign.id).await.unwrap().unwrap().state, state);
    }
    let refused = store.set_campaign_state(campaign.id, CampaignState::Open, now).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::CampaignClosed))), "{refused:?}");
    let missing = store.set_campaign_state(again.id, CampaignState::Open, now).await;
    assert!(matches!(missing, Err(StoreError::Missing("campaign"))), "{missing:?}");
}

async fn a_campaign_ends_by_its_votes_or_its_time(mut fixture: Fixture) {
    let end = (fixture.now + chrono::TimeDelta::hours(1)).to_rfc3339();
    let by_time = setting(&mut fixture, &["p", "q"], &format!(r#", "ends_at": "{end}""#)).await;
    let by_votes = setting(&mut fixture, &[], r#", "votes": 1"#).await;
    let store = fixture.store.clone();
    let state = |id| {
        let store = store.clone();
        async move { store.get_campaign(id).await.unwrap().unwrap().state }
    };
    store.close_ended_campaigns(fixture.now).await.unwrap();
    assert_eq!(state(by_time.campaign.id).await, CampaignState::Open);
    assert_eq!(state(by_votes.campaign.id).await, CampaignState::Open);
    let rater = fixture.rater().await;
    let item = by_votes.items(&mut fixture, rater, 1).await.remove(0);
    vote(&mut fixture, &item, rater, Choice::Tie).await;
    store.close_ended_campaigns(fixture.now).await.unwrap();
    assert_eq!(state(by_votes.campaign.id).await, CampaignState::Closed);
    assert_eq!(state(by_time.campaign.id).await, CampaignState::Open);
    let later = fixture.pass(Duration::from_secs(3600));
    store.close_ended_campaigns(later).await.unwrap();
    assert_eq!(state(by_time.campaign.id).await, CampaignState::Closed);
}

async fn items_go_to_their_raters_and_count_after_the_end(mut fixture: Fixture) {
    let setting =
        setting(&mut fixture, &["p", "q"], r#", "questions": ["overall", "appeal"], "raters_per_item": 2"#)
            .await;
    let store = fixture.store.clone();
    assert_eq!(store.count_items(&setting.campaign, &setting.models).await.unwrap(), 4);
    for expected in [4, 4, 0] {
        let rater = fixture.rater().await;
        let items = setting.items(&mut fixture, rater, 10).await;
        let distinct: BTreeSet<_> =
            items.iter().map(|item| (item.prompt.clone(), item.question.as_str())).collect();
        assert_eq!((items.len(), distinct.len()), (expected, expected));
        // The same again, in the same order.
        assert_eq!(setting.items(&mut fixture, rater, 10).await, items);
        for item in &items {
            assert_eq!(
                store.get_desk_item(setting.campaign.id, rater, item.id).await.unwrap().as_ref(),
                Some(item)
            );
            // Outside the campaign the pair is not known.
            assert_eq!(store.get_matchup(item.id).await.unwrap(), None);
            vote(&mut fixture, item, rater, Choice::Left).await;
        }
    }
    let counts = store.campaign_counts(setting.campaign.id).await.unwrap();
    assert_eq!((counts.votes, counts.raters), (8, 2));
    let tallies = store.campaign_tallies(setting.campaign.id, Question::Overall).await.unwrap();
    assert_eq!((tallies.len(), tallies[0].total()), (1, 4));
    assert_eq!(store.tallies(Question::Overall).await.unwrap(), []);
    assert_eq!(store.list_votes(10).await.unwrap(), []);
    assert_eq!(store.judged_votes(Question::Overall).await.unwrap(), []);
    assert_eq!(store.count_raters(Question::Overall).await.unwrap(), 0);
    let now = fixture.tick();
    store.set_campaign_state(setting.campaign.id, CampaignState::Closed, now).await.unwrap();
    assert_eq!(store.tallies(Question::Overall).await.unwrap(), tallies);
    assert_eq!(
        (store.list_votes(10).await.unwrap().len(), store.count_raters(Question::Overall).await.unwrap()),
        (8, 2)
    );
    assert_eq!(store.judged_votes(Question::Overall).await.unwrap().len(), 4);
}

async fn checks_come_at_their_turns_and_the_first_answer_counts(mut fixture: Fixture) {
    let mut setting = setting(&mut fixture, &["p", "q", "r"], r#", "repeat_every": 2"#).await;
    let (c, d) = (fixture.model("c").await, fixture.model("d").await);
    for prompt in ["x", "y"] {
        let (better, worse) =
            (fixture.evaluation_image(&c, prompt).await, fixture.evaluation_image(&d, prompt).await);
        setting.campaign.spec.gold.push(GoldPair { better: better.id, worse: worse.id });
    }
    setting.campaign.spec.exam = 2;
    let (store, rater) = (fixture.store.clone(), fixture.rater().await);
    let id = setting.campaign.id;
    let exam = setting.items(&mut fixture, rater, 5).await;
    assert_eq!(exam.len(), 2, "nothing follows before the exam is decided: {exam:?}");
    for item in &exam {
        let gold = &setting.campaign.spec.gold;
        let choice =
            if gold.iter().any(|pair| pair.better == item.left) { Choice::Left } else { Choice::Right };
        assert_eq!(item.kind, ItemKind::Check);
        let now = fixture.tick();
        assert!(store.answer_check(item.id, rater, Some(choice), now).await.unwrap());
        assert!(!store.answer_check(item.id, rater, None, now).await.unwrap());
    }
    let counts = store.check_counts(id, rater).await.unwrap();
    assert_eq!((counts.exam, counts.exam_answered, counts.exam_right), (2, 2, 2));
    let first = setting.items(&mut fixture, rater, 1).await.remove(0);
    assert_eq!(first.kind, ItemKind::Pair);
    vote(&mut fixture, &first, rater, Choice::Left).await;
    let repeat = setting.items(&mut fixture, rater, 1).await.remove(0);
    assert_eq!((repeat.kind, repeat.left, repeat.right), (ItemKind::Check, first.right, first.left));
    let now = fixture.tick();
    assert!(store.answer_check(repeat.id, rater, Some(Choice::Right), now).await.unwrap());
    let counts = store.check_counts(id, rater).await.unwrap();
    assert_eq!((counts.repeats_answered, counts.repeats_same, counts.others), (1, 1, 1));
    assert_eq!(store.count_answers(id, rater).await.unwrap(), 2);
    assert_eq!(store.campaign_counts(id).await.unwrap().votes, 1);
    let failed = fixture.rater().await;
    for item in setting.items(&mut fixture, failed, 5).await {
        let now = fixture.tick();
        store.answer_check(item.id, failed, Some(Choice::Tie), now).await.unwrap();
    }
    assert_eq!(setting.items(&mut fixture, failed, 5).await, []);
}

async fn answers_in_a_campaign_are_taken_back(mut fixture: Fixture) {
    let setting = setting(&mut fixture, &["p", "q"], r#", "repeat_every": 2"#).await;
    let (store, rater, id) = (fixture.store.clone(), fixture.rater().await, setting.campaign.id);
    let first = setting.items(&mut fixture, rater, 1).await.remove(0);
    vote(&mut fixture, &first, rater, Choice::Left).await;
    assert_eq!(store.last_answered(rater, Some(id)).await.unwrap(), Some(first.id));
    assert_eq!(store.last_answered(rater, None).await.unwrap(), None);
    let check = setting.items(&mut fixture, rater, 1).await.remove(0);
    let now = fixture.tick();
    store.answer_check(check.id, rater, Some(Choice::Right), now).await.unwrap();
    assert_eq!(store.last_answered(rater, Some(id)).await.unwrap(), Some(check.id));
    let refused = store.undo_answer(first.id, rater, Some(id), now).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::NotLastAnswer))), "{refused:?}");
    store.undo_answer(check.id, rater, Some(id), now).await.unwrap();
    assert_eq!(setting.items(&mut fixture, rater, 1).await, [check]);
    store.undo_answer(first.id, rater, Some(id), now).await.unwrap();
    assert_eq!(setting.items(&mut fixture, rater, 1).await, [first]);
    assert_eq!(store.count_undone_votes().await.unwrap(), 1);
}

async fn models_are_withheld_until_the_last_campaign_is_closed(mut fixture: Fixture) {
    let first = setting(&mut fixture, &["p"], "").await;
    let second = setting(&mut fixture, &["p"], "").await;
    let store = fixture.store.clone();
    let rater = fixture.rater().await;
    let now = fixture.tick();
    store.set_campaign_state(first.campaign.id, CampaignState::Closed, now).await.unwrap();
    assert_eq!(store.models_being_judged().await.unwrap(), first.models.iter().copied().collect());
    assert_eq!(fixture.next_matchup(rater, &[]).await, None);
    assert!(store.has_evaluation_of(first.models[0], "p").await.unwrap());
    assert!(!store.has_evaluation_of(first.models[0], "q").await.unwrap());
    let all = store::ImageFilter { without_judged: true, ..store::ImageFilter::default() };
    assert_eq!(store.list_images(&all, 10).await.unwrap(), []);
    store.set_campaign_state(second.campaign.id, CampaignState::Closed, now).await.unwrap();
    assert!(store.models_being_judged().await.unwrap().is_empty());
    assert_eq!(store.list_images(&all, 10).await.unwrap().len(), 2);
    assert!(fixture.next_matchup(rater, &[]).await.is_some());
}

async fn an_invitation_ends_and_is_revoked(mut fixture: Fixture) {
    let Setting { campaign, .. } = setting(&mut fixture, &["p"], "").await;
    let store = fixture.store.clone();
    let now = chrono::SubsecRound::trunc_subsecs(fixture.tick(), 6);
    let invitation = |n: u8, ends_at| Invitation {
        id: InvitationId::new(now, [n; 10]),
        label: format!("invitation {n}"),
        created_at: now,
        ends_at,
        revoked_at: None,
    };
    let (endless, short) = (invitation(1, None), invitation(2, Some(now + chrono::TimeDelta::minutes(1))));
    store.insert_invitation(campaign.id, &endless, "t1").await.unwrap();
    store.insert_invitation(campaign.id, &short, "t2").await.unwrap();
    assert_eq!(store.list_invitations(campaign.id).await.unwrap(), [short, endless.clone()]);
    assert_eq!(store.invited_to("t1", now).await.unwrap(), Some(campaign.id));
    assert_eq!(store.invited_to("t2", now).await.unwrap(), Some(campaign.id));
    let later = now + chrono::TimeDelta::minutes(1);
    assert_eq!(store.invited_to("t2", later).await.unwrap(), None);
    assert_eq!(store.invited_to("t3", now).await.unwrap(), None);
    store.revoke_invitation(campaign.id, endless.id, now).await.unwrap();
    store.revoke_invitation(campaign.id, endless.id, later).await.unwrap();
    assert_eq!(store.invited_to("t1", now).await.unwrap(), None);
    assert_eq!(store.list_invitations(campaign.id).await.unwrap()[1].revoked_at, Some(now));
    let missing = store.revoke_invitation(campaign.id, InvitationId::new(now, [3; 10]), now).await;
    assert!(matches!(missing, Err(StoreError::Missing(_))), "{missing:?}");
}

async fn a_rater_is_erased_from_one_campaign(mut fixture: Fixture) {
    let first = setting(&mut fixture, &["p", "q", "r"], r#", "repeat_every": 2, "raters_per_item": 2"#).await;
    let second = setting(&mut fixture, &[], "").await;
    let (store, rater, other) = (fixture.store.clone(), fixture.rater().await, fixture.rater().await);
    for (setting, rater) in [(&first, rater), (&second, rater), (&first, other)] {
        let now = fixture.tick();
        store.agree(setting.campaign.id, rater, Some("name"), now).await.unwrap();
        store.agree(setting.campaign.id, rater, Some("another"), now).await.unwrap();
        let item = setting.items(&mut fixture, rater, 1).await.remove(0);
        vote(&mut fixture, &item, rater, Choice::Left).await;
        let now = fixture.tick();
        store.undo_answer(item.id, rater, Some(setting.campaign.id), now).await.unwrap();
        vote(&mut fixture, &item, rater, Choice::Right).await;
    }
    let now = fixture.tick();
    let check = first.items(&mut fixture, rater, 1).await.remove(0);
    store.answer_check(check.id, rater, Some(Choice::Left), now).await.unwrap();
    let next = first.items(&mut fixture, rater, 1).await.remove(0);
    store.skip_matchup(next.id, rater, now).await.unwrap();
    assert_eq!(store.own_answers(first.campaign.id, rater).await.unwrap().len(), 1);
    store.erase_from_campaign(first.campaign.id, rater).await.unwrap();
    assert!(!store.has_agreed(first.campaign.id, rater).await.unwrap());
    assert!(store.has_agreed(second.campaign.id, rater).await.unwrap());
    assert_eq!(store.own_answers(first.campaign.id, rater).await.unwrap(), []);
    assert_eq!(store.count_votes(rater).await.unwrap(), 1);
    assert_eq!(store.count_undone_votes().await.unwrap(), 2);
    let left = store.campaign_raters(first.campaign.id).await.unwrap();
    assert_eq!(left.iter().map(|rater| (rater.rater, rater.votes)).collect::<Vec<_>>(), [(other, 1)]);
    assert_eq!(left[0].external_id.as_deref(), Some("name"));
}

//! Sets of three or four images at a campaign's desk: drawn, and answered by picking the best or by an order. The pairs that an
//! answer decides are stored as matchups with votes, for all that counts pairs.

use crate::campaign_desk::{DeskItem, ItemKind};
use crate::campaign_lock::require_open;
use crate::db::{Store, in_transaction, micros, parsed, with_db, write_db};
use crate::error::{Conflict, StoreError};
use domain::Timestamp;
use domain::campaign::Campaign;
use domain::id::{CampaignId, ContestantId, ImageId, MatchupId, ModelId, RaterId, VoteId};
use domain::preference::{Choice, Question};
use domain::sets::{decided_pairs, sets_of};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// A set as an item: a question, and the images in the order of their ids.
type Set = (Question, Vec<ImageId>);

/// An order of the images of several contestants, with what ratings depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatedRanking {
    /// The rater.
    pub rater: RaterId,
    /// The prompt of all images.
    pub prompt: String,
    /// The contestants in the order in which their images were shown.
    pub shown: Vec<ContestantId>,
    /// Places in `shown` from 0, the best first: one, or more, up to all.
    pub order: Vec<usize>,
}

/// The images of a set in the order in which they are shown.
pub(crate) fn images_of(item: &DeskItem) -> Vec<ImageId> {
    [item.left, item.right].into_iter().chain(item.more.iter().copied()).collect()
}

fn set_of(question: Question, mut images: Vec<ImageId>) -> Set {
    images.sort_unstable();
    (question, images)
}

fn places_of(text: &str) -> Result<Vec<u8>, String> {
    text.split(',').map(|place| place.parse().map_err(|_| format!("{text:?} is no order"))).collect()
}

impl Store {
    /// Every set of a campaign that asks for the best of four.
    pub(crate) async fn campaign_sets(
        &self,
        campaign: &Campaign,
        models: &[ModelId],
    ) -> Result<Vec<Set>, StoreError> {
        let mut by_params: BTreeMap<String, Vec<ImageId>> = BTreeMap::new();
        for &model in models {
            let mut seen = HashSet::new();
            for candidate in self.candidates_of(model, &campaign.spec.prompts).await? {
                // Of several images of a model with the same parameters, the first one counts.
                if seen.insert(candidate.params.clone()) {
                    by_params.entry(candidate.params).or_default().push(candidate.image);
                }
            }
        }
        let mut sets = Vec::new();
        for (params, images) in by_params {
            for images in sets_of(&params, images) {
                sets.extend(campaign.spec.questions.iter().map(|&question| set_of(question, images.clone())));
            }
        }
        Ok(sets)
    }

    /// Draws one of the sets with the fewest answers that the rater has not got, at random, and the order of its images; none
    /// if there is none.
    pub(crate) async fn draw_set<R: Rng>(
        &self,
        campaign: &Campaign,
        models: &[ModelId],
        rater: RaterId,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<DeskItem>, StoreError> {
        let got: HashSet<Set> = self.drawn_sets(campaign.id, Some(rater)).await?.into_keys().collect();
        let answers = self.drawn_sets(campaign.id, None).await?;
        let answers = |set: &Set| answers.get(set).copied().unwrap_or(0);
        let mut left = self.campaign_sets(campaign, models).await?;
        left.retain(|set| answers(set) < i64::from(campaign.spec.raters_per_item) && !got.contains(set));
        let least = left.iter().map(answers).min();
        left.retain(|set| Some(answers(set)) == least);
        let Some((question, mut images)) = left.choose(rng).cloned() else { return Ok(None) };
        images.shuffle(rng);
        let [first, second, more @ ..] = &images[..] else { return Ok(None) };
        let image = self.get_image(*first).await?.ok_or(StoreError::Missing("image"))?;
        let item = DeskItem {
            id: MatchupId::new(now, rng.random()),
            prompt: image.params.prompt,
            question,
            left: *first,
            right: *second,
            more: more.to_vec(),
            kind: ItemKind::Set,
        };
        self.insert_set(campaign.id, rater, &item, now).await?;
        Ok(Some(item))
    }

    async fn insert_set(
        &self,
        campaign: CampaignId,
        rater: RaterId,
        item: &DeskItem,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        write_db!(self, pool => sqlx::query(
            "INSERT INTO rankings (id, campaign_id, rater_id, prompt, question, first_image, second_image, third_image, \
             fourth_image, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
            .bind(item.id.0)
            .bind(campaign.0)
            .bind(rater.0)
            .bind(&item.prompt)
            .bind(item.question.as_str())
            .bind(item.left.0)
            .bind(item.right.0)
            .bind(item.more.first().map(|image| image.0))
            .bind(item.more.get(1).map(|image| image.0))
            .bind(micros(now))
            .execute(pool)
            .await
            .map(drop)?);
        Ok(())
    }

    /// The sets that were drawn, with their answers: of one rater, or those of all that are answered.
    async fn drawn_sets(
        &self,
        campaign: CampaignId,
        rater: Option<RaterId>,
    ) -> Result<HashMap<Set, i64>, StoreError> {
        let rows: Vec<(String, Uuid, Uuid, Uuid, Option<Uuid>, i64)> = with_db!(self, pool => match rater {
            Some(rater) => sqlx::query_as(
                "SELECT question, first_image, second_image, third_image, fourth_image, CAST(1 AS BIGINT) FROM rankings \
                 WHERE campaign_id = $1 AND rater_id = $2")
                .bind(campaign.0)
                .bind(rater.0)
                .fetch_all(pool)
                .await?,
            None => sqlx::query_as(
                "SELECT question, first_image, second_image, third_image, fourth_image, COUNT(*) FROM rankings \
                 WHERE campaign_id = $1 AND places IS NOT NULL \
                 GROUP BY question, first_image, second_image, third_image, fourth_image")
                .bind(campaign.0)
                .fetch_all(pool)
                .await?,
        });
        let mut sets = HashMap::new();
        for (question, first, second, third, fourth, count) in rows {
            let question = parsed(question.parse(), "rankings", "question", campaign)?;
            let images = [Some(first), Some(second), Some(third), fourth].into_iter().flatten();
            *sets.entry(set_of(question, images.map(ImageId).collect())).or_insert(0) += count;
        }
        Ok(sets)
    }

    /// Answers a set: by the numbers of its images from 1, the best first, or by skipping it without any. The first answer
    /// counts. Each pair that the order decides becomes a vote.
    ///
    /// # Errors
    /// Fails with `Missing` if the set was not drawn for this rater; with `Conflict::AlreadyVoted`; with
    /// `Conflict::CampaignNotOpen`.
    pub async fn answer_set<R: Rng>(
        &self,
        campaign: CampaignId,
        rater: RaterId,
        item: &DeskItem,
        order: &[u8],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<(), StoreError> {
        let images = images_of(item);
        let count = u8::try_from(images.len()).unwrap_or(u8::MAX);
        let places: Vec<String> = order.iter().map(u8::to_string).collect();
        let places = (!order.is_empty()).then(|| places.join(","));
        // Drawn before: the transaction holds the connection that writes.
        let mut votes: Vec<(Uuid, Uuid, ImageId, ImageId, Choice)> = Vec::new();
        for (better, worse) in decided_pairs(order, count) {
            let (left, right) = (better.min(worse), better.max(worse));
            let at = |place: u8| {
                images.get(usize::from(place) - 1).copied().ok_or(StoreError::Missing("image of the set"))
            };
            let choice = if better == left { Choice::Left } else { Choice::Right };
            let ids = (MatchupId::new(now, rng.random()).0, VoteId::new(now, rng.random()).0);
            votes.push((ids.0, ids.1, at(left)?, at(right)?, choice));
        }
        in_transaction!(self, tx => {
            require_open!(tx, campaign.0);
            let answered = sqlx::query(
                "UPDATE rankings SET places = $4, answered_at = $5 \
                 WHERE id = $1 AND campaign_id = $2 AND rater_id = $3 AND answered_at IS NULL")
                .bind(item.id.0)
                .bind(campaign.0)
                .bind(rater.0)
                .bind(&places)
                .bind(micros(now))
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if answered == 0 {
                return Err(Conflict::AlreadyVoted.into());
            }
            for (new, vote, left, right, choice) in &votes {
                // An answer that was taken back has left matchups.
                let known: Option<Uuid> = sqlx::query_scalar(
                    "SELECT id FROM matchups WHERE ranking_id = $1 AND left_image = $2 AND right_image = $3")
                    .bind(item.id.0)
                    .bind(left.0)
                    .bind(right.0)
                    .fetch_optional(&mut *tx)
                    .await?;
                if known.is_none() {
                    sqlx::query(
                        "INSERT INTO matchups (id, prompt, question, left_image, right_image, rater_id, campaign_id, ranking_id, \
                         created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
                        .bind(*new)
                        .bind(&item.prompt)
                        .bind(item.question.as_str())
                        .bind(left.0)
                        .bind(right.0)
                        .bind(rater.0)
                        .bind(campaign.0)
                        .bind(item.id.0)
                        .bind(micros(now))
                        .execute(&mut *tx)
                        .await?;
                }
                sqlx::query("INSERT INTO votes (id, matchup_id, rater_id, choice, created_at) VALUES ($1, $2, $3, $4, $5)")
                    .bind(*vote)
                    .bind(known.unwrap_or(*new))
                    .bind(rater.0)
                    .bind(choice.as_str())
                    .bind(micros(now))
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    /// The newest orders of closed campaigns on a question, oldest first: what ratings read in place of the votes that stand for
    /// them.
    pub async fn rated_rankings(
        &self,
        question: Question,
        at_most: u32,
    ) -> Result<Vec<RatedRanking>, StoreError> {
        type Row = (Uuid, Uuid, String, Uuid, Uuid, Uuid, Option<Uuid>, String);
        let rows: Vec<Row> = with_db!(self, pool => sqlx::query_as(
            "SELECT k.id, k.rater_id, k.prompt, COALESCE(a.contestant_id, a.model_id), COALESCE(b.contestant_id, b.model_id), \
             COALESCE(c.contestant_id, c.model_id), COALESCE(d.contestant_id, d.model_id), k.places \
             FROM rankings k JOIN images a ON a.id = k.first_image JOIN images b ON b.id = k.second_image \
             JOIN images c ON c.id = k.third_image LEFT JOIN images d ON d.id = k.fourth_image \
             WHERE k.question = $1 AND k.places IS NOT NULL \
             AND k.campaign_id IN (SELECT id FROM campaigns WHERE state = 'closed') \
             ORDER BY k.id DESC LIMIT $2")
            .bind(question.as_str())
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        let ranking = |(id, rater, prompt, a, b, c, d, places): Row| {
            let places = parsed(places_of(&places), "rankings", "places", id)?;
            let shown = [Some(a), Some(b), Some(c), d].into_iter().flatten();
            Ok(RatedRanking {
                rater: RaterId(rater),
                prompt,
                shown: shown.map(ContestantId).collect(),
                order: places.into_iter().map(|place| usize::from(place).saturating_sub(1)).collect(),
            })
        };
        rows.into_iter().rev().map(ranking).collect()
    }
}

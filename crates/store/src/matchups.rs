//! Matchups: requested by a user, or drawn by [`domain::matchmaking`].

use crate::db::{Store, micros, parsed, with_db, write_db};
use crate::error::StoreError;
use crate::images::params_sha256;
use chrono::TimeDelta;
use domain::Timestamp;
use domain::id::{CampaignId, ImageId, MatchupId, ModelId, RaterId};
use domain::image::GenerationParams;
use domain::matchmaking::{
    Candidate, Draw, DrawOrder, Sides, Variant, comparable_pairs, draw_sides, order_pairs_by, shared_prompt,
    variant_pairs,
};
use domain::preference::{Matchup, Question};
use domain::ranking::Tally;
use rand::Rng;
use rand::seq::SliceRandom;
use std::collections::HashSet;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct MatchupRow {
    id: Uuid,
    prompt: String,
    question: String,
    left_image: Uuid,
    right_image: Uuid,
    rater_id: Option<Uuid>,
    created_at: Timestamp,
}

impl TryFrom<MatchupRow> for Matchup {
    type Error = StoreError;
    fn try_from(row: MatchupRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: MatchupId(row.id),
            prompt: row.prompt,
            question: parsed(row.question.parse(), "matchups", "question", row.id)?,
            left: ImageId(row.left_image),
            right: ImageId(row.right_image),
            rater_id: row.rater_id.map(RaterId),
            created_at: row.created_at,
        })
    }
}

impl Store {
    /// Inserts a matchup of two images that every rater may judge. The sides are drawn at random.
    ///
    /// # Errors
    /// Fails with `Invalid` if the images do not exist, have different prompts, or are the same image.
    pub async fn create_matchup<R: Rng>(
        &self,
        image_a: ImageId,
        image_b: ImageId,
        question: Question,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Matchup, StoreError> {
        let id = MatchupId::new(now, rng.random());
        let swap = rng.random();
        let (a, b) = (self.get_image(image_a).await?, self.get_image(image_b).await?);
        let prompt = shared_prompt(a.as_ref(), b.as_ref())?;
        let (left, right) = if swap { (image_b, image_a) } else { (image_a, image_b) };
        let matchup = Matchup { id, prompt, question, left, right, rater_id: None, created_at: micros(now) };
        self.insert_matchup(&matchup, None).await?;
        Ok(matchup)
    }

    /// Looks up a matchup outside campaigns.
    pub async fn get_matchup(&self, id: MatchupId) -> Result<Option<Matchup>, StoreError> {
        let row: Option<MatchupRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT id, prompt, question, left_image, right_image, rater_id, created_at FROM matchups \
             WHERE id = $1 AND campaign_id IS NULL")
            .bind(id.0)
            .fetch_optional(pool)
            .await?);
        row.map(Matchup::try_from).transpose()
    }

    /// Names of the left and the right model, each with its adapters. They must not be sent before the rater has voted.
    pub async fn matchup_model_names(&self, id: MatchupId) -> Result<Option<(String, String)>, StoreError> {
        let row: Option<(String, Option<Uuid>, String, Option<Uuid>)> = with_db!(self, pool => sqlx::query_as(
            "SELECT a.name, l.contestant_id, b.name, r.contestant_id FROM matchups m \
             JOIN images l ON l.id = m.left_image JOIN models a ON a.id = l.model_id \
             JOIN images r ON r.id = m.right_image JOIN models b ON b.id = r.model_id WHERE m.id = $1")
            .bind(id.0)
            .fetch_optional(pool)
            .await?);
        let names = self.contestant_names().await?;
        Ok(row.map(|(a, left, b, right)| (names.of(a, left), names.of(b, right))))
    }

    /// The next matchup of a rater: an open one drawn for the rater, else an open one that a user requested, else a
    /// new one; none if nothing is left to judge. Matchups of other questions do not count. `only`, without
    /// repetitions: restricts both models of the matchup to these, unless it is empty. One model alone gives matchups of
    /// its images with each other, which are drawn in no other way. The rater need not have a row: a vote inserts it.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn next_matchup<R: Rng>(
        &self,
        rater: RaterId,
        question: Question,
        only: &[ModelId],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<Matchup>, StoreError> {
        let order = DrawOrder::FewestVotes;
        Ok(self.upcoming_matchups(&order, rater, question, only, 1, now, rng).await?.pop())
    }

    /// The next matchups of a rater, at most `count`, in the order in which they are to be judged: the first is the one of
    /// [`Store::next_matchup`], and the others are known early so that their images can be loaded early. The models of new
    /// ones are drawn in the given order, which is recorded with them.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a draw depends on; a struct would be used here alone"
    )]
    pub async fn upcoming_matchups<R: Rng>(
        &self,
        order: &DrawOrder,
        rater: RaterId,
        question: Question,
        only: &[ModelId],
        count: usize,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Vec<Matchup>, StoreError> {
        let mut matchups = self.open_matchups(rater, question, only, count).await?;
        while matchups.len() < count {
            // Ids in the order of the draws: they decide the order in which the matchups are shown.
            let now = now + TimeDelta::microseconds(i64::try_from(matchups.len()).unwrap_or(0));
            match self.draw_matchup(order, rater, question, only, now, rng).await? {
                Some(matchup) => matchups.push(matchup),
                None => break,
            }
        }
        Ok(matchups)
    }

    /// Matchups that exist and that the rater has neither judged nor skipped, at most `count`.
    async fn open_matchups(
        &self,
        rater: RaterId,
        question: Question,
        only: &[ModelId],
        count: usize,
    ) -> Result<Vec<Matchup>, StoreError> {
        // Matchups drawn for the rater come first, then those for every rater, each in order of creation. A rater who
        // leaves the matchups of one model does not get the open one elsewhere; a requested one is shown to everyone.
        // A condition in brackets is no search in an index: without statistics, SQLite would search all matchups outside campaigns
        // instead of the rater's.
        let rows: Vec<(Uuid, Uuid, Uuid)> = with_db!(self, pool => sqlx::query_as(
            "SELECT m.id, COALESCE(l.contestant_id, l.model_id), COALESCE(r.contestant_id, r.model_id) \
             FROM matchups m JOIN images l ON l.id = m.left_image JOIN images r ON r.id = m.right_image \
             WHERE (m.rater_id IS NULL OR (m.rater_id = $1 AND (l.model_id = r.model_id) = $4)) AND m.question = $3 \
             AND (m.campaign_id IS NULL) = TRUE \
             AND NOT EXISTS (SELECT 1 FROM campaign_models cm JOIN campaigns c ON c.id = cm.campaign_id \
             WHERE c.state <> 'closed' AND (cm.model_id = l.model_id OR cm.model_id = r.model_id)) \
             AND NOT EXISTS (SELECT 1 FROM votes v WHERE v.matchup_id = m.id AND v.rater_id = $1) \
             AND NOT EXISTS (SELECT 1 FROM skips s WHERE s.matchup_id = m.id AND s.rater_id = $1) \
             ORDER BY CASE WHEN m.rater_id IS NULL THEN 1 ELSE 0 END, m.id LIMIT $2")
            .bind(rater.0)
            .bind(if only.is_empty() { i64::try_from(count).unwrap_or(i64::MAX) } else { i64::MAX })
            .bind(question.as_str())
            .bind(only.len() == 1)
            .fetch_all(pool)
            .await?);
        let listed = |model: Uuid| only.contains(&ModelId(model));
        let wanted = |&(_, left, right): &(Uuid, Uuid, Uuid)| {
            only.is_empty() || (listed(left) && listed(right) && (left == right) == (only.len() == 1))
        };
        let mut matchups = Vec::new();
        for (id, ..) in rows.into_iter().filter(wanted).take(count) {
            matchups.extend(self.get_matchup(MatchupId(id)).await?);
        }
        Ok(matchups)
    }

    /// Draws and inserts a new matchup. The images of one pair of models are read at a time, never those of all
    /// models.
    async fn draw_matchup<R: Rng>(
        &self,
        order: &DrawOrder,
        rater: RaterId,
        question: Question,
        only: &[ModelId],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<Matchup>, StoreError> {
        let judged = self.judged_images(rater, question).await?;
        let drawn = self.draw_images(order, question, only, &judged, rng).await?;
        let Some((Sides { left, right }, draw)) = drawn else {
            return Ok(None);
        };
        let image = self.get_image(left).await?.ok_or(StoreError::Missing("image"))?;
        let matchup = Matchup {
            id: MatchupId::new(now, rng.random()),
            prompt: image.params.prompt,
            question,
            left,
            right,
            rater_id: Some(rater),
            created_at: micros(now),
        };
        self.insert_matchup(&matchup, None).await?;
        if let Some(draw) = draw {
            self.insert_draw(matchup.id, draw).await?;
        }
        Ok(Some(matchup))
    }

    /// Two images that the rater has not judged, and their sides.
    async fn draw_images<R: Rng>(
        &self,
        order: &DrawOrder,
        question: Question,
        only: &[ModelId],
        judged: &HashSet<(ImageId, ImageId)>,
        rng: &mut R,
    ) -> Result<Option<(Sides, Option<Draw>)>, StoreError> {
        // Their images are judged in campaigns, and shown nowhere else.
        let elsewhere = self.models_being_judged().await?;
        if let [model] = only {
            if elsewhere.contains(model) {
                return Ok(None);
            }
            let pairs = variant_pairs(&self.variants(*model).await?);
            return Ok(draw_sides(pairs, judged, |n| rng.random_range(0..n)).map(|sides| (sides, None)));
        }
        let tallies: Vec<Tally> = self.tallies(question).await?.into_iter().map(Tally::from).collect();
        let mut pairs = self.comparable_models().await?;
        pairs.retain(|(a, b)| !elsewhere.contains(a) && !elsewhere.contains(b));
        let ordered = order_pairs_by(order, pairs, only, &tallies, |pairs| pairs.shuffle(rng));
        for &(a, b) in &ordered {
            let pairs = comparable_pairs(&self.candidates(a).await?, &self.candidates(b).await?);
            if let Some(sides) = draw_sides(pairs, judged, |n| rng.random_range(0..n)) {
                return Ok(Some((sides, order.draw(&ordered, (a, b)))));
            }
        }
        Ok(None)
    }

    /// Number of pairs of evaluation images that can be judged: of two models, or of one model's images with each
    /// other. 0 for any other number of models.
    pub async fn count_comparable(&self, models: &[ModelId]) -> Result<usize, StoreError> {
        Ok(match models {
            [model] => variant_pairs(&self.variants(*model).await?).len(),
            [a, b] => comparable_pairs(&self.candidates(*a).await?, &self.candidates(*b).await?).len(),
            _ => 0,
        })
    }

    /// Pairs of models with comparable images, each with the smaller id first.
    async fn comparable_models(&self) -> Result<Vec<(ModelId, ModelId)>, StoreError> {
        let rows: Vec<(Uuid, Uuid)> = with_db!(self, pool =>
            sqlx::query_as("SELECT model_a, model_b FROM comparable_models ORDER BY model_a, model_b")
                .fetch_all(pool)
                .await?);
        Ok(rows.into_iter().map(|(a, b)| (ModelId(a), ModelId(b))).collect())
    }

    /// The evaluation images of a model. They are joined with another model's by the caller, because a query planner
    /// without statistics (of a table just filled) may compare every image with every other.
    async fn candidates(&self, model: ModelId) -> Result<Vec<Candidate>, StoreError> {
        let rows: Vec<(String, Uuid)> = with_db!(self, pool => sqlx::query_as(
            "SELECT params_sha256, id FROM images WHERE model_id = $1 AND purpose = 'evaluation' \
             ORDER BY params_sha256, id")
            .bind(model.0)
            .fetch_all(pool)
            .await?);
        Ok(rows.into_iter().map(|(params, id)| Candidate { params, image: ImageId(id) }).collect())
    }

    /// The evaluation images of a model, to be compared with each other.
    async fn variants(&self, model: ModelId) -> Result<Vec<Variant>, StoreError> {
        let images = self.list_evaluation_images(model, u32::MAX).await?;
        images
            .into_iter()
            .map(|image| {
                let params = GenerationParams { seed: 0, ..image.params };
                Ok(Variant { settings: params_sha256(&params)?, seed: image.params.seed, image: image.id })
            })
            .collect()
    }

    /// Left and right images of every matchup of the question that the rater has judged, or that was drawn for the rater.
    async fn judged_images(
        &self,
        rater: RaterId,
        question: Question,
    ) -> Result<HashSet<(ImageId, ImageId)>, StoreError> {
        let rows: Vec<(Uuid, Uuid)> = with_db!(self, pool => sqlx::query_as(
            "SELECT m.left_image, m.right_image FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE v.rater_id = $1 AND m.question = $2 \
             UNION SELECT left_image, right_image FROM matchups WHERE rater_id = $1 AND question = $2")
            .bind(rater.0)
            .bind(question.as_str())
            .fetch_all(pool)
            .await?);
        Ok(rows.into_iter().map(|(left, right)| (ImageId(left), ImageId(right))).collect())
    }

    /// How the models of a matchup were drawn; none if by the number of votes, or if a user asked for it.
    pub async fn draw_of_matchup(&self, id: MatchupId) -> Result<Option<Draw>, StoreError> {
        let row: Option<(String, f64)> = with_db!(self, pool =>
            sqlx::query_as("SELECT way, propensity FROM draws WHERE matchup_id = $1")
                .bind(id.0)
                .fetch_optional(pool)
                .await?);
        Ok(row.map(|(way, propensity)| Draw { is_even: way == "even", propensity }))
    }

    async fn insert_draw(&self, id: MatchupId, draw: Draw) -> Result<(), StoreError> {
        write_db!(self, pool => sqlx::query("INSERT INTO draws (matchup_id, way, propensity) VALUES ($1, $2, $3)")
            .bind(id.0)
            .bind(if draw.is_even { "even" } else { "informative" })
            .bind(draw.propensity)
            .execute(pool)
            .await
            .map(drop)?);
        Ok(())
    }

    /// Inserts a matchup of a campaign, or of none.
    pub(crate) async fn insert_matchup(
        &self,
        matchup: &Matchup,
        campaign: Option<CampaignId>,
    ) -> Result<(), StoreError> {
        write_db!(self, pool => sqlx::query(
            "INSERT INTO matchups (id, prompt, question, left_image, right_image, rater_id, created_at, campaign_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(matchup.id.0)
            .bind(&matchup.prompt)
            .bind(matchup.question.as_str())
            .bind(matchup.left.0)
            .bind(matchup.right.0)
            .bind(matchup.rater_id.map(|id| id.0))
            .bind(micros(matchup.created_at))
            .bind(campaign.map(|id| id.0))
            .execute(pool)
            .await
            .map(drop)?);
        Ok(())
    }
}

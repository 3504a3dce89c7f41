//! Two images for a rater to judge: asked for by somebody, or drawn where votes are fewest.

use crate::db::{Store, micros, read, with_db};
use crate::error::{StoreError, missing};
use domain::Timestamp;
use domain::id::{ImageId, MatchupId, ModelId, RaterId};
use domain::image::Image;
use domain::preference::{Matchup, Question};
use domain::problem::Problems;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::collections::{HashMap, HashSet};
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
            question: read(row.question.parse(), "matchups", "question", row.id)?,
            left: ImageId(row.left_image),
            right: ImageId(row.right_image),
            rater_id: row.rater_id.map(RaterId),
            created_at: row.created_at,
        })
    }
}

impl Store {
    /// Makes a matchup that anybody may judge; the generator decides who is on the left.
    ///
    /// # Errors
    /// `Invalid` if the images are unknown, of different prompts, or not of two models.
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
        self.insert_matchup(&matchup).await?;
        Ok(matchup)
    }

    /// One matchup.
    ///
    /// # Errors
    /// The database's.
    pub async fn get_matchup(&self, id: MatchupId) -> Result<Option<Matchup>, StoreError> {
        let row: Option<MatchupRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT id, prompt, question, left_image, right_image, rater_id, created_at FROM matchups WHERE id = $1")
            .bind(id.0)
            .fetch_optional(pool)
            .await?);
        row.map(Matchup::try_from).transpose()
    }

    /// The names of the left and the right model: for the answer to a vote, never before.
    ///
    /// # Errors
    /// The database's.
    pub async fn matchup_model_names(&self, id: MatchupId) -> Result<Option<(String, String)>, StoreError> {
        Ok(with_db!(self, pool => sqlx::query_as(
            "SELECT a.name, b.name FROM matchups m \
             JOIN images l ON l.id = m.left_image JOIN models a ON a.id = l.model_id \
             JOIN images r ON r.id = m.right_image JOIN models b ON b.id = r.model_id WHERE m.id = $1")
            .bind(id.0)
            .fetch_optional(pool)
            .await?))
    }

    /// What a rater judges next: a matchup drawn for them before and not judged; else one that somebody asked for; else
    /// a new one, of two models with the fewest votes against each other and a prompt at random. None when there is
    /// nothing left. All that was asked with other questions is as if it were not there. `only` restricts it to matchups
    /// between these models; empty does not.
    ///
    /// # Errors
    /// `Missing` if the rater is.
    pub async fn next_matchup<R: Rng>(
        &self,
        rater: RaterId,
        question: Question,
        only: &[ModelId],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<Matchup>, StoreError> {
        match self.waiting_matchup(rater, question, only).await? {
            Some(matchup) => Ok(Some(matchup)),
            None => self.draw_matchup(rater, question, only, now, rng).await,
        }
    }

    async fn waiting_matchup(
        &self,
        rater: RaterId,
        question: Question,
        only: &[ModelId],
    ) -> Result<Option<Matchup>, StoreError> {
        // Those drawn for the rater come first, then those for anybody, each in the order they were made.
        let rows: Vec<(Uuid, Uuid, Uuid)> = with_db!(self, pool => sqlx::query_as(
            "SELECT m.id, l.model_id, r.model_id \
             FROM matchups m JOIN images l ON l.id = m.left_image JOIN images r ON r.id = m.right_image \
             WHERE (m.rater_id = $1 OR m.rater_id IS NULL) AND m.question = $3 \
             AND NOT EXISTS (SELECT 1 FROM votes v WHERE v.matchup_id = m.id AND v.rater_id = $1) \
             ORDER BY CASE WHEN m.rater_id IS NULL THEN 1 ELSE 0 END, m.id LIMIT $2")
            .bind(rater.0)
            .bind(if only.is_empty() { 1_i64 } else { i64::MAX })
            .bind(question.as_str())
            .fetch_all(pool)
            .await?);
        let wanted = |model: Uuid| only.is_empty() || only.contains(&ModelId(model));
        match rows.into_iter().find(|&(_, left, right)| wanted(left) && wanted(right)) {
            Some((id, ..)) => self.get_matchup(MatchupId(id)).await,
            None => Ok(None),
        }
    }

    async fn draw_matchup<R: Rng>(
        &self,
        rater: RaterId,
        question: Question,
        only: &[ModelId],
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<Matchup>, StoreError> {
        let judged = self.judged_images(rater, question).await?;
        for (model_a, model_b) in self.pairs_by_votes(question, only, rng).await? {
            // The two models first, then the prompt: this reads two models' images, never all with all. They are
            // joined here because a planner without statistics (a table just filled) may compare each with each.
            let mut of_b: HashMap<String, Vec<Uuid>> = HashMap::new();
            for (params, b) in self.evaluation_params(model_b).await? {
                of_b.entry(params).or_default().push(b);
            }
            let of_a = self.evaluation_params(model_a).await?;
            let pairs =
                of_a.iter().flat_map(|(params, a)| of_b.get(params).into_iter().flatten().map(|b| (*a, *b)));
            let choices: Vec<(Uuid, Uuid)> =
                pairs.filter(|&(a, b)| !judged.contains(&(a, b)) && !judged.contains(&(b, a))).collect();
            let Some(&(a, b)) = choices.choose(rng) else { continue };
            let (left, right) =
                if rng.random() { (ImageId(a), ImageId(b)) } else { (ImageId(b), ImageId(a)) };
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
            self.insert_matchup(&matchup).await?;
            return Ok(Some(matchup));
        }
        Ok(None)
    }

    /// What a model has imaged for evaluation: params (as their hash) and image.
    async fn evaluation_params(&self, model: ModelId) -> Result<Vec<(String, Uuid)>, StoreError> {
        Ok(with_db!(self, pool => sqlx::query_as(
            "SELECT params_sha256, id FROM images WHERE model_id = $1 AND purpose = 'evaluation' \
             ORDER BY params_sha256, id")
            .bind(model.0)
            .fetch_all(pool)
            .await?))
    }

    /// Left and right images of everything a rater has judged by a question.
    async fn judged_images(
        &self,
        rater: RaterId,
        question: Question,
    ) -> Result<HashSet<(Uuid, Uuid)>, StoreError> {
        let rows: Vec<(Uuid, Uuid)> = with_db!(self, pool => sqlx::query_as(
            "SELECT m.left_image, m.right_image FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE v.rater_id = $1 AND m.question = $2")
            .bind(rater.0)
            .bind(question.as_str())
            .fetch_all(pool)
            .await?);
        Ok(rows.into_iter().collect())
    }

    /// Pairs of models with comparable images, fewest votes first, in random order among equals.
    async fn pairs_by_votes<R: Rng>(
        &self,
        question: Question,
        only: &[ModelId],
        rng: &mut R,
    ) -> Result<Vec<(ModelId, ModelId)>, StoreError> {
        let rows: Vec<(Uuid, Uuid)> = with_db!(self, pool =>
            sqlx::query_as("SELECT model_a, model_b FROM comparable_models ORDER BY model_a, model_b")
                .fetch_all(pool)
                .await?);
        let wanted = |model: &ModelId| only.is_empty() || only.contains(model);
        let mut pairs: Vec<_> = rows
            .into_iter()
            .map(|(a, b)| (ModelId(a), ModelId(b)))
            .filter(|(a, b)| wanted(a) && wanted(b))
            .collect();
        let tallies = self.tallies(question).await?;
        let votes: HashMap<_, _> = tallies.iter().map(|pair| ((pair.a, pair.b), pair.total())).collect();
        pairs.shuffle(rng);
        pairs.sort_by_key(|pair| votes.get(pair).copied().unwrap_or(0));
        Ok(pairs)
    }

    async fn insert_matchup(&self, matchup: &Matchup) -> Result<(), StoreError> {
        with_db!(self, pool => sqlx::query(
            "INSERT INTO matchups (id, prompt, question, left_image, right_image, rater_id, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(matchup.id.0)
            .bind(&matchup.prompt)
            .bind(matchup.question.as_str())
            .bind(matchup.left.0)
            .bind(matchup.right.0)
            .bind(matchup.rater_id.map(|id| id.0))
            .bind(micros(matchup.created_at))
            .execute(pool)
            .await
            .map(drop)
            .map_err(|e| missing(e, "rater"))?);
        Ok(())
    }
}

/// The prompt of two images that may be judged against each other.
fn shared_prompt(a: Option<&Image>, b: Option<&Image>) -> Result<String, StoreError> {
    let mut problems = Problems::default();
    problems.require(a.is_some(), "image_a", "there is no such image");
    problems.require(b.is_some(), "image_b", "there is no such image");
    if let (Some(a), Some(b)) = (a, b) {
        problems.require(
            a.model_id.is_some(),
            "image_a",
            "no model made it: use a generated or evaluation image",
        );
        problems.require(
            b.model_id.is_some(),
            "image_b",
            "no model made it: use a generated or evaluation image",
        );
        problems.require(
            a.model_id.is_none() || a.model_id != b.model_id,
            "image_b",
            "is by the same model as image_a: use one by another model",
        );
        problems.require(
            a.params.prompt == b.params.prompt,
            "image_b",
            "has another prompt than image_a: use one of the same prompt",
        );
        problems.into_result()?;
        return Ok(a.params.prompt.clone());
    }
    Err(problems.into())
}

//! Records of images, and their scores. The PNG files are in the artifact store.

use crate::contestants::{contestant_lora, lora_text};
use crate::db::{Store, in_transaction, micros, parsed, with_db};
use crate::error::{StoreError, missing};
use crate::jobs::{Claim, require_lease};
use domain::Timestamp;
use domain::evaluate::{Metric, ModelScore};
use domain::id::{ImageId, ModelId, RunId};
use domain::image::{GenerationParams, Image, Purpose};
use domain::limits::MAX_SEED;
use domain::problem::Problems;
use sqlx::QueryBuilder;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Which images to list. `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageFilter {
    /// Only images by this model.
    pub model_id: Option<ModelId>,
    /// Only samples of this run.
    pub run_id: Option<RunId>,
    /// Only images of this purpose.
    pub purpose: Option<Purpose>,
    /// Only images whose prompt contains this text, ignoring the case of ASCII letters.
    pub prompt_contains: Option<String>,
    /// Only images older than this one, the last of the previous page.
    pub before: Option<ImageId>,
    /// Leave out what could tell raters which model made an image that they judge: images by a model of a campaign that is not
    /// closed, of a prompt that the model has an evaluation image of.
    pub without_judged: bool,
}

/// Score of an image by a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageScore {
    /// Id of the image.
    pub image_id: ImageId,
    /// The metric.
    pub metric: Metric,
    /// The score, which must be finite.
    pub value: f64,
}

/// How one model scores against another on images of equal parameters, by one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedScores {
    /// The metric.
    pub metric: Metric,
    /// Mean score of the first model.
    pub mean: f64,
    /// Mean score of the second model.
    pub other_mean: f64,
    /// Pairs in which the first model's image scores higher.
    pub wins: i64,
    /// Pairs in which it scores lower.
    pub losses: i64,
    /// Number of pairs.
    pub count: i64,
}

#[derive(sqlx::FromRow)]
struct ImageRow {
    id: Uuid,
    model_id: Option<Uuid>,
    run_id: Option<Uuid>,
    step: Option<i64>,
    purpose: String,
    prompt: String,
    negative_prompt: String,
    seed: i64,
    steps: i64,
    guidance_scale: f64,
    width: i64,
    height: i64,
    sampler: String,
    lora: Option<String>,
    artifact: String,
    created_at: Timestamp,
}

impl TryFrom<ImageRow> for Image {
    type Error = StoreError;
    fn try_from(row: ImageRow) -> Result<Self, StoreError> {
        let id = row.id;
        Ok(Self {
            id: ImageId(id),
            model_id: row.model_id.map(ModelId),
            run_id: row.run_id.map(RunId),
            step: row.step,
            purpose: parsed(row.purpose.parse(), "images", "purpose", id)?,
            params: GenerationParams {
                prompt: row.prompt,
                negative_prompt: row.negative_prompt,
                seed: parsed(u64::try_from(row.seed), "images", "seed", id)?,
                steps: parsed(u32::try_from(row.steps), "images", "steps", id)?,
                guidance_scale: row.guidance_scale,
                width: parsed(u32::try_from(row.width), "images", "width", id)?,
                height: parsed(u32::try_from(row.height), "images", "height", id)?,
                sampler: parsed(row.sampler.parse(), "images", "sampler", id)?,
                lora: match row.lora {
                    Some(list) => parsed(serde_json::from_str(&list), "images", "lora", id)?,
                    None => Vec::new(),
                },
            },
            artifact: row.artifact,
            created_at: row.created_at,
        })
    }
}

macro_rules! select_images {
    ($rest:literal) => {
        concat!(
            "SELECT id, model_id, run_id, step, purpose, prompt, negative_prompt, seed, steps, guidance_scale, ",
            "width, height, sampler, lora, artifact, created_at FROM images ",
            $rest
        )
    };
}

/// Keys in one `IN (...)`: below the limits of both databases.
const KEYS_PER_QUERY: usize = 500;

/// SHA-256 of all generation parameters: equal for images that differ in the model only.
pub(crate) fn params_sha256(params: &GenerationParams) -> Result<String, StoreError> {
    let GenerationParams {
        prompt,
        negative_prompt,
        seed,
        steps,
        guidance_scale,
        width,
        height,
        sampler,
        lora: _,
    } = params;
    // Texts are preceded by their lengths, so that different parameters never give the same text.
    let text = format!(
        "{}:{prompt}{}:{negative_prompt}{seed} {steps} {guidance_scale} {width}x{height} {sampler}{}",
        prompt.len(),
        negative_prompt.len(),
        lora_text(&params.lora)?.unwrap_or_default(),
    );
    Ok(files::sha256::of_bytes(text.as_bytes()))
}

impl Store {
    /// Inserts images, all or none. `claim`: the worker's, checked in the same transaction; none for the server.
    ///
    /// # Errors
    /// Fails with `LeaseLost`; with `Missing` if a model or run does not exist; with `Invalid` if a seed exceeds the
    /// column's range.
    pub async fn insert_images(&self, images: &[Image], claim: Option<&Claim>) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            if let Some(claim) = claim {
                require_lease!(tx, claim);
            }
            for image in images {
                let params = &image.params;
                let contestant = contestant_lora(params)?.filter(|_| image.model_id.is_some());
                if let Some(lora) = &contestant {
                    sqlx::query(
                        "INSERT INTO contestants (id, model_id, lora) VALUES ($1, $2, $3) \
                         ON CONFLICT (model_id, lora) DO NOTHING")
                        .bind(image.id.0)
                        .bind(image.model_id.map(|id| id.0))
                        .bind(lora)
                        .execute(&mut *tx)
                        .await
                        .map_err(|e| missing(e, "model of this image"))?;
                }
                sqlx::query(
                    "INSERT INTO images (id, model_id, run_id, step, purpose, prompt, negative_prompt, seed, steps, \
                     guidance_scale, width, height, sampler, lora, params_sha256, artifact, created_at, contestant_id) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
                     (SELECT c.id FROM contestants c WHERE c.model_id = $2 AND c.lora = $18))")
                    .bind(image.id.0)
                    .bind(image.model_id.map(|id| id.0))
                    .bind(image.run_id.map(|id| id.0))
                    .bind(image.step)
                    .bind(image.purpose.as_str())
                    .bind(&params.prompt)
                    .bind(&params.negative_prompt)
                    .bind(seed(params.seed)?)
                    .bind(i64::from(params.steps))
                    .bind(params.guidance_scale)
                    .bind(i64::from(params.width))
                    .bind(i64::from(params.height))
                    .bind(params.sampler.as_str())
                    .bind(lora_text(&params.lora)?)
                    .bind(params_sha256(params)?)
                    .bind(&image.artifact)
                    .bind(micros(image.created_at))
                    .bind(contestant)
                    .execute(&mut *tx)
                    .await
                    .map_err(|e| missing(e, "model or run of this image"))?;
            }
        });
        self.record_comparable_models(images).await
    }

    /// Records which pairs of models have evaluation images of equal parameters. A transaction of its own, after the
    /// one that inserts the images: if two workers insert at the same time, at least the later one sees the images of
    /// both.
    async fn record_comparable_models(&self, images: &[Image]) -> Result<(), StoreError> {
        if !images.iter().any(|image| image.purpose == Purpose::Evaluation) {
            return Ok(());
        }
        in_transaction!(self, tx => {
            for image in images.iter().filter(|image| image.purpose == Purpose::Evaluation) {
                sqlx::query(
                    "INSERT INTO comparable_models (model_a, model_b) \
                     SELECT DISTINCT CASE WHEN model_id < $1 THEN model_id ELSE $1 END, \
                                     CASE WHEN model_id < $1 THEN $1 ELSE model_id END \
                     FROM images WHERE params_sha256 = $2 AND purpose = 'evaluation' AND model_id <> $1 \
                     ON CONFLICT (model_a, model_b) DO NOTHING")
                    .bind(image.model_id.map(|id| id.0))
                    .bind(params_sha256(&image.params)?)
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    /// Looks up an image.
    pub async fn get_image(&self, id: ImageId) -> Result<Option<Image>, StoreError> {
        let row: Option<ImageRow> = with_db!(self, pool =>
            sqlx::query_as(select_images!("WHERE id = $1")).bind(id.0).fetch_optional(pool).await?);
        row.map(Image::try_from).transpose()
    }

    /// Lists images, newest first.
    pub async fn list_images(&self, filter: &ImageFilter, at_most: u32) -> Result<Vec<Image>, StoreError> {
        let rows: Vec<ImageRow> = with_db!(self, pool => sqlx::query_as(select_images!(
            "WHERE ($1 IS NULL OR model_id = $1) AND ($2 IS NULL OR run_id = $2) AND ($3 IS NULL OR purpose = $3) \
             AND ($4 IS NULL OR LOWER(prompt) LIKE $4 ESCAPE '\\') AND id < $5 \
             AND ($7 = 0 OR NOT EXISTS (SELECT 1 FROM campaign_models cm JOIN campaigns c ON c.id = cm.campaign_id \
             JOIN images e ON e.model_id = cm.model_id AND e.purpose = 'evaluation' AND e.prompt = images.prompt \
             WHERE c.state <> 'closed' AND cm.model_id = images.model_id)) \
             ORDER BY id DESC LIMIT $6"))
            .bind(filter.model_id.map(|id| id.0))
            .bind(filter.run_id.map(|id| id.0))
            .bind(filter.purpose.map(Purpose::as_str))
            .bind(filter.prompt_contains.as_deref().map(containing))
            .bind(filter.before.map_or(Uuid::max(), |id| id.0))
            .bind(i64::from(at_most))
            .bind(i64::from(filter.without_judged))
            .fetch_all(pool)
            .await?);
        rows.into_iter().map(Image::try_from).collect()
    }

    /// Lists the sample images of a run in order of step.
    pub async fn list_samples(&self, run: RunId) -> Result<Vec<Image>, StoreError> {
        let rows: Vec<ImageRow> = with_db!(self, pool =>
            sqlx::query_as(select_images!("WHERE run_id = $1 AND purpose = 'sample' ORDER BY step, id"))
                .bind(run.0)
                .fetch_all(pool)
                .await?);
        rows.into_iter().map(Image::try_from).collect()
    }

    /// Lists the first evaluation images of a model. Models with the same evaluation list the same prompts.
    pub async fn list_evaluation_images(
        &self,
        model: ModelId,
        at_most: u32,
    ) -> Result<Vec<Image>, StoreError> {
        let rows: Vec<ImageRow> = with_db!(self, pool =>
            sqlx::query_as(select_images!("WHERE model_id = $1 AND purpose = 'evaluation' ORDER BY id LIMIT $2"))
                .bind(model.0)
                .bind(i64::from(at_most))
                .fetch_all(pool)
                .await?);
        rows.into_iter().map(Image::try_from).collect()
    }

    /// The evaluation images that a model has already made of these params, in their order: what a resumed or repeated
    /// evaluation does not draw again.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn find_evaluation_images(
        &self,
        model: ModelId,
        params: &[GenerationParams],
    ) -> Result<Vec<Option<Image>>, StoreError> {
        let keys = params.iter().map(params_sha256).collect::<Result<Vec<String>, _>>()?;
        let mut rows: Vec<ImageRow> = Vec::new();
        for keys in keys.chunks(KEYS_PER_QUERY) {
            rows.extend(with_db!(self, pool => {
                let mut query = QueryBuilder::new(select_images!("WHERE purpose = 'evaluation' AND model_id = "));
                query.push_bind(model.0).push(" AND params_sha256 IN (");
                let mut list = query.separated(", ");
                keys.iter().for_each(|key| { list.push_bind(key.as_str()); });
                query.push(") ORDER BY id").build_query_as::<ImageRow>().fetch_all(pool).await?
            }));
        }
        let mut found: HashMap<String, Image> = HashMap::new();
        for row in rows {
            let image = Image::try_from(row)?;
            // Of several images of the same params, the first one counts.
            found.entry(params_sha256(&image.params)?).or_insert(image);
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Inserts scores, all or none. A score that exists is kept: an evaluation that is repeated with another baseline, and
    /// so another CLIP, does not change what an image was ranked by. A worker passes its claim.
    ///
    /// # Errors
    /// Fails with `LeaseLost`; with `Missing` if an image does not exist; with `Invalid` if a value is not finite.
    pub async fn put_scores(&self, scores: &[ImageScore], claim: Option<&Claim>) -> Result<(), StoreError> {
        if let Some(score) = scores.iter().find(|score| !score.value.is_finite()) {
            let ImageScore { image_id, metric, value } = score;
            let problem = format!("is {value} for image {image_id}: scores must be finite");
            return Err(Problems::one(metric.as_str(), problem).into());
        }
        in_transaction!(self, tx => {
            if let Some(claim) = claim {
                require_lease!(tx, claim);
            }
            let mut models: HashMap<ImageId, Option<Uuid>> = HashMap::new();
            // In order of their keys, so that two workers take the locks of the rows in one order.
            let mut sums: BTreeMap<(Uuid, &str), (i64, f64, f64)> = BTreeMap::new();
            for score in scores {
                let added = sqlx::query(
                    "INSERT INTO image_scores (image_id, metric, value) VALUES ($1, $2, $3) \
                     ON CONFLICT (image_id, metric) DO NOTHING")
                    .bind(score.image_id.0)
                    .bind(score.metric.as_str())
                    .bind(score.value)
                    .execute(&mut *tx)
                    .await
                    .map_err(|e| missing(e, "image"))?
                    .rows_affected();
                if let Entry::Vacant(unknown) = models.entry(score.image_id) {
                    let model = sqlx::query_scalar("SELECT model_id FROM images WHERE id = $1 AND purpose = 'evaluation'")
                        .bind(score.image_id.0)
                        .fetch_optional(&mut *tx)
                        .await?;
                    unknown.insert(model.flatten());
                }
                if let (1, Some(Some(model))) = (added, models.get(&score.image_id)) {
                    let sum = sums.entry((*model, score.metric.as_str())).or_default();
                    *sum = (sum.0 + 1, sum.1 + score.value, sum.2 + score.value * score.value);
                }
            }
            for ((model, metric), (count, total, squares)) in sums {
                sqlx::query(
                    "INSERT INTO model_score_sums (model_id, metric, count, total, total_squares) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (model_id, metric) DO UPDATE SET count = model_score_sums.count + EXCLUDED.count, \
                     total = model_score_sums.total + EXCLUDED.total, \
                     total_squares = model_score_sums.total_squares + EXCLUDED.total_squares")
                    .bind(model)
                    .bind(metric)
                    .bind(count)
                    .bind(total)
                    .bind(squares)
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    /// For each model from the id `first` to the id `last`, images that show what it draws, each with its prompt: its first
    /// evaluation images, or else the newest that users requested, without adapters. At most `at_most` of each model.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn model_samples(
        &self,
        first: ModelId,
        last: ModelId,
        at_most: u32,
    ) -> Result<HashMap<ModelId, Vec<(ImageId, String)>>, StoreError> {
        let evaluated: Vec<(Uuid, Uuid, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT i.model_id, i.id, i.prompt FROM images i JOIN \
             (SELECT id, ROW_NUMBER() OVER (PARTITION BY model_id ORDER BY id) AS place FROM images \
              WHERE model_id >= $1 AND model_id <= $2 AND purpose = 'evaluation') AS numbered ON numbered.id = i.id \
             WHERE numbered.place <= $3 ORDER BY i.id")
            .bind(first.0)
            .bind(last.0)
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        let requested: Vec<(Uuid, Uuid, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT i.model_id, i.id, i.prompt FROM images i JOIN \
             (SELECT id, ROW_NUMBER() OVER (PARTITION BY model_id ORDER BY id DESC) AS place FROM images \
              WHERE model_id >= $1 AND model_id <= $2 AND purpose = 'generation' AND contestant_id IS NULL) \
             AS numbered ON numbered.id = i.id \
             WHERE numbered.place <= $3 ORDER BY i.id DESC")
            .bind(first.0)
            .bind(last.0)
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        let by_model = |rows: Vec<(Uuid, Uuid, String)>| {
            let mut samples: HashMap<ModelId, Vec<(ImageId, String)>> = HashMap::new();
            for (model, image, prompt) in rows {
                samples.entry(ModelId(model)).or_default().push((ImageId(image), prompt));
            }
            samples
        };
        let mut samples = by_model(requested);
        samples.extend(by_model(evaluated));
        Ok(samples)
    }

    /// Mean scores of a model's evaluation images.
    pub async fn model_scores(&self, model: ModelId) -> Result<Vec<ModelScore>, StoreError> {
        Ok(self.scores_between(model.0, model.0).await?.remove(&model).unwrap_or_default())
    }

    /// Mean scores of every model with scores.
    pub async fn all_model_scores(&self) -> Result<HashMap<ModelId, Vec<ModelScore>>, StoreError> {
        self.scores_between(Uuid::nil(), Uuid::max()).await
    }

    /// Compares the scores of two models on evaluation images of equal parameters, for each metric that scored both.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn paired_scores(
        &self,
        model: ModelId,
        other: ModelId,
    ) -> Result<Vec<PairedScores>, StoreError> {
        let rows: Vec<(String, f64, f64, i64, i64, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT s.metric, CAST(AVG(s.value) AS DOUBLE PRECISION), CAST(AVG(t.value) AS DOUBLE PRECISION), \
             CAST(SUM(CASE WHEN s.value > t.value THEN 1 ELSE 0 END) AS BIGINT), \
             CAST(SUM(CASE WHEN s.value < t.value THEN 1 ELSE 0 END) AS BIGINT), COUNT(*) \
             FROM images a \
             JOIN images b ON b.params_sha256 = a.params_sha256 AND b.purpose = 'evaluation' AND b.model_id = $2 \
             JOIN image_scores s ON s.image_id = a.id \
             JOIN image_scores t ON t.image_id = b.id AND t.metric = s.metric \
             WHERE a.model_id = $1 AND a.purpose = 'evaluation' GROUP BY s.metric ORDER BY s.metric")
            .bind(model.0)
            .bind(other.0)
            .fetch_all(pool)
            .await?);
        let paired = rows.into_iter().map(|(metric, mean, other_mean, wins, losses, count)| {
            let metric = parsed(metric.parse(), "image_scores", "metric", model)?;
            Ok(PairedScores { metric, mean, other_mean, wins, losses, count })
        });
        paired.collect()
    }

    async fn scores_between(
        &self,
        first: Uuid,
        last: Uuid,
    ) -> Result<HashMap<ModelId, Vec<ModelScore>>, StoreError> {
        let rows: Vec<(Uuid, String, f64, f64, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT model_id, metric, total / count, total_squares / count, count FROM model_score_sums \
             WHERE model_id >= $1 AND model_id <= $2 ORDER BY model_id, metric")
            .bind(first)
            .bind(last)
            .fetch_all(pool)
            .await?);
        let mut scores: HashMap<ModelId, Vec<ModelScore>> = HashMap::new();
        for (model, metric, mean, mean_square, count) in rows {
            let metric = parsed(metric.parse(), "image_scores", "metric", model)?;
            let half_width = half_width(mean, mean_square, count);
            scores.entry(ModelId(model)).or_default().push(ModelScore { metric, mean, half_width, count });
        }
        Ok(scores)
    }
}

/// 1.96 standard errors of a mean; 0 for one image, whose variance is unknown.
fn half_width(mean: f64, mean_square: f64, count: i64) -> f64 {
    if count < 2 {
        return 0.0;
    }
    // The biased variance; dividing it by n - 1 instead of n gives the squared standard error.
    let variance = (mean_square - mean * mean).max(0.0);
    1.96 * (variance / (count - 1) as f64).sqrt()
}

/// The LIKE pattern of texts that contain `text`, with `%` and `_` escaped.
pub(crate) fn containing(text: &str) -> String {
    let escaped = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

fn seed(seed: u64) -> Result<i64, StoreError> {
    let too_large = |_| Problems::one("seed", format!("{seed} is too large: use at most {MAX_SEED}"));
    Ok(i64::try_from(seed).map_err(too_large)?)
}

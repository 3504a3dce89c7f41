//! The answers of a campaign one by one, and its items with the split of their votes.

use crate::db::{Store, parsed, with_db};
use crate::error::StoreError;
use domain::Timestamp;
use domain::id::{CampaignId, ImageId, RaterId};
use domain::preference::{Choice, Question};
use std::collections::BTreeMap;
use uuid::Uuid;

/// An answer of a rater: a vote, the order of a set, or a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignAnswer {
    /// The rater.
    pub rater: RaterId,
    /// When it was given.
    pub at: Timestamp,
    /// The choice about a pair; none for a set or a skipped check.
    pub choice: Option<Choice>,
    /// Whether it counts as a vote; checks do not.
    pub is_vote: bool,
}

/// Two images that were judged, and how often each answer was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitItem {
    /// The question.
    pub question: Question,
    /// The prompt of both images.
    pub prompt: String,
    /// The image with the smaller id.
    pub a: ImageId,
    /// The name of its model.
    pub model_a: String,
    /// The other image.
    pub b: ImageId,
    /// The name of its model.
    pub model_b: String,
    /// Votes for `a`.
    pub votes_a: u32,
    /// Votes for `b`.
    pub votes_b: u32,
    /// Votes "tie".
    pub ties: u32,
    /// Votes "both bad".
    pub both_bad: u32,
}

impl SplitItem {
    /// Number of votes.
    #[must_use]
    pub fn votes(&self) -> u32 {
        self.votes_a + self.votes_b + self.ties + self.both_bad
    }

    /// The probability that two of its votes, drawn at random, say different things; 0 with fewer than two votes.
    #[must_use]
    pub fn dispute(&self) -> f64 {
        let all = f64::from(self.votes());
        if all < 2.0 {
            return 0.0;
        }
        let groups = [self.votes_a, self.votes_b, self.ties + self.both_bad].map(f64::from);
        let same: f64 = groups.iter().map(|votes| votes * (votes - 1.0)).sum();
        1.0 - same / (all * (all - 1.0))
    }
}

impl Store {
    /// Every answer of a campaign in order of time. An order of a set is one answer.
    pub async fn campaign_answers(&self, campaign: CampaignId) -> Result<Vec<CampaignAnswer>, StoreError> {
        let rows: Vec<(Uuid, Timestamp, Option<String>, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT v.rater_id, v.created_at, v.choice, CAST(1 AS BIGINT) FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE m.campaign_id = $1 AND m.ranking_id IS NULL \
             UNION ALL SELECT rater_id, answered_at, NULL, CAST(1 AS BIGINT) FROM rankings \
             WHERE campaign_id = $1 AND places IS NOT NULL \
             UNION ALL SELECT rater_id, answered_at, choice, CAST(0 AS BIGINT) FROM campaign_checks \
             WHERE campaign_id = $1 AND answered_at IS NOT NULL ORDER BY 2")
            .bind(campaign.0)
            .fetch_all(pool)
            .await?);
        let answer = |(rater, at, choice, is_vote): (Uuid, Timestamp, Option<String>, i64)| {
            let choice =
                choice.map(|choice| parsed(choice.parse(), "votes", "choice", campaign)).transpose()?;
            Ok(CampaignAnswer { rater: RaterId(rater), at, choice, is_vote: is_vote == 1 })
        };
        rows.into_iter().map(answer).collect()
    }

    /// The pairs of images of a campaign that have votes, the most disputed first and then those with most votes. The order of a set
    /// is a vote on each pair that it decides.
    pub async fn split_items(&self, campaign: CampaignId) -> Result<Vec<SplitItem>, StoreError> {
        type Row = (String, String, Uuid, String, Uuid, String, String, i64);
        let rows: Vec<Row> = with_db!(self, pool => sqlx::query_as(
            "SELECT m.question, m.prompt, m.left_image, a.name, m.right_image, b.name, v.choice, COUNT(*) \
             FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             JOIN images l ON l.id = m.left_image JOIN models a ON a.id = l.model_id \
             JOIN images r ON r.id = m.right_image JOIN models b ON b.id = r.model_id \
             WHERE m.campaign_id = $1 \
             GROUP BY m.question, m.prompt, m.left_image, a.name, m.right_image, b.name, v.choice")
            .bind(campaign.0)
            .fetch_all(pool)
            .await?);
        let mut items: BTreeMap<(ImageId, ImageId, &str), SplitItem> = BTreeMap::new();
        for (question, prompt, left, left_model, right, right_model, choice, count) in rows {
            let question: Question = parsed(question.parse(), "matchups", "question", campaign)?;
            let choice: Choice = parsed(choice.parse(), "votes", "choice", campaign)?;
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let is_ordered = left < right;
            let (a, model_a, b, model_b) = if is_ordered {
                (left, left_model, right, right_model)
            } else {
                (right, right_model, left, left_model)
            };
            let (a, b) = (ImageId(a), ImageId(b));
            let (votes_a, votes_b, ties, both_bad) = (0, 0, 0, 0);
            let item = items.entry((a, b, question.as_str())).or_insert(SplitItem {
                question,
                prompt,
                a,
                model_a,
                b,
                model_b,
                votes_a,
                votes_b,
                ties,
                both_bad,
            });
            match (choice, is_ordered) {
                (Choice::Tie, _) => item.ties += count,
                (Choice::BothBad, _) => item.both_bad += count,
                (Choice::Left, true) | (Choice::Right, false) => item.votes_a += count,
                _ => item.votes_b += count,
            }
        }
        let mut items: Vec<SplitItem> = items.into_values().collect();
        items.sort_by(|x, y| y.dispute().total_cmp(&x.dispute()).then(y.votes().cmp(&x.votes())));
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::SplitItem;
    use domain::id::ImageId;
    use domain::preference::Question;
    use uuid::Uuid;

    #[test]
    fn dispute_is_the_chance_of_two_different_votes() {
        let item = |votes_a, votes_b, ties, both_bad| SplitItem {
            question: Question::Overall,
            prompt: String::new(),
            a: ImageId(Uuid::nil()),
            model_a: String::new(),
            b: ImageId(Uuid::nil()),
            model_b: String::new(),
            votes_a,
            votes_b,
            ties,
            both_bad,
        };
        assert_eq!(item(1, 0, 0, 0).dispute(), 0.0);
        assert_eq!(item(3, 0, 0, 0).dispute(), 0.0);
        assert_eq!(item(1, 1, 0, 0).dispute(), 1.0);
        assert_eq!(item(0, 0, 1, 1).dispute(), 0.0);
        assert!((item(2, 1, 1, 0).dispute() - 5.0 / 6.0).abs() < 1e-12);
    }
}

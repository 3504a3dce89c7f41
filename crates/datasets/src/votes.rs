//! Votes of raters as a preference set: aggregated to judged pairs, and written as parquet or JSON lines.

use crate::pick_a_pic::{Record, Writer};
use bytes::Bytes;
use domain::Timestamp;
use domain::data::{VotesPer, VotesSpec};
use domain::id::RaterId;
use domain::preference::{JudgedImage, JudgedVote};
use domain::ranking::Outcome;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

/// Two images of one prompt with the verdict of the votes on them.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedPair {
    /// The prompt of both images.
    pub prompt: String,
    /// Both images, in the order of the first vote.
    pub images: [JudgedImage; 2],
    /// 1 for the winner and 0 for the loser, or 0.5 and 0.5 for a tie.
    pub labels: [f64; 2],
    /// Votes for the first image, for the second, and for neither.
    pub votes: [u32; 3],
    /// Time of the last vote.
    pub created_at: Timestamp,
    /// The rater, if there is a single vote.
    pub rater_id: Option<RaterId>,
}

/// Aggregates the votes that match the spec, per pair of images or one pair per vote. Pairs are in the order of their
/// first vote.
#[must_use]
pub fn judged_pairs(votes: &[JudgedVote], spec: &VotesSpec) -> Vec<JudgedPair> {
    let named = |image: &JudgedImage| spec.models.is_empty() || spec.models.contains(&image.model);
    let wanted = votes.iter().filter(|vote| {
        vote.question == spec.question
            && vote.images.iter().all(named)
            && spec.since.is_none_or(|since| vote.created_at >= since)
            && spec.until.is_none_or(|until| vote.created_at < until)
    });
    match spec.per {
        VotesPer::Vote => wanted.map(|vote| majority(&[vote])).collect(),
        VotesPer::Pair => {
            let mut index_of = HashMap::new();
            let mut pairs: Vec<Vec<&JudgedVote>> = Vec::new();
            for vote in wanted {
                // Two matchups may show the same images with sides swapped.
                let mut ids = [vote.images[0].id, vote.images[1].id];
                ids.sort_unstable();
                let index = *index_of.entry(ids).or_insert(pairs.len());
                if index == pairs.len() {
                    pairs.push(Vec::new());
                }
                pairs[index].push(vote);
            }
            pairs.iter().map(|votes| majority(votes)).collect()
        }
    }
}

/// The verdict with more votes than each of the others; a tie if there is none. "Both bad" counts as a tie.
fn majority(votes: &[&JudgedVote]) -> JudgedPair {
    let first = votes[0];
    let [mut wins, mut losses, mut ties] = [0_u32, 0, 0];
    for vote in votes {
        let outcome = Outcome::from(vote.choice);
        let same_order = vote.images[0].id == first.images[0].id;
        match if same_order { outcome } else { outcome.swapped() } {
            Outcome::First => wins += 1,
            Outcome::Second => losses += 1,
            Outcome::Neither => ties += 1,
        }
    }
    let labels = if wins > losses.max(ties) {
        [1.0, 0.0]
    } else if losses > wins.max(ties) {
        [0.0, 1.0]
    } else {
        [0.5, 0.5]
    };
    JudgedPair {
        prompt: first.prompt.clone(),
        images: first.images.clone(),
        labels,
        votes: [wins, losses, ties],
        created_at: votes.iter().map(|vote| vote.created_at).max().unwrap_or(first.created_at),
        rater_id: (votes.len() == 1).then_some(first.rater_id),
    }
}

impl JudgedPair {
    /// Whether the pair has no winner.
    #[must_use]
    pub fn is_tie(&self) -> bool {
        self.labels[0].total_cmp(&self.labels[1]).is_eq()
    }

    /// The share of the votes for each image; a vote for neither counts half for both.
    #[must_use]
    pub fn shares(&self) -> [f64; 2] {
        let [first, second, neither] = self.votes.map(f64::from);
        let all = (first + second + neither).max(1.0);
        [(first + neither / 2.0) / all, (second + neither / 2.0) / all]
    }

    fn record(&self, images: [Bytes; 2]) -> Record {
        Record {
            caption: self.prompt.clone(),
            images,
            uids: [0, 1].map(|side| self.images[side].id.to_string()),
            models: [0, 1].map(|side| self.images[side].model.clone()),
            labels: self.labels,
            created_at: self.created_at,
            user: self.rater_id.map_or(0, user_number),
        }
    }
}

/// A number for the column `user_id`: the last 8 bytes of a rater's id, which are random.
fn user_number(rater: RaterId) -> i64 {
    let bytes = rater.0.as_bytes();
    let mut last = [0; 8];
    last.copy_from_slice(&bytes[8..]);
    i64::from_be_bytes(last) & i64::MAX
}

/// Writes judged pairs as a parquet file in the columns of Pick-a-Pic. Images are written as stored: PNG files,
/// although the columns are named `jpg_0` and `jpg_1`, because readers detect the format from the content. `fetch`
/// returns the bytes of an image. Returns the writer.
///
/// # Errors
/// Fails if `fetch` does, or if writing does.
pub fn write_parquet<W: Write + Send>(
    into: W,
    pairs: &[JudgedPair],
    mut fetch: impl FnMut(&JudgedImage) -> io::Result<Bytes>,
) -> io::Result<W> {
    let mut writer = Writer::new(into).map_err(io::Error::other)?;
    for pair in pairs {
        let images = [fetch(&pair.images[0])?, fetch(&pair.images[1])?];
        writer.write(pair.record(images)).map_err(io::Error::other)?;
    }
    writer.finish().map_err(io::Error::other)
}

/// As [`write_parquet`], into a file that is complete or absent.
///
/// # Errors
/// Fails if `fetch` does, or if the file cannot be written.
pub fn write_parquet_file(
    file: &Path,
    pairs: &[JudgedPair],
    fetch: impl FnMut(&JudgedImage) -> io::Result<Bytes>,
) -> Result<(), files::Error> {
    files::write_atomically_by(file, |out| {
        write_parquet(out, pairs, fetch).map(drop).map_err(files::Error::at(file))
    })
}

/// A judged pair as a line of JSON with the URLs of its images, which `url` returns.
#[must_use]
pub fn json_line(pair: &JudgedPair, url: impl Fn(&JudgedImage) -> String) -> String {
    let [first, second] = &pair.images;
    let value = serde_json::json!({
        "caption": pair.prompt,
        "image_0_uid": first.id, "image_0_url": url(first), "model_0": first.model, "label_0": pair.labels[0],
        "image_1_uid": second.id, "image_1_url": url(second), "model_1": second.model, "label_1": pair.labels[1],
        "created_at": pair.created_at,
    });
    format!("{value}\n")
}

/// A judged pair as a line of JSON with the columns of Rapidata's preference sets. The shares count every vote alike.
#[must_use]
pub fn rapidata_line(pair: &JudgedPair, url: impl Fn(&JudgedImage) -> String) -> String {
    let [first, second] = &pair.images;
    let shares = pair.shares();
    let value = serde_json::json!({
        "prompt": pair.prompt,
        "image1": url(first), "image2": url(second), "model1": first.model, "model2": second.model,
        "weighted_results_image1_preference": shares[0], "weighted_results_image2_preference": shares[1],
    });
    format!("{value}\n")
}

/// A judged pair as a line of JSON with the keys of HPD v2's annotations. It has no ties: a tie is `[0, 0]`.
#[must_use]
pub fn hpd_line(pair: &JudgedPair, url: impl Fn(&JudgedImage) -> String) -> String {
    let preference = pair.labels.map(|label| u8::from(label > 0.5));
    let value = serde_json::json!({
        "prompt": pair.prompt, "image_path": pair.images.each_ref().map(url), "human_preference": preference,
        "models": pair.images.each_ref().map(|image| &image.model),
    });
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::{hpd_line, judged_pairs, rapidata_line, write_parquet};
    use crate::rows::Pairs;
    use domain::Timestamp;
    use domain::data::{DataSpec, PickAPicSpec, VotesPer, VotesSpec};
    use domain::dataset::Reason;
    use domain::id::{ImageId, RaterId};
    use domain::preference::{Choice, JudgedImage, JudgedVote, Question};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).expect("a moment")
    }

    fn vote(second: i64, images: [u8; 2], choice: Choice) -> JudgedVote {
        let image = |number: u8| JudgedImage {
            id: ImageId::new(at(0), [number; 10]),
            artifact: format!("{number}.png"),
            model: format!("model-{}", number % 2),
        };
        JudgedVote {
            prompt: format!("prompt {}", images[0].min(images[1])),
            question: Question::Overall,
            images: images.map(image),
            choice,
            rater_id: RaterId::new(at(second), [second as u8; 10]),
            created_at: at(second),
        }
    }

    #[test]
    fn the_majority_decides_whatever_the_sides() {
        let votes = [
            vote(1, [1, 2], Choice::Left),
            vote(2, [2, 1], Choice::Right),
            vote(3, [1, 2], Choice::Right),
            vote(4, [3, 4], Choice::Left),
            vote(5, [3, 4], Choice::Tie),
            vote(6, [5, 6], Choice::BothBad),
            vote(7, [7, 8], Choice::Right),
        ];
        let labels =
            |spec: &VotesSpec| judged_pairs(&votes, spec).iter().map(|pair| pair.labels).collect::<Vec<_>>();
        let all = VotesSpec::default();
        assert_eq!(labels(&all), [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 1.0]]);
        assert_eq!(judged_pairs(&votes, &all)[0].created_at, at(3));
        let each = VotesSpec { per: VotesPer::Vote, ..VotesSpec::default() };
        assert_eq!(labels(&each).len(), 7);
        let late = VotesSpec { since: Some(at(3)), until: Some(at(5)), ..VotesSpec::default() };
        assert_eq!(labels(&late), [[0.0, 1.0], [1.0, 0.0]]);
        let one = VotesSpec { models: vec!["model-1".into()], ..VotesSpec::default() };
        assert!(labels(&one).is_empty(), "a pair counts only if both of its models are named");
    }

    #[test]
    fn lines_have_the_columns_of_rapidata_and_hpd() {
        let votes = [
            vote(1, [1, 2], Choice::Left),
            vote(2, [2, 1], Choice::Right),
            vote(3, [1, 2], Choice::Right),
            vote(4, [1, 2], Choice::Tie),
            vote(5, [3, 4], Choice::BothBad),
        ];
        let pairs = judged_pairs(&votes, &VotesSpec::default());
        assert_eq!((pairs[0].votes, pairs[0].shares()), ([2, 1, 1], [0.625, 0.375]));
        let url = |image: &JudgedImage| image.artifact.clone();
        let read = |line: String| serde_json::from_str::<serde_json::Value>(&line).expect("JSON");
        let rapidata = read(rapidata_line(&pairs[0], url));
        assert_eq!(rapidata["weighted_results_image1_preference"], 0.625);
        assert_eq!((&rapidata["image2"], &rapidata["model1"]), (&"2.png".into(), &"model-1".into()));
        let hpd = read(hpd_line(&pairs[0], url));
        assert_eq!(hpd["human_preference"], serde_json::json!([1, 0]));
        assert_eq!(hpd["image_path"], serde_json::json!(["1.png", "2.png"]));
        assert_eq!(read(hpd_line(&pairs[1], url))["human_preference"], serde_json::json!([0, 0]));
    }

    #[test]
    fn votes_on_different_questions_are_never_counted_together() {
        let asked = |question, second, choice| JudgedVote { question, ..vote(second, [1, 2], choice) };
        let votes = [
            asked(Question::Overall, 1, Choice::Left),
            asked(Question::Alignment, 2, Choice::Right),
            asked(Question::Alignment, 3, Choice::Right),
        ];
        let labels = |question| {
            let spec = VotesSpec { question, ..VotesSpec::default() };
            judged_pairs(&votes, &spec).iter().map(|pair| pair.labels).collect::<Vec<_>>()
        };
        assert_eq!(labels(Question::Overall), [[1.0, 0.0]]);
        assert_eq!(labels(Question::Alignment), [[0.0, 1.0]]);
        assert!(labels(Question::Appeal).is_empty());
    }

    #[test]
    fn written_pairs_are_read_back() {
        let votes: Vec<_> =
            (0..150u8).map(|i| vote(i64::from(i), [i, i + 100], Choice::ALL[usize::from(i) % 4])).collect();
        let pairs = judged_pairs(&votes, &VotesSpec::default());
        let scratch = tempfile::tempdir().expect("a folder");
        let file = std::fs::File::create(scratch.path().join("votes.parquet")).expect("a file");
        write_parquet(file, &pairs, |image| Ok(image.artifact.clone().into_bytes().into())).expect("written");
        let folder = scratch.path().to_string_lossy().into_owned();
        let spec = DataSpec::PickAPic(PickAPicSpec { folder, ..PickAPicSpec::default() });
        let mut read = Pairs::open(&spec).expect("opens").expect("a set");
        let mut next = votes.iter().filter(|v| matches!(v.choice, Choice::Left | Choice::Right));
        for pair in &mut read {
            let (pair, vote) = (pair.expect("a pair"), next.next().expect("a vote"));
            let winner = usize::from(vote.choice == Choice::Right);
            assert_eq!(pair.prompt, vote.prompt);
            assert_eq!(&*pair.winner, vote.images[winner].artifact.as_bytes());
            assert_eq!(pair.models[0].as_deref(), Some(vote.images[winner].model.as_str()));
        }
        assert!(next.next().is_none());
        assert_eq!((read.report().rows, read.report().dropped[&Reason::Tie]), (150, 74));
    }
}

//! Votes as rows of a set.

use crate::pick_a_pic::{Record, Writer};
use bytes::Bytes;
use domain::Timestamp;
use domain::data::{VotesPer, VotesSpec};
use domain::id::RaterId;
use domain::preference::{JudgedImage, JudgedVote};
use domain::ranking::Outcome;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Two images of a prompt and what was said of them.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedPair {
    /// The prompt.
    pub prompt: String,
    /// The images.
    pub images: [JudgedImage; 2],
    /// 1 and 0, 0 and 1, or 0.5 and 0.5 for a tie.
    pub labels: [f64; 2],
    /// When it was last judged.
    pub created_at: Timestamp,
    /// By whom, if by one.
    pub rater_id: Option<RaterId>,
}

/// What votes say of pairs of images, as the spec asks; in the order in which the pairs were first judged.
#[must_use]
pub fn judged(votes: &[JudgedVote], spec: &VotesSpec) -> Vec<JudgedPair> {
    let named = |image: &JudgedImage| spec.models.is_empty() || spec.models.contains(&image.model);
    let wanted = votes.iter().filter(|vote| {
        vote.question == spec.question
            && vote.images.iter().all(named)
            && spec.since.is_none_or(|since| vote.created_at >= since)
            && spec.until.is_none_or(|until| vote.created_at < until)
    });
    match spec.per {
        VotesPer::Vote => wanted.map(|vote| of_votes(&[vote])).collect(),
        VotesPer::Pair => {
            let mut place_of = HashMap::new();
            let mut pairs: Vec<Vec<&JudgedVote>> = Vec::new();
            for vote in wanted {
                // Two matchups may show the same images, one of them the other way round.
                let mut ids = [vote.images[0].id, vote.images[1].id];
                ids.sort_unstable();
                let place = *place_of.entry(ids).or_insert(pairs.len());
                if place == pairs.len() {
                    pairs.push(Vec::new());
                }
                pairs[place].push(vote);
            }
            pairs.iter().map(|votes| of_votes(votes)).collect()
        }
    }
}

/// What most votes on two images say; a tie where no answer has more than each other. Both bad is a tie.
fn of_votes(votes: &[&JudgedVote]) -> JudgedPair {
    let first = votes[0];
    let [mut wins, mut losses, mut ties] = [0, 0, 0];
    for vote in votes {
        let said = Outcome::from(vote.choice);
        let same_way = vote.images[0].id == first.images[0].id;
        match if same_way { said } else { said.swapped() } {
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
        created_at: votes.iter().map(|vote| vote.created_at).max().unwrap_or(first.created_at),
        rater_id: (votes.len() == 1).then_some(first.rater_id),
    }
}

impl JudgedPair {
    /// Whether neither image is better.
    #[must_use]
    pub fn is_tie(&self) -> bool {
        self.labels[0].total_cmp(&self.labels[1]).is_eq()
    }

    fn record(&self, images: [Bytes; 2]) -> Record {
        Record {
            caption: self.prompt.clone(),
            images,
            uids: [0, 1].map(|side| self.images[side].id.to_string()),
            models: [0, 1].map(|side| self.images[side].model.clone()),
            labels: self.labels,
            created_at: self.created_at,
            user: self.rater_id.map_or(0, number_of),
        }
    }
}

/// A number that stands for a rater: ids are random in their last bytes.
fn number_of(rater: RaterId) -> i64 {
    let bytes = rater.0.as_bytes();
    let mut last = [0; 8];
    last.copy_from_slice(&bytes[8..]);
    i64::from_be_bytes(last) & i64::MAX
}

/// Writes judged pairs in the columns of Pick-a-Pic, with the images as they are kept (PNG, though the columns are
/// called `jpg`: readers go by the content). `fetch` gives an image's bytes by its artifact. Returns what the file was
/// written into.
///
/// # Errors
/// An image that is missing, or a file that cannot be written.
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

/// Writes them as a file that is there whole or not at all.
///
/// # Errors
/// As for [`write_parquet`].
pub fn write_parquet_file(
    file: &Path,
    pairs: &[JudgedPair],
    fetch: impl FnMut(&JudgedImage) -> io::Result<Bytes>,
) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let temporary = file.with_file_name(name);
    let write = || {
        write_parquet(File::create(&temporary)?, pairs, fetch)?.sync_all()?;
        std::fs::rename(&temporary, file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| {
        // The error is what matters; a leftover temporary file is harmless.
        drop(std::fs::remove_file(&temporary));
    })
}

/// A judged pair as a line of JSON, with addresses in place of images: `address` gives an image's.
#[must_use]
pub fn line(pair: &JudgedPair, address: impl Fn(&JudgedImage) -> String) -> String {
    let [first, second] = &pair.images;
    let value = serde_json::json!({
        "caption": pair.prompt,
        "image_0_uid": first.id, "image_0_url": address(first), "model_0": first.model, "label_0": pair.labels[0],
        "image_1_uid": second.id, "image_1_url": address(second), "model_1": second.model, "label_1": pair.labels[1],
        "created_at": pair.created_at,
    });
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::{judged, write_parquet};
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
    fn most_votes_decide_whichever_side_was_left() {
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
            |spec: &VotesSpec| judged(&votes, spec).iter().map(|pair| pair.labels).collect::<Vec<_>>();
        let all = VotesSpec::default();
        assert_eq!(labels(&all), [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 1.0]]);
        assert_eq!(judged(&votes, &all)[0].created_at, at(3));
        let each = VotesSpec { per: VotesPer::Vote, ..VotesSpec::default() };
        assert_eq!(labels(&each).len(), 7);
        let late = VotesSpec { since: Some(at(3)), until: Some(at(5)), ..VotesSpec::default() };
        assert_eq!(labels(&late), [[0.0, 1.0], [1.0, 0.0]]);
        let one = VotesSpec { models: vec!["model-1".into()], ..VotesSpec::default() };
        assert!(labels(&one).is_empty(), "both models must be named");
    }

    #[test]
    fn answers_to_different_questions_are_never_counted_together() {
        let asked = |question, second, choice| JudgedVote { question, ..vote(second, [1, 2], choice) };
        let votes = [
            asked(Question::Overall, 1, Choice::Left),
            asked(Question::Alignment, 2, Choice::Right),
            asked(Question::Alignment, 3, Choice::Right),
        ];
        let labels = |question| {
            let spec = VotesSpec { question, ..VotesSpec::default() };
            judged(&votes, &spec).iter().map(|pair| pair.labels).collect::<Vec<_>>()
        };
        assert_eq!(labels(Question::Overall), [[1.0, 0.0]]);
        assert_eq!(labels(Question::Alignment), [[0.0, 1.0]]);
        assert!(labels(Question::Appeal).is_empty());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let votes: Vec<_> =
            (0..150u8).map(|i| vote(i64::from(i), [i, i + 100], Choice::ALL[usize::from(i) % 4])).collect();
        let pairs = judged(&votes, &VotesSpec::default());
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

//! Campaigns: which models are judged, on which prompts, by which question, how often and until when, and what raters may
//! learn. Also the rules that need no database: when a rater gets a check, and when the exam is passed.

use crate::Timestamp;
use crate::id::{CampaignId, ImageId};
use crate::limits::{MAX_MODELS, MAX_PROMPT_BYTES, MAX_PROMPTS};
use crate::preference::Question;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Longest name of a campaign, in bytes.
pub const MAX_CAMPAIGN_NAME: usize = 100;

/// Longest instructions, in bytes.
pub const MAX_INSTRUCTIONS: usize = 10_000;

/// Most pairs with a known answer.
pub const MAX_GOLD: usize = 500;

/// Share of the exam's pairs that a rater has to answer as expected.
pub const PASS_SHARE: f64 = 0.75;

/// When raters learn which model made which image.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reveal {
    /// Never: the campaign's results are for its owner.
    #[default]
    Never,
    /// When the campaign is closed.
    AtEnd,
    /// When a rater has answered as many pairs as a session has. The rater's own answers are then revealed, and the rater
    /// gets no further pair of this campaign.
    AfterSession,
}

/// What a rater is shown and asked for.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Two images; which is better, or a tie.
    #[default]
    Pair,
    /// Three or four images of different models from equal prompt, seed and settings: which is the best, and if the rater wants
    /// the order of the others.
    BestOfFour,
}

impl Form {
    /// The value in bodies and forms.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::BestOfFour => "best_of_four",
        }
    }
}

/// Two images of one prompt, of which one is better beyond doubt.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldPair {
    /// Id of the better image.
    pub better: ImageId,
    /// Id of the other image.
    pub worse: ImageId,
}

fn one() -> u32 {
    1
}

fn session() -> u32 {
    20
}

fn overall() -> Vec<Question> {
    vec![Question::Overall]
}

/// A campaign to make.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "name": "contrast against its base", "models": ["shapes", "own-contrast"], "questions": ["overall", "alignment"],
    "raters_per_item": 3, "session": 20, "reveal": "at_end", "instructions": "Judge as if you had asked for the image."
})))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignSpec {
    /// Name of the campaign; no two have the same.
    pub name: String,
    /// Names or ids of the models whose images are compared: 2 to 32, each with every other.
    pub models: Vec<String>,
    /// Only images of these prompts; all evaluation images when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// What a rater is shown: two images, or up to four.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = Form::default))]
    pub form: Form,
    /// Language of the prompts as a tag of BCP 47, such as `de`: how browsers pronounce and hyphenate them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What raters are asked about each pair of images, or each set: one item per question.
    #[serde(default = "overall")]
    #[cfg_attr(feature = "openapi", schema(default = overall))]
    pub questions: Vec<Question>,
    /// How many raters judge each item, 1 to 100.
    #[serde(default = "one")]
    #[cfg_attr(feature = "openapi", schema(default = one, minimum = 1, maximum = 100))]
    pub raters_per_item: u32,
    /// Close the campaign after this many votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10_000_000))]
    pub votes: Option<u32>,
    /// Close the campaign at this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub ends_at: Option<Timestamp>,
    /// Pairs that a rater is asked to judge in one session, 1 to 1000.
    #[serde(default = "session")]
    #[cfg_attr(feature = "openapi", schema(default = session, minimum = 1, maximum = 1000))]
    pub session: u32,
    /// When raters learn which model made which image.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = Reveal::default))]
    pub reveal: Reveal,
    /// What raters read before the first pair.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "openapi", schema(default = ""))]
    pub instructions: String,
    /// Pairs with a known answer, for the exam and as checks in between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gold: Vec<GoldPair>,
    /// Pairs of `gold` that a rater answers first; who answers fewer than 75% as expected gets no others. 0: no exam.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub exam: u32,
    /// Every n-th pair after the exam is one of `gold`; 0: none is.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub gold_every: u32,
    /// Every n-th pair after the exam is one that the rater has judged before, with its sides exchanged; 0: none is.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub repeat_every: u32,
    /// What a rater who has finished a session enters at the panel that sent them, such as Prolific's completion code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_code: Option<String>,
    /// Where a rater who has finished a session goes: an `https` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// The code of a rater who has failed the exam.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_code: Option<String>,
    /// Where a rater who has failed the exam goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_url: Option<String>,
    /// The code of a rater who does not agree to take part, or stops before a session is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_code: Option<String>,
    /// Where a rater who does not take part, or stops, goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_url: Option<String>,
}

impl CampaignSpec {
    /// Checks everything that needs no database.
    ///
    /// # Errors
    /// Returns every field that is invalid.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        let name = self.name.trim();
        p.require(
            !name.is_empty() && name.len() <= MAX_CAMPAIGN_NAME,
            "name",
            format!("use 1 to {MAX_CAMPAIGN_NAME} bytes"),
        );
        p.require(
            (2..=MAX_MODELS).contains(&self.models.len()) && self.models.iter().all(|m| !m.trim().is_empty()),
            "models",
            format!("name 2 to {MAX_MODELS} models"),
        );
        let fits = |prompt: &String| !prompt.trim().is_empty() && prompt.len() <= MAX_PROMPT_BYTES;
        p.require(
            self.prompts.len() <= MAX_PROMPTS as usize && self.prompts.iter().all(fits),
            "prompts",
            format!("give at most {MAX_PROMPTS}, none empty or longer than {MAX_PROMPT_BYTES} bytes"),
        );
        let mut questions = self.questions.clone();
        questions.sort_by_key(|question| question.as_str());
        questions.dedup();
        p.require(
            !questions.is_empty() && questions.len() == self.questions.len(),
            "questions",
            "give at least one of overall, appeal and alignment, each once",
        );
        p.require((1..=100).contains(&self.raters_per_item), "raters_per_item", "use 1 to 100");
        p.require(
            self.votes.is_none_or(|votes| (1..=10_000_000).contains(&votes)),
            "votes",
            "use 1 to 10000000",
        );
        p.require((1..=1000).contains(&self.session), "session", "use 1 to 1000");
        p.require(
            self.instructions.len() <= MAX_INSTRUCTIONS,
            "instructions",
            format!("use at most {MAX_INSTRUCTIONS} bytes"),
        );
        self.check_quality(&mut p);
        p.into_result()
    }

    fn check_quality(&self, p: &mut Problems) {
        p.require(
            self.gold.len() <= MAX_GOLD && self.gold.iter().all(|pair| pair.better != pair.worse),
            "gold",
            format!("give at most {MAX_GOLD} pairs of two different images"),
        );
        let gold = u32::try_from(self.gold.len()).unwrap_or(u32::MAX);
        p.require(self.exam <= gold, "exam", format!("there are {gold} pairs in gold: use at most as many"));
        p.require(self.gold_every == 0 || gold > 0, "gold_every", "needs pairs in gold, or use 0");
        p.require(self.gold_every != 1, "gold_every", "every pair would be a check: use 0, or 2 and more");
        p.require(
            self.repeat_every != 1,
            "repeat_every",
            "every pair would be a repetition: use 0, or 2 and more",
        );
        self.check_form(p);
        let is_tag = |tag: &String| {
            let fits =
                |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
            tag.len() <= 35 && tag.split('-').all(fits)
        };
        p.require(
            self.language.as_ref().is_none_or(is_tag),
            "language",
            "use a language tag such as en or pt-BR, or leave the field out",
        );
        for (field, code) in [
            ("completion_code", &self.completion_code),
            ("failed_code", &self.failed_code),
            ("withdrawn_code", &self.withdrawn_code),
        ] {
            p.require(
                code.as_ref().is_none_or(|code| !code.trim().is_empty() && code.len() <= 100),
                field,
                "use 1 to 100 bytes, or leave the field out",
            );
        }
        for (field, address) in [
            ("return_url", &self.return_url),
            ("failed_url", &self.failed_url),
            ("withdrawn_url", &self.withdrawn_url),
        ] {
            p.require(
                address
                    .as_ref()
                    .is_none_or(|address| address.starts_with("https://") && address.len() <= 2_000),
                field,
                "use an address that begins with https:// and has at most 2000 bytes, or leave the field out",
            );
        }
    }

    fn check_form(&self, p: &mut Problems) {
        if self.form == Form::Pair {
            return;
        }
        p.require(
            self.models.len() >= 3,
            "form",
            "best_of_four compares 3 models and more: name them, or use pair",
        );
        let pairs = "would stand out among sets of four, being a pair: use 0, and an exam in its place";
        p.require(self.gold_every == 0, "gold_every", pairs);
        p.require(self.repeat_every == 0, "repeat_every", pairs);
    }

    /// What is told to a rater who ends in this way: a code for the panel, and an address.
    #[must_use]
    pub fn told(&self, ending: Ending) -> (Option<String>, Option<String>) {
        match ending {
            Ending::Done => (self.completion_code.clone(), self.return_url.clone()),
            Ending::Failed => (self.failed_code.clone(), self.failed_url.clone()),
            Ending::Withdrawn => (self.withdrawn_code.clone(), self.withdrawn_url.clone()),
        }
    }

    /// Without what only the owner may see: pairs with a known answer, codes and the addresses that may contain them.
    pub fn hide_from_raters(&mut self) {
        self.gold.clear();
        for told in [
            &mut self.completion_code,
            &mut self.return_url,
            &mut self.failed_code,
            &mut self.failed_url,
            &mut self.withdrawn_code,
            &mut self.withdrawn_url,
        ] {
            *told = None;
        }
    }
}

/// How a rater leaves a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a session done, or with all that there was to judge.
    Done,
    /// With a failed exam.
    Failed,
    /// Without agreeing, or before the session was done.
    Withdrawn,
}

/// Whether a campaign takes answers.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// Raters get pairs.
    Open,
    /// No pairs for now. What raters must not see stays hidden.
    Paused,
    /// Over, for good: its votes count like all others, and its images are shown again.
    Closed,
}

impl CampaignState {
    /// The value in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for CampaignState {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let known = [Self::Open, Self::Paused, Self::Closed].into_iter().find(|state| state.as_str() == s);
        known.ok_or_else(|| format!("{s:?} is not a state: use open, paused or closed"))
    }
}

/// A campaign.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// Id of the campaign.
    pub id: CampaignId,
    /// What was asked for.
    pub spec: CampaignSpec,
    /// Whether it takes answers.
    pub state: CampaignState,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub closed_at: Option<Timestamp>,
}

/// What kind of pair a rater gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A pair with a known answer, before all others.
    Exam,
    /// A pair with a known answer.
    Gold,
    /// A pair that the rater has judged before.
    Repeat,
    /// A pair of the campaign's models.
    Item,
}

/// The kind of a rater's next pair. `exam`: pairs of the exam that the rater has got; `others`: pairs after them.
#[must_use]
pub fn turn(spec: &CampaignSpec, exam: u32, others: u32) -> Turn {
    let is_due = |every: u32| every > 0 && (others + 1).is_multiple_of(every);
    if exam < spec.exam {
        Turn::Exam
    } else if is_due(spec.gold_every) {
        Turn::Gold
    } else if is_due(spec.repeat_every) {
        Turn::Repeat
    } else {
        Turn::Item
    }
}

/// Whether a rater has passed an exam: none while it is not decided.
#[must_use]
pub fn passed(spec: &CampaignSpec, answered: u32, as_expected: u32) -> Option<bool> {
    (answered >= spec.exam).then(|| f64::from(as_expected) >= PASS_SHARE * f64::from(spec.exam))
}

#[cfg(test)]
mod tests {
    use super::{CampaignSpec, Turn, passed, turn};
    use crate::problem::Problems;

    fn read(json: &str) -> CampaignSpec {
        serde_json::from_str(json).expect("a spec")
    }

    #[test]
    fn every_invalid_field_is_named() {
        let fields = |json: &str| {
            let Problems(problems) = read(json).validate().expect_err("invalid");
            problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        assert_eq!(fields(r#"{"name": " ", "models": ["a"]}"#), ["name", "models"]);
        let rest = r#""name": "n", "models": ["a", "b"]"#;
        for (field, value) in [
            ("prompts", r#"[" "]"#),
            ("questions", "[]"),
            ("questions", r#"["appeal", "appeal"]"#),
            ("raters_per_item", "0"),
            ("votes", "0"),
            ("session", "1001"),
            ("exam", "1"),
            ("gold_every", "2"),
            ("repeat_every", "1"),
            ("completion_code", r#"" ""#),
            ("return_url", r#""http://a""#),
            ("failed_code", r#""""#),
            ("withdrawn_url", r#""a.example""#),
            ("form", r#""best_of_four""#),
            ("language", r#""German, of course""#),
        ] {
            assert_eq!(fields(&format!(r#"{{{rest}, "{field}": {value}}}"#)), [field], "{value}");
        }
        read(&format!("{{{rest}}}")).validate().expect("the rest has defaults");
        let four = r#""name": "n", "models": ["a", "b", "c"], "form": "best_of_four""#;
        assert_eq!(fields(&format!(r#"{{{four}, "repeat_every": 5}}"#)), ["repeat_every"]);
        read(&format!("{{{four}}}")).validate().expect("three models");
    }

    #[test]
    fn checks_come_at_their_turns() {
        let mut spec =
            read(r#"{"name": "n", "models": ["a", "b"], "gold_every": 5, "repeat_every": 3, "exam": 2}"#);
        assert_eq!(
            [turn(&spec, 0, 0), turn(&spec, 1, 0), turn(&spec, 2, 0)],
            [Turn::Exam, Turn::Exam, Turn::Item]
        );
        let turns: Vec<Turn> = (0..6).map(|others| turn(&spec, 2, others)).collect();
        assert_eq!(turns, [Turn::Item, Turn::Item, Turn::Repeat, Turn::Item, Turn::Gold, Turn::Repeat]);
        (spec.gold_every, spec.repeat_every) = (0, 0);
        assert!((0..100).all(|others| turn(&spec, 2, others) == Turn::Item));
    }

    #[test]
    fn three_of_four_pass() {
        let spec = read(r#"{"name": "n", "models": ["a", "b"], "exam": 4}"#);
        assert_eq!(
            [passed(&spec, 3, 3), passed(&spec, 4, 3), passed(&spec, 4, 2)],
            [None, Some(true), Some(false)]
        );
        let none = read(r#"{"name": "n", "models": ["a", "b"]}"#);
        assert_eq!(passed(&none, 0, 0), Some(true));
    }
}

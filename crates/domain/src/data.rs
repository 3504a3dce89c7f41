//! What a run learns from.

use crate::Timestamp;
use crate::preference::Question;
use crate::problem::Problems;
use crate::train::MAX_SEED;
use serde::{Deserialize, Serialize};

/// What a run learns from.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataSpec {
    /// The bundled world, drawn from a seed.
    Shapes {
        /// Which set of it.
        set: ShapesSet,
        /// Images or pairs.
        count: u32,
        /// Of the drawing.
        #[serde(default)]
        seed: u64,
    },
    /// Parquet files in the columns of Pick-a-Pic v2.
    PickAPic(PickAPicSpec),
    /// A list `pairs.jsonl` beside its images, or kohya's folders `w` and `l`.
    Folder(FolderSpec),
    /// WebDataset's tar shards.
    #[serde(rename = "webdataset")]
    WebDataset(FolderSpec),
    /// The team's own votes. Only a worker can read them: they lie in the database.
    Votes(VotesSpec),
    /// A set that `diff-contrast-trainer prepare` has encoded.
    Prepared(PreparedSpec),
}

/// The sets of the bundled world.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapesSet {
    /// Captioned images, no pairs.
    #[serde(alias = "pictures")]
    Images,
    /// Captioned images of one centred object, no pairs: the first lesson.
    Centred,
    /// The loser is a picked original, the winner the same image in Van Gogh's manner.
    VanGogh,
    /// The winner is a pencil sketch.
    Sketch,
    /// The winner is snowed in.
    Winter,
    /// Two images of a caption, one degraded or wrong about it.
    Quality,
}

impl ShapesSet {
    /// Whether the set holds pairs.
    #[must_use]
    pub fn has_pairs(self) -> bool {
        !matches!(self, Self::Images | Self::Centred)
    }
}

/// Parquet files in the columns of Pick-a-Pic v2. Ties and rows without a label are left out.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PickAPicSpec {
    /// Folder of the files, or of a `data` folder with them. With `hub`, a folder of the repository; its own when absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// A set's repository on the hub, OWNER/NAME: its files are fetched once, into the hub's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Branch, tag or commit of the repository; `main` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Files of this split alone, as `train` or `validation_unique`; `train` when absent, and all files where none is
    /// named by a split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The first files alone, in the order of their names; all when absent. Of a repository no others are fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
    /// Pairs whose both models have one of these words in their names, as `dreamlike`; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_models: Vec<String>,
    /// Ends after so many pairs; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pairs: Option<u32>,
    /// Which prompts are left out; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_filter: Option<PromptFilterSpec>,
}

/// A folder of pairs.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSpec {
    /// It.
    pub folder: String,
    /// Ends after so many pairs; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pairs: Option<u32>,
    /// Which prompts are left out; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_filter: Option<PromptFilterSpec>,
}

/// The team's own votes.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VotesSpec {
    /// What becomes a row.
    #[serde(default)]
    pub per: VotesPer,
    /// What the raters were asked.
    #[serde(default)]
    pub question: Question,
    /// Matchups whose both models are among these; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Votes cast at this moment or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
    /// Votes cast before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub until: Option<Timestamp>,
    /// Which prompts are left out; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_filter: Option<PromptFilterSpec>,
}

/// What becomes a row of exported votes.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VotesPer {
    /// Two images, with what most raters said of them; as many for each side is a tie.
    #[default]
    Pair,
    /// Every vote.
    Vote,
}

/// A set that has been encoded.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedSpec {
    /// Its folder, with `manifest.json`.
    pub folder: String,
}

/// Which prompts are refused. Letters are compared after folding what hides them: case, accents, look-alikes, digits
/// that stand for letters, and characters without width.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptFilterSpec {
    /// Use the small built-in list as well.
    #[serde(default = "yes")]
    pub built_in: bool,
    /// Words and phrases, each refused where it stands as whole words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Default for PromptFilterSpec {
    fn default() -> Self {
        Self { built_in: true, terms: Vec::new() }
    }
}

/// Whether a name may name a repository of the hub: OWNER/NAME.
#[must_use]
pub fn is_repository(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    matches!(name.split_once('/'), Some((owner, name)) if part(owner) && part(name))
}

impl PickAPicSpec {
    fn validate_place(&self, p: &mut Problems) {
        let is_inside = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        match &self.hub {
            Some(hub) => {
                p.require(is_repository(hub), "data.hub", "use a repository's name, OWNER/NAME");
                p.require(
                    self.folder.is_empty() || is_inside(&self.folder),
                    "data.folder",
                    "with data.hub, use a folder of the repository, as data, or leave it out",
                );
                p.require(
                    self.revision.as_deref().is_none_or(is_inside),
                    "data.revision",
                    "use a branch, tag or commit, or leave it out for main",
                );
            }
            None => {
                p.require(
                    !self.folder.trim().is_empty(),
                    "data.folder",
                    "name the folder that holds the set, or its repository as data.hub",
                );
                p.require(
                    self.revision.is_none(),
                    "data.revision",
                    "is of a repository: name it as data.hub",
                );
            }
        }
    }
}

/// Terms of a prompt filter, at most.
const MOST_TERMS: usize = 10_000;

impl PromptFilterSpec {
    /// Notes what cannot be accepted, as fields below `field`.
    pub fn validate(&self, p: &mut Problems, field: &str) {
        let terms = format!("{field}.terms");
        p.require(self.terms.len() <= MOST_TERMS, &terms, format!("use at most {MOST_TERMS}"));
        p.require(
            self.terms.iter().all(|term| term.chars().any(char::is_alphanumeric) && term.len() <= 200),
            &terms,
            "each needs a letter or digit, and at most 200 bytes",
        );
        p.require(
            self.built_in || !self.terms.is_empty(),
            &terms,
            "name at least one, or leave the filter out",
        );
    }
}

impl DataSpec {
    /// The word in specs.
    #[must_use]
    pub fn source(&self) -> &'static str {
        match self {
            Self::Shapes { .. } => "shapes",
            Self::PickAPic(_) => "pick_a_pic",
            Self::Folder(_) => "folder",
            Self::WebDataset(_) => "webdataset",
            Self::Votes(_) => "votes",
            Self::Prepared(_) => "prepared",
        }
    }

    /// Whether every example has a loser. Of a prepared set it shows when it is opened.
    #[must_use]
    pub fn has_pairs(&self) -> bool {
        match self {
            Self::Shapes { set, .. } => set.has_pairs(),
            _ => true,
        }
    }

    /// Notes what cannot be accepted, as fields below `data`.
    pub fn validate(&self, p: &mut Problems) {
        let folder = |p: &mut Problems, folder: &str| {
            p.require(!folder.trim().is_empty(), "data.folder", "name the folder that holds the set");
        };
        let most = |p: &mut Problems, max_pairs: Option<u32>| {
            p.require(max_pairs != Some(0), "data.max_pairs", "use 1 or more, or leave it out for all");
        };
        let filter = |p: &mut Problems, filter: &Option<PromptFilterSpec>| {
            if let Some(filter) = filter {
                filter.validate(p, "data.prompt_filter");
            }
        };
        match self {
            Self::Shapes { count, seed, .. } => {
                p.require((1..=1_000_000).contains(count), "data.count", "use 1 to 1000000");
                p.require(*seed <= MAX_SEED, "data.seed", format!("use 0 to {MAX_SEED}"));
            }
            Self::PickAPic(spec) => {
                spec.validate_place(p);
                most(p, spec.max_pairs);
                p.require(
                    spec.max_files != Some(0),
                    "data.max_files",
                    "use 1 or more, or leave it out for all",
                );
                filter(p, &spec.prompt_filter);
                let is_split = |s: &str| {
                    !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
                };
                p.require(
                    spec.split.as_deref().is_none_or(is_split),
                    "data.split",
                    "use the first word of the files' names, as train or validation_unique",
                );
                p.require(
                    spec.only_models.iter().all(|word| !word.trim().is_empty()),
                    "data.only_models",
                    "leave empty words out",
                );
            }
            Self::Folder(spec) | Self::WebDataset(spec) => {
                folder(p, &spec.folder);
                most(p, spec.max_pairs);
                filter(p, &spec.prompt_filter);
            }
            Self::Votes(spec) => {
                filter(p, &spec.prompt_filter);
                p.require(
                    spec.since.zip(spec.until).is_none_or(|(since, until)| since < until),
                    "data.until",
                    "must be later than data.since",
                );
            }
            Self::Prepared(spec) => folder(p, &spec.folder),
        }
    }
}

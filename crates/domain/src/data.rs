//! The sets of preference pairs that a run can train on.

use crate::Timestamp;
use crate::drawn_pairs::DrawnPairsSpec;
use crate::image::{Sampler, validate_sampling};
use crate::limits::MAX_SEED;
use crate::name::is_repository;
use crate::preference::Question;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// A set of preference pairs (or of captioned images), by where it comes from.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(
    example = json!({ "source": "shapes", "set": "winter", "count": 256, "seed": 0 })
))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataSpec {
    /// A set of the bundled world, rendered from a seed.
    Shapes {
        /// Which set.
        set: ShapesSet,
        /// Pairs (or images) to render, 1 to 1000000.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000000))]
        count: u32,
        /// Seed of the scenes, 0 to 2^53 - 1. Another seed gives other scenes.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(default = 0, maximum = 9007199254740991i64))]
        seed: u64,
    },
    /// Parquet files with the columns of Pick-a-Pic v2.
    PickAPic(PickAPicSpec),
    /// A folder with a list `pairs.jsonl` and its images, or with kohya's folders `w` and `l`.
    Folder(FolderSpec),
    /// A folder of captioned images. They have no losers, unless the model to train draws them.
    Images(ImagesSpec),
    /// A folder with a list `likes.jsonl` of images that people liked or disliked. Images of one prompt form pairs.
    Likes(FolderSpec),
    /// A folder of WebDataset tar shards.
    #[serde(rename = "webdataset")]
    WebDataset(FolderSpec),
    /// The team's own votes. Only jobs can use them: they are read from the database.
    Votes(VotesSpec),
    /// Pairs of images that the base draws itself, ranked by a metric.
    Drawn(Box<DrawnPairsSpec>),
    /// A set that `diff-contrast-trainer prepare` encoded.
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
    /// Captioned images of one centred object, no pairs: easier than `images`, for the start of pre-training.
    Centred,
    /// Pairs of an image (loser) and its Van Gogh version (winner).
    VanGogh,
    /// Pairs of an image (loser) and its pencil sketch (winner).
    Sketch,
    /// Pairs of an image (loser) and its snow-covered version (winner).
    Winter,
    /// Pairs of two images of a caption, the loser degraded or not matching the caption.
    Quality,
}

impl ShapesSet {
    /// Whether the set holds pairs.
    #[must_use]
    pub fn has_pairs(self) -> bool {
        !matches!(self, Self::Images | Self::Centred)
    }
}

/// Parquet files with the columns of Pick-a-Pic v2. Ties and rows without a label are dropped.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PickAPicSpec {
    /// The folder with the parquet files, in itself, in a folder `data` or in subfolders such as `default/train`. With `hub`,
    /// a folder of the repository; the repository's root when absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// A data set repository of the hub, OWNER/NAME. Its files are downloaded once, into the hub's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Branch, tag or commit of the repository; `main` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Reads only files whose names or folders name this split, for example `validation_unique`. When absent: `train`, or
    /// all files if none names a split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Reads only this many files, in the order of their names; all when absent. Of a repository only these are
    /// downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
    /// Keeps pairs whose two models both have one of these words in their names, for example `dreamlike`; all pairs
    /// when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_models: Vec<String>,
    /// Stops after this many pairs; reads all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pairs: Option<u32>,
    /// Drops pairs with unwanted prompts; drops none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_filter: Option<PromptFilterSpec>,
}

/// A folder of pairs, as a list with images or as tar shards.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSpec {
    /// The folder.
    pub folder: String,
    /// Stops after this many pairs; reads all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pairs: Option<u32>,
    /// Drops pairs with unwanted prompts; drops none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_filter: Option<PromptFilterSpec>,
}

/// A folder of captioned images: a list `metadata.jsonl` or `metadata.csv` with `file_name` and `text`, or a `.txt` file
/// beside each image.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesSpec {
    /// The folder.
    pub folder: String,
    /// Stops after this many images; reads all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_images: Option<u32>,
    /// Drops images with unwanted captions; drops none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_filter: Option<PromptFilterSpec>,
    /// Draws a loser for each image; without it the set has no losers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub losers: Option<DrawnLosersSpec>,
}

/// Losers that the base model draws of the captions, before the run begins.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawnLosersSpec {
    /// Seed of the first loser, 0 to 2^52 - 1; loser i has seed + i.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = 0))]
    pub seed: u64,
    /// Denoising steps, 1 to 1000; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Guidance scale, 0 to 50; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
    /// The sampler; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
    /// A folder with losers that were drawn before: `0000000.png` for the first row of the set, and so on. They are drawn
    /// into the cache when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

impl DrawnLosersSpec {
    fn validate(&self, p: &mut Problems) {
        p.require(self.seed <= MAX_SEED / 2, "data.losers.seed", format!("use 0 to {}", MAX_SEED / 2));
        validate_sampling(self.steps, self.guidance_scale, "data.losers.", p);
    }
}

/// The team's votes as a set of pairs.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VotesSpec {
    /// Whether a row is a pair of images or a vote.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = VotesPer::default))]
    pub per: VotesPer,
    /// Uses only answers to this question.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(default = Question::default))]
    pub question: Question,
    /// Uses only matchups whose two models are both in this list (by name); all matchups when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Uses only votes cast at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
    /// Uses only votes cast before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub until: Option<Timestamp>,
    /// Drops pairs with unwanted prompts; drops none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_filter: Option<PromptFilterSpec>,
}

/// What one row of exported votes is.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VotesPer {
    /// Two images with the majority of their votes; equally many votes for both sides are a tie.
    #[default]
    Pair,
    /// One vote.
    Vote,
}

/// An encoded set.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedSpec {
    /// The folder that holds its `manifest.json`.
    pub folder: String,
}

/// Drops prompts with unwanted words. Before comparing, both sides are normalised against evasion: case, accents,
/// look-alike letters, digits that stand for letters, and characters without width.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptFilterSpec {
    /// Whether to use the small built-in list as well.
    #[serde(default = "built_in")]
    #[cfg_attr(feature = "openapi", schema(default = built_in))]
    pub built_in: bool,
    /// Words and phrases, each matched as whole words; at most 10000, of at most 200 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<String>,
}

fn built_in() -> bool {
    true
}

impl Default for PromptFilterSpec {
    fn default() -> Self {
        Self { built_in: built_in(), terms: Vec::new() }
    }
}

/// Most terms of a prompt filter.
const MAX_FILTER_TERMS: usize = 10_000;
/// Longest term of a prompt filter, in bytes.
const MAX_FILTER_TERM_BYTES: usize = 200;

impl PromptFilterSpec {
    /// Adds every invalid setting to `p`, as a field below `field`.
    pub fn validate(&self, p: &mut Problems, field: &str) {
        let terms = format!("{field}.terms");
        p.require(self.terms.len() <= MAX_FILTER_TERMS, &terms, format!("use at most {MAX_FILTER_TERMS}"));
        let is_term =
            |term: &String| term.chars().any(char::is_alphanumeric) && term.len() <= MAX_FILTER_TERM_BYTES;
        p.require(
            self.terms.iter().all(is_term),
            &terms,
            format!("each needs a letter or digit, and at most {MAX_FILTER_TERM_BYTES} bytes"),
        );
        p.require(
            self.built_in || !self.terms.is_empty(),
            &terms,
            "name at least one term, or remove the filter",
        );
    }
}

impl PickAPicSpec {
    fn validate(&self, p: &mut Problems) {
        self.validate_location(p);
        validate_pairs(self.max_pairs, self.prompt_filter.as_ref(), p);
        p.require(self.max_files != Some(0), "data.max_files", "use 1 or more, or remove it to read all");
        let is_split =
            |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        p.require(
            self.split.as_deref().is_none_or(is_split),
            "data.split",
            "use a word of the files' names, for example train or validation_unique",
        );
        p.require(
            self.only_models.iter().all(|word| !word.trim().is_empty()),
            "data.only_models",
            "remove empty words",
        );
    }

    fn validate_location(&self, p: &mut Problems) {
        let is_inside = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        match &self.hub {
            Some(hub) => {
                p.require(is_repository(hub), "data.hub", "use a repository's name, OWNER/NAME");
                p.require(
                    self.folder.is_empty() || is_inside(&self.folder),
                    "data.folder",
                    "with data.hub, use a folder of the repository, for example data, or remove it",
                );
                p.require(
                    self.revision.as_deref().is_none_or(is_inside),
                    "data.revision",
                    "use a branch, tag or commit, or remove it to use main",
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
                    "applies to a repository only: name one as data.hub, or remove it",
                );
            }
        }
    }
}

impl DataSpec {
    /// The value of `source` in specs.
    #[must_use]
    pub fn source(&self) -> &'static str {
        match self {
            Self::Shapes { .. } => "shapes",
            Self::PickAPic(_) => "pick_a_pic",
            Self::Folder(_) => "folder",
            Self::Images(_) => "images",
            Self::Likes(_) => "likes",
            Self::WebDataset(_) => "webdataset",
            Self::Votes(_) => "votes",
            Self::Drawn(_) => "drawn",
            Self::Prepared(_) => "prepared",
        }
    }

    /// The folder of a set that is stored in files.
    #[must_use]
    pub fn folder(&self) -> Option<&str> {
        match self {
            Self::Shapes { .. } | Self::Votes(_) | Self::Drawn(_) => None,
            Self::PickAPic(spec) => Some(&spec.folder),
            Self::Folder(spec) | Self::Likes(spec) | Self::WebDataset(spec) => Some(&spec.folder),
            Self::Images(spec) => Some(&spec.folder),
            Self::Prepared(spec) => Some(&spec.folder),
        }
    }

    /// The folders and files of this machine that the set names: fields, and paths.
    #[must_use]
    pub fn folders(&self) -> Vec<(String, &str)> {
        if let Self::Drawn(spec) = self {
            return spec.paths();
        }
        // With a repository, the folder is one of the repository.
        let is_local = !matches!(self, Self::PickAPic(PickAPicSpec { hub: Some(_), .. }));
        let mut folders: Vec<_> = self
            .folder()
            .filter(|_| is_local)
            .map(|folder| ("data.folder".to_owned(), folder))
            .into_iter()
            .collect();
        if let Self::Images(ImagesSpec { losers: Some(losers), .. }) = self {
            folders.extend(losers.folder.as_deref().map(|folder| ("data.losers.folder".to_owned(), folder)));
        }
        folders
    }

    /// Whether every example has a loser. True for a prepared set, which is checked when it is opened.
    #[must_use]
    pub fn has_pairs(&self) -> bool {
        match self {
            Self::Shapes { set, .. } => set.has_pairs(),
            Self::Images(spec) => spec.losers.is_some(),
            _ => true,
        }
    }

    /// What to change so that the set has pairs: the field, and the remedy.
    #[must_use]
    pub fn remedy_without_pairs(&self) -> (&'static str, &'static str) {
        match self {
            Self::Images(_) => (
                "data.losers",
                "the set has images without losers: add data.losers, and the base draws a loser for each image",
            ),
            _ => ("data.set", "use van_gogh, sketch, winter or quality"),
        }
    }

    /// Adds every invalid setting to `p`, as a field below `data`.
    pub fn validate(&self, p: &mut Problems) {
        match self {
            Self::Shapes { count, seed, .. } => {
                p.require((1..=1_000_000).contains(count), "data.count", "use 1 to 1000000");
                p.require(*seed <= MAX_SEED, "data.seed", format!("use 0 to {MAX_SEED}"));
            }
            Self::PickAPic(spec) => spec.validate(p),
            Self::Folder(spec) | Self::Likes(spec) | Self::WebDataset(spec) => {
                validate_folder(&spec.folder, p);
                validate_pairs(spec.max_pairs, spec.prompt_filter.as_ref(), p);
            }
            Self::Images(spec) => {
                validate_folder(&spec.folder, p);
                validate_pairs(None, spec.prompt_filter.as_ref(), p);
                p.require(
                    spec.max_images != Some(0),
                    "data.max_images",
                    "use 1 or more, or remove it to read all",
                );
                spec.losers.iter().for_each(|losers| losers.validate(p));
            }
            Self::Votes(spec) => {
                validate_pairs(None, spec.prompt_filter.as_ref(), p);
                p.require(
                    spec.since.zip(spec.until).is_none_or(|(since, until)| since < until),
                    "data.until",
                    "must be later than data.since",
                );
            }
            Self::Drawn(spec) => spec.validate(p),
            Self::Prepared(spec) => validate_folder(&spec.folder, p),
        }
    }
}

fn validate_folder(folder: &str, p: &mut Problems) {
    p.require(!folder.trim().is_empty(), "data.folder", "name the folder that holds the set");
}

fn validate_pairs(max_pairs: Option<u32>, filter: Option<&PromptFilterSpec>, p: &mut Problems) {
    p.require(max_pairs != Some(0), "data.max_pairs", "use 1 or more, or remove it to read all");
    if let Some(filter) = filter {
        filter.validate(p, "data.prompt_filter");
    }
}

//! The prompts of an evaluation.

use crate::data::DataSpec;
use crate::limits::{MAX_PROMPT_BYTES, MAX_PROMPTS};
use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// Prompts of each style of the HPSv2 benchmark.
const HPS_PROMPTS_PER_STYLE: u32 = 800;

/// Where the prompts of an evaluation come from.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({ "source": "shapes_held_out", "count": 16 })))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromptSpec {
    /// Captions of the validation examples of the first model that was trained with `validation_examples`.
    Validation {
        /// Uses only the first captions, 1 to 10000; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
        count: Option<u32>,
    },
    /// Prompts of the bundled world whose combinations of attributes never occur in training.
    ShapesHeldOut {
        /// Number of prompts, 1 to 10000.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
        count: u32,
    },
    /// Prompts of the bundled world for one object, with size, colour, shape and background, in combinations that occur in
    /// training; in a fixed random order.
    ShapesTraining {
        /// Number of prompts, 1 to 10000; with `skip` at most as many as there are (1167).
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
        count: u32,
        /// Prompts to skip at the start of the order, so that sets and evaluations do not share prompts.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(default = 0))]
        skip: u32,
    },
    /// A list in the spec.
    List {
        /// The prompts, 1 to 10000.
        #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 10000))]
        prompts: Vec<String>,
    },
    /// HPSv2's benchmark: a folder with `anime.json`, `concept-art.json`, `paintings.json` and `photo.json`, each a
    /// list of prompts. The styles are the report's categories.
    HpsBenchmark {
        /// The folder.
        folder: String,
        /// Uses only the first prompts of each style, 1 to 800; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 800))]
        per_style: Option<u32>,
    },
    /// `PartiPrompts.tsv`, with its categories.
    Parti {
        /// The file.
        file: String,
        /// Uses only the first prompts, 1 to 10000; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
        count: Option<u32>,
    },
    /// Captions of a data set, each once, in the order of the set.
    Captions {
        /// The set. Votes and repositories of the hub are refused: export or download them first.
        #[cfg_attr(feature = "openapi", schema(no_recursion))]
        data: Box<DataSpec>,
        /// Uses only the first captions, 1 to 10000; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
        count: Option<u32>,
    },
    /// A text file with one prompt per line; empty lines are skipped.
    Text {
        /// The file.
        file: String,
    },
    /// A file with one object `{"prompt": .., "category": ..}` per line; the category is optional.
    JsonLines {
        /// The file.
        file: String,
    },
}

impl Default for PromptSpec {
    fn default() -> Self {
        Self::Validation { count: None }
    }
}

impl PromptSpec {
    /// The file or folder that holds the prompts, and the field that names it.
    #[must_use]
    pub fn path(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Validation { .. }
            | Self::ShapesHeldOut { .. }
            | Self::ShapesTraining { .. }
            | Self::List { .. } => None,
            Self::Captions { data, .. } => data.folder().map(|folder| ("prompts.data.folder", folder)),
            Self::HpsBenchmark { folder, .. } => Some(("prompts.folder", folder)),
            Self::Parti { file, .. } | Self::Text { file } | Self::JsonLines { file } => {
                Some(("prompts.file", file))
            }
        }
    }

    pub(crate) fn validate(&self, p: &mut Problems) {
        match self {
            Self::ShapesHeldOut { count }
            | Self::ShapesTraining { count, .. }
            | Self::Parti { count: Some(count), .. }
            | Self::Captions { count: Some(count), .. }
            | Self::Validation { count: Some(count) } => {
                p.require(
                    (1..=MAX_PROMPTS).contains(count),
                    "prompts.count",
                    format!("use 1 to {MAX_PROMPTS}"),
                );
            }
            Self::HpsBenchmark { per_style: Some(count), .. } => {
                p.require(
                    (1..=HPS_PROMPTS_PER_STYLE).contains(count),
                    "prompts.per_style",
                    format!("use 1 to {HPS_PROMPTS_PER_STYLE}"),
                );
            }
            Self::List { prompts } => {
                p.require(
                    (1..=MAX_PROMPTS as usize).contains(&prompts.len()),
                    "prompts.prompts",
                    format!("give 1 to {MAX_PROMPTS} prompts"),
                );
                p.require(
                    prompts.iter().all(|s| !s.trim().is_empty() && s.len() <= MAX_PROMPT_BYTES),
                    "prompts.prompts",
                    format!("no prompt may be empty or longer than {MAX_PROMPT_BYTES} bytes"),
                );
            }
            // Prompts in files are checked when the files are read.
            Self::HpsBenchmark { per_style: None, .. }
            | Self::Parti { count: None, .. }
            | Self::Captions { count: None, .. }
            | Self::Validation { count: None }
            | Self::Text { .. }
            | Self::JsonLines { .. } => {}
        }
        if let Self::Captions { data, .. } = self {
            let mut problems = Problems::default();
            data.validate(&mut problems);
            let is_in_files = match data.as_ref() {
                DataSpec::Votes(_) | DataSpec::Drawn(_) => false,
                DataSpec::PickAPic(spec) => spec.hub.is_none(),
                _ => true,
            };
            problems.require(is_in_files, "data.source", "its captions are not in files here: name a folder");
            p.extend_below("prompts", problems);
        }
        if let Some((field, path)) = self.path() {
            p.require(!path.is_empty(), field, "name the file or folder that holds the prompts");
        }
    }
}

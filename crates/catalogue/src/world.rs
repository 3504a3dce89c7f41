//! Which models draw the bundled world: only their images can be judged by its rule, and only they know its prompts.

use diffusion::config;
use diffusion::part_folders::PartFolders;
use domain::evaluate::PromptSpec;
use domain::problem::Problems;
use serde_json::Value;
use std::path::Path;

/// The file with the mark, which is copied when a model is exported or imported.
const FILE: &str = "generation_config.json";
/// The key of the mark in that file, and its value.
const MARK: (&str, &str) = ("world", "shapes");

/// Whether a model belongs to the bundled world: it is the bundled model, or derived from it. The mark is `"world":
/// "shapes"` in the `generation_config.json` of one of its folders; its name decides nothing. Reads a file per folder.
#[must_use]
pub fn belongs_to_bundled_world(folders: &PartFolders) -> bool {
    folders.all().any(|folder| is_marked(folder))
}

/// Checks that a model of an evaluation with prompts of the bundled world belongs to that world.
///
/// # Errors
/// Returns the field `prompts.source` if it does not.
pub fn require_world(prompts: &PromptSpec, name: &str, folders: &PartFolders) -> Result<(), Problems> {
    let of_world = matches!(prompts, PromptSpec::ShapesHeldOut { .. } | PromptSpec::ShapesTraining { .. });
    if !of_world || belongs_to_bundled_world(folders) {
        return Ok(());
    }
    let problem = format!(
        "shapes_held_out has prompts about coloured shapes, for the bundled model and those derived from it, and {name:?} is \
         another model: use its own prompts, for example source = \"text\" or \"captions\""
    );
    Err(Problems::one("prompts.source", problem))
}

fn is_marked(folder: &Path) -> bool {
    let config: Value = config::read(&folder.join(FILE)).unwrap_or_default();
    config[MARK.0] == MARK.1
}

#[cfg(test)]
mod tests {
    use super::belongs_to_bundled_world;
    use diffusion::part_folders::PartFolders;
    use std::path::Path;

    #[test]
    fn the_bundled_model_and_its_descendants_are_marked() {
        let bundled = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/shapes"));
        let scratch = tempfile::tempdir().expect("a folder");
        assert!(belongs_to_bundled_world(&PartFolders::new(bundled, None)));
        // A checkpoint has a UNet only; its base has the rest.
        assert!(belongs_to_bundled_world(&PartFolders::new(scratch.path(), Some(bundled))));
        assert!(!belongs_to_bundled_world(&PartFolders::new(scratch.path(), None)));
        for text in ["{", "[]", r#"{"world": "photographs"}"#, r#"{"num_inference_steps": 20}"#] {
            std::fs::write(scratch.path().join("generation_config.json"), text).expect("written");
            assert!(!belongs_to_bundled_world(&PartFolders::new(scratch.path(), None)), "{text}");
        }
    }
}

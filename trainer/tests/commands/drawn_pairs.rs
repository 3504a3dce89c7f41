//! Pairs that the base draws itself: ranked by the rule of the bundled world, drawn once, resumed, and trained on.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DATA: &str = "[data]
source = 'drawn'
metric = 'prompt_followed'
first_images = 3
images_per_prompt = 6
pairs_per_prompt = 3
seed = 40
steps = 4
prompts = { source = 'list', prompts = ['a small yellow ring on a white background', 'a large green star on a blue background'] }
";

/// Runs the program in `folder`. `Err` holds what a failure printed.
fn run(folder: &Path, name: &str, spec: &str) -> Result<(), String> {
    fs::write(folder.join(format!("{name}.toml")), spec).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .args(["train", &format!("{name}.toml")])
        .current_dir(folder)
        .output()
        .expect("the program");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(error) }
}

fn spec(name: &str, more: &str) -> String {
    format!(
        "name = '{name}'\nbase = '{}/../models/shapes'\nsteps = 1\nbatch_size = 2\nlearning_rate = {{ rate = 1e-5 }}\n{more}\n{DATA}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// The folder of drawn pairs in the cache.
fn drawn(folder: &Path) -> PathBuf {
    let cache = fs::read_dir(folder.join("data/cache")).expect("the cache");
    let mut found: Vec<PathBuf> = cache.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("drawn-")));
    assert_eq!(found.len(), 1, "one set: {found:?}");
    found.remove(0)
}

#[test]
fn the_base_draws_pairs_that_the_rule_ranks() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    let contrast =
        "objective = { kind = 'diff_contrast', beta = 500.0, tau = 0.1 }\nbatching = 'related_prompts'";
    run(folder, "contrast", &spec("contrast", contrast)).expect("trained");

    let set = drawn(folder);
    let list = fs::read_to_string(set.join("pairs.jsonl")).expect("the pairs");
    let rows: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert!((2..=6).contains(&rows.len()), "{list}");
    for row in &rows {
        assert_eq!(
            (row["winner_score"].as_f64(), row["loser_score"].as_f64()),
            (Some(1.0), Some(0.0)),
            "{row}"
        );
        assert_ne!(row["winner"], row["loser"]);
    }
    let scores = fs::read_to_string(set.join("scores.json")).expect("the scores");
    let scores: Value = serde_json::from_str(&scores).expect("JSON");
    for of in scores["scores"].as_array().expect("a list of prompts") {
        let of = of.as_array().expect("scores");
        let undecided = of[..3].iter().any(|score| score != &of[0]);
        assert_eq!(of.len(), if undecided { 6 } else { 3 }, "{of:?}");
    }

    // Interrupted before its list was written, the drawing draws what is missing, and ends in the same bytes.
    let image = set.join(rows[0]["winner"].as_str().expect("a name"));
    let before = fs::read(&image).expect("an image");
    fs::remove_file(&image).expect("removed");
    fs::remove_file(set.join("pairs.jsonl")).expect("removed");
    run(folder, "dpo", &spec("dpo", "objective = { kind = 'diffusion_dpo', beta = 500.0 }"))
        .expect("trained");
    assert_eq!(fs::read(&image).expect("an image"), before);
    assert_eq!(fs::read_to_string(drawn(folder).join("pairs.jsonl")).expect("the pairs"), list);
}

#[test]
fn images_that_no_rule_tells_apart_are_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    let spec = spec("refused", "objective = { kind = 'diffusion_dpo', beta = 500.0 }")
        .replace("a small yellow ring on a white background", "an astronaut")
        .replace("a large green star on a blue background", "a horse");
    let refusal = run(scratch.path(), "refused", &spec).expect_err("no prompt of the world");
    assert!(refusal.contains("prompt_followed scores none of these images"), "{refusal}");
}

/// A run on lists of the base's own images: whole lists are dealt, and their length must divide the micro-batch.
#[test]
fn the_base_draws_lists_for_diffusion_lpo() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    let lists = |name: &str, objective: &str| {
        spec(name, &format!("objective = {{ kind = '{objective}', beta = 500.0 }}\ncaption_dropout = 0.5"))
            .replace(
                "first_images = 3\nimages_per_prompt = 6\npairs_per_prompt = 3",
                "images_per_prompt = 4\nlists = true",
            )
            .replace("'prompt_followed'", "'clip_score'")
    };
    run(folder, "lpo", &lists("lpo", "diffusion_lpo")).expect("trained");
    let list = fs::read_to_string(drawn(folder).join("pairs.jsonl")).expect("the lists");
    let rows: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert_eq!(rows.len(), 2, "a list of each prompt: {list}");
    for row in &rows {
        let ranked = row["ranked"].as_array().expect("a ranking");
        assert_eq!(
            ranked.iter().map(|group| group.as_array().expect("a group").len()).sum::<usize>(),
            4,
            "{row}"
        );
        let score = |group: &Value| {
            let name = group[0].as_str().expect("a name");
            let image: usize = name[6..8].parse().expect("a number");
            row["scores"][image].as_f64().expect("a score")
        };
        assert!(ranked.windows(2).all(|two| score(&two[0]) > score(&two[1])), "best first: {row}");
    }
    // The pairs of the same lists suit other objectives.
    run(folder, "dpo", &lists("dpo", "diffusion_dpo")).expect("trained");
    let refusal =
        run(folder, "odd", &lists("odd", "diffusion_lpo").replace("batch_size = 2", "batch_size = 1"))
            .expect_err("a list has two pairs");
    assert!(
        refusal.contains("batch_size: the lists have 4 images, 2 pairs each: use a multiple of 2"),
        "{refusal}"
    );
}

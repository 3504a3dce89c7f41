//! The pages that lead a reader step by step are followed: their files are written, their commands run in bash with the
//! real programs, and the output that they show is compared. A failure names page and line.

#[path = "../../../trainer/tests/support/hub.rs"]
mod hub;
mod markdown;
mod photos;
mod postgres;
mod programs;
mod scene;
mod shell;

use markdown::{Kind, Page};
use postgres::Database;
use scene::Scene;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// An address of this machine with a free port.
fn address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[test]
fn your_own_data() {
    let address = address();
    let mut scene = Scene::new(&[("127.0.0.1:8080", &address)]);
    scene.set("ADDRESS", &address);
    follow_your_own_data(&mut scene);
}

#[test]
fn your_own_data_on_postgres() {
    let (address, database) = (address(), Database::create("own"));
    let mut scene = Scene::new(&[("127.0.0.1:8080", &address)]);
    scene.set("ADDRESS", &address);
    scene.set("DATABASE_URL", &database.url(&database.name));
    follow_your_own_data(&mut scene);
    assert!(!scene.path("data/diff-contrast.db").exists(), "a command used SQLite");
}

fn follow_your_own_data(scene: &mut Scene) {
    let page = Page::read(&page("docs/your-own-data.md"));
    scene.follow(
        &page,
        &[
            ("2. ", models_are_whole),
            ("4. ", sets_are_checked),
            ("5. ", sets_are_encoded),
            ("6. ", the_run_is_complete),
            ("7. ", the_models_differ),
            ("8. ", the_report_compares),
            ("9. ", votes_are_ranked),
            ("11. ", exports_are_whole),
        ],
    );
}

/// Every import has all parts, with a CLIP, and came from the hub under its published name.
fn models_are_whole(scene: &mut Scene) {
    for (model, parts) in [
        ("sd15", &["unet", "vae", "text_encoder", "clip"][..]),
        ("sdxl", &["unet", "vae", "text_encoder", "text_encoder_2", "clip"]),
        ("sd15-single-file", &["unet", "vae", "text_encoder", "clip"]),
        ("sd15-copy", &["unet", "vae", "text_encoder", "clip"]),
    ] {
        for part in parts {
            let folder = scene.path("models").join(model).join(part);
            // A CLIP keeps the layout of its source.
            let mut configs = ["config.json", "open_clip_config.json"].iter();
            assert!(configs.any(|name| folder.join(name).is_file()), "{model}/{part}");
        }
    }
    let requested = scene.requested();
    for repository in
        ["stable-diffusion-xl-base-1.0", "clip-vit-large-patch14", "CLIP-ViT-H-14-laion2B-s32B-b79K"]
    {
        assert!(requested.iter().any(|path| path.contains(repository)), "{repository} was not requested");
    }
}

fn sets_are_checked(scene: &mut Scene) {
    for (set, rows, losers) in [("pairs", 8, 8), ("captioned", 6, 6), ("likes", 4, 4)] {
        let folder = scene.path("data/checks").join(set);
        let report = json(&folder.join("report.json"));
        assert_eq!(
            (&report["rows"]["pairs"], &report["with_loser"]),
            (&rows.into(), &losers.into()),
            "{report}"
        );
        assert!(std::fs::read(folder.join("contact-sheet.png")).expect("a sheet").starts_with(b"\x89PNG"));
    }
}

fn sets_are_encoded(scene: &mut Scene) {
    for (set, count) in [("pairs", 8), ("captioned", 6), ("likes", 4)] {
        let manifest = json(&scene.path("data/datasets").join(set).join("manifest.json"));
        assert_eq!(manifest["report"]["pairs"], count, "{set}: {}", manifest["report"]);
    }
}

fn the_run_is_complete(scene: &mut Scene) {
    let run = scene.path("data/runs/sft");
    let points = read(&run.join("metrics.jsonl"));
    assert!(points.contains("validation/loss"), "{points}");
    assert!(run.join("models/step-0000100/unet").is_dir());
    // Before the first step, after 50 and after 100.
    assert_eq!(std::fs::read_dir(run.join("samples")).map_or(0, Iterator::count), 3);
    assert_eq!(read(&run.join("validation_prompts.txt")).lines().count(), 2);
}

/// Each run changed the weights that it trains.
fn the_models_differ(scene: &mut Scene) {
    let weights = |path: &str| std::fs::read(scene.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let unet = "unet/diffusion_pytorch_model.safetensors";
    let sft = weights(&format!("data/runs/sft/models/step-0000100/{unet}"));
    assert!(sft != weights(&format!("data/runs/contrast/models/step-0000100/{unet}")));
    let adapter = scene.path("data/runs/contrast-lora/models/step-0000100/pytorch_lora_weights.safetensors");
    assert!(adapter.is_file());
}

fn the_report_compares(scene: &mut Scene) {
    let report = json(&scene.path("data/evaluations/evaluate/report.json"));
    assert_eq!((&report["prompts"], &report["baseline"]), (&6.into(), &"sd15".into()));
    assert_eq!(report["models"].as_array().map(Vec::len), Some(4));
    let report = json(&scene.path("data/evaluations/evaluate-captions/report.json"));
    assert_eq!(report["models"].as_array().map(Vec::len), Some(2));
}

fn votes_are_ranked(scene: &mut Scene) {
    let board = scene.ask_json("curl -sf http://127.0.0.1:8080/api/v1/leaderboard");
    assert_eq!(board["votes"], 6, "{board}");
    let rated: Vec<&str> = board["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| !row["rating"].is_null())
        .filter_map(|row| row["model"].as_str())
        .collect();
    assert!(rated.len() == 2 && rated.contains(&"sd15") && rated.contains(&"contrast"), "{board}");
    for page in ["models", "leaderboard", "judge?models=sd15,contrast", "datasets", ""] {
        let html = scene.ask(&format!("curl -sf 'http://127.0.0.1:8080/{page}'"));
        assert!(html.contains("</html>"), "{page}: {html}");
    }
}

fn exports_are_whole(scene: &mut Scene) {
    for folder in ["exported", "exported-votes"] {
        let index = json(&scene.path(folder).join("model_index.json"));
        assert_eq!(index["_class_name"], "StableDiffusionPipeline");
        assert!(scene.path(folder).join("README.md").is_file());
    }
    if std::env::var_os("ORACLES_PYTHON").is_some() {
        let image = image::open(scene.path("lighthouse.png")).expect("an image by diffusers");
        assert_eq!((image.width(), image.height()), (64, 64));
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn json(file: &Path) -> serde_json::Value {
    serde_json::from_str(&read(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

#[test]
fn deploy() {
    let database = Database::absent("deploy");
    let restored = format!("{}_restored", database.name);
    let (address, rendezvous) = (address(), address());
    let mut scene = Scene::new(&[
        ("/srv/diff-contrast", "SCRATCH/srv"),
        ("/mnt/diff-contrast", "SCRATCH/mnt"),
        ("127.0.0.1:8080", &address),
        ("127.0.0.1:29400", &rendezvous),
        ("cuda:$gpu", "cpu"),
        ("cuda:$rank", "cpu"),
        ("postgres://admin@db.example/postgres", database.server()),
        ("postgres://diff_contrast@db.example/diff_contrast_restored", &database.url(&restored)),
        ("postgres://diff_contrast@db.example/diff_contrast", &database.url(&database.name)),
        ("CREATE DATABASE diff_contrast_restored", &format!("CREATE DATABASE {restored}")),
        ("CREATE DATABASE diff_contrast", &format!("CREATE DATABASE {}", database.name)),
    ]);
    scene.follow(
        &Page::read(&page("docs/deploy.md")),
        &[("3. ", both_workers_worked), ("7. ", the_copies_are_whole)],
    );
}

fn both_workers_worked(scene: &mut Scene) {
    let jobs = scene.ask_json("api http://127.0.0.1:8080/api/v1/jobs");
    let workers: std::collections::BTreeSet<&str> =
        jobs["items"].as_array().into_iter().flatten().filter_map(|job| job["worker"].as_str()).collect();
    assert_eq!(workers.len(), 2, "{jobs}");
}

/// The restored server generates with a model whose weights are in the copied artifacts, and SQLite's copy has the job.
fn the_copies_are_whole(scene: &mut Scene) {
    let url = "http://127.0.0.1:8080/generate?prompt=a+red+circle&model=third&steps=2";
    assert!(
        scene.ask(&format!("api '{url}' | wc -c")).trim().parse::<usize>().is_ok_and(|bytes| bytes > 500)
    );
    let name = scene.ask("sqlite3 backup/diff-contrast.db 'SELECT name FROM models ORDER BY name'");
    assert_eq!(name.split_whitespace().collect::<Vec<_>>(), ["first", "shapes"]);
}

/// The short commands of README.md and docs/training.md, on the bundled model.
#[test]
fn first_commands() {
    let address = address();
    let mut scene = Scene::new(&[("127.0.0.1:8080", &address)]);
    scene.set("ADDRESS", &address);
    scene.ask("diff-contrast-server > server.log 2>&1 &\nuntil curl -sf http://127.0.0.1:8080/readyz; do sleep 0.2; done");
    let readme = Page::read(&page("README.md"));
    let mut ran = 0;
    for block in readme.blocks().filter(|block| block.text.starts_with("$ curl")) {
        ran += 1;
        scene.run_at(block, block.text.trim_start_matches("$ "));
    }
    assert_eq!(ran, 2, "README.md has other requests now");
    assert!(std::fs::read(scene.path("out.png")).expect("an image").starts_with(b"\x89PNG"));
    let jobs = scene.ask_json("curl -sf http://127.0.0.1:8080/api/v1/jobs");
    assert_eq!(jobs["items"][0]["spec"]["name"], "mine", "{jobs}");

    let training = Page::read(&page("docs/training.md"));
    let spec = training.blocks().find(|block| block.language == "toml").expect("a spec");
    std::fs::write(scene.path("CONFIG.toml"), &spec.text).expect("a file");
    let command =
        training.blocks().find(|block| block.text.contains("train CONFIG.toml")).expect("a command");
    scene.run_at(command, command.text.trim_start_matches("$ "));
    assert!(scene.path("data/runs/winter/models/step-0000050/unet").is_dir());
}

#[test]
fn blocks_that_are_not_run_say_so() {
    for name in ["docs/your-own-data.md", "docs/deploy.md"] {
        let text = read(&page(name));
        let lines: Vec<&str> = text.lines().collect();
        for block in Page::parse(name, &text).blocks().filter(|block| block.kind == Kind::Shown) {
            // The line above the fence is empty.
            let above = lines.get(block.line.saturating_sub(4)).copied().unwrap_or_default();
            assert!(
                above.contains("Not run by the test"),
                "{}: say above it that it is not run",
                block.place()
            );
        }
    }
}

//! Datasets: list, pairs, images, search; and the export of votes.

use crate::support::TestApp;
use datasets::rows::Pairs;
use domain::data::{DataSpec, FolderSpec, PickAPicSpec};
use domain::dataset::{ReadReport, Reason};
use domain::prepare::{Crop, Manifest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Writes a dataset of three pairs, one of them with a loser outside its folder.
fn write_dataset(folder: &Path) {
    fs::create_dir_all(folder).expect("made");
    let mut lines = String::new();
    for (index, prompt) in ["a Red cat", "a dog", "a red <b>hen</b>"].iter().enumerate() {
        for (side, level) in [("w", 200), ("l", 30)] {
            let image = image::RgbImage::from_pixel(9, 7, image::Rgb([level, index as u8, 0]));
            image.save(folder.join(format!("{index}{side}.png"))).expect("saved");
        }
        let loser = if index == 1 { "../outside.png".to_owned() } else { format!("{index}l.png") };
        let line = serde_json::json!({ "prompt": prompt, "winner": format!("{index}w.png"), "loser": loser });
        lines += &format!("{line}\n");
    }
    fs::write(folder.join("pairs.jsonl"), lines).expect("written");
}

fn names(reply: &Value) -> Vec<&str> {
    reply["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["name"].as_str().expect("a name"))
        .collect()
}

#[tokio::test]
async fn datasets_are_listed_and_their_pairs_shown() {
    let app = TestApp::start().await;
    write_dataset(&app.folder.path().join("datasets/mine"));
    fs::create_dir_all(app.folder.path().join("datasets/empty")).expect("made");
    let sets = app.get("/api/v1/datasets").await.expect(200).json();
    assert_eq!(names(&sets)[5..], ["shapes-quality", "votes", "empty", "mine"]);
    let of =
        |name: &str| sets["items"].as_array().expect("items").iter().find(|s| s["name"] == name).cloned();
    assert_eq!(of("mine").expect("the dataset")["rows"], 3);
    assert!(of("empty").expect("the dataset")["problem"].as_str().is_some_and(|p| p.contains("pairs.jsonl")));

    let pairs = app.get("/api/v1/datasets/mine/pairs").await.expect(200).json();
    assert_eq!(pairs["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(pairs["report"]["dropped"]["missing_image"], 1);
    assert!(pairs["report"]["named"][0]["detail"].as_str().is_some_and(|d| d.contains("leads out")));
    let found = app.get("/api/v1/datasets/mine/pairs?prompt=RED&from=1").await.expect(200).json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["items"][0]["index"], 1);
    for side in ["winner_url", "loser_url"] {
        let address = found["items"][0][side].as_str().expect("an address");
        let image = app.get(address).await.expect(200);
        assert_eq!(image.header("content-type"), "image/png");
        let level = image::load_from_memory(&image.bytes).expect("a PNG").to_rgb8().get_pixel(0, 0).0;
        assert_eq!(level, [if side == "winner_url" { 200 } else { 30 }, 2, 0]);
    }
    app.get("/api/v1/datasets/mine/pairs/2").await.expect(404);
    app.get("/api/v1/datasets/mine/pairs/1/middle").await.expect(404);
    app.get("/api/v1/datasets/..%2F..%2Fetc/pairs").await.expect(404);
    app.get("/api/v1/datasets/mine/pairs?limit=0").await.refuses(422, "limit");
    app.get("/api/v1/datasets/empty/pairs").await.expect(503);

    // Pairs that were skipped in preparation are not shown, and the other pairs keep their indices.
    let prepared = app.folder.path().join("datasets/prepared");
    fs::create_dir_all(&prepared).expect("made");
    let source = app.folder.path().join("datasets/mine").to_string_lossy().into_owned();
    let manifest = Manifest {
        data: DataSpec::Folder(FolderSpec { folder: source, ..FolderSpec::default() }),
        size: [64, 64],
        crop: Crop::default(),
        image_filter: BTreeMap::new(),
        report: ReadReport::default(),
        left_out: BTreeMap::from([("pairs.jsonl".to_owned(), BTreeSet::from([0]))]),
        cut: None,
        examples: vec![1],
        parts: BTreeMap::new(),
    };
    fs::write(prepared.join("manifest.json"), serde_json::to_vec(&manifest).expect("JSON")).expect("written");
    let left = app.get("/api/v1/datasets/prepared/pairs").await.expect(200).json();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["items"][0]["index"], 1);
    app.get("/api/v1/datasets/prepared/pairs/1/winner").await.expect(200);
    for hidden in ["/api/v1/datasets/prepared/pairs/0", "/api/v1/datasets/prepared/pairs/0/winner"] {
        app.get(hidden).await.expect(404);
    }

    let page = app.get("/datasets").await.expect(200).text();
    assert!(
        page.contains("mine") && page.contains("shapes-winter") && page.contains("pairs.jsonl"),
        "{page}"
    );
    let page = app.get("/datasets/mine?prompt=red").await.expect(200).text();
    assert!(page.contains("a red &lt;b&gt;hen&lt;/b&gt;") && page.contains("missing image"), "{page}");
    let page = app.get("/datasets/mine/1").await.expect(200).text();
    assert!(page.contains("pairs.jsonl row 3") && page.contains("/pairs/1/loser"), "{page}");
    app.get("/datasets/none").await.expect(404);
}

/// Browsers show WebP and GIF; TIFF is converted, and what is no image is not sent.
#[tokio::test]
async fn images_of_every_format_are_shown() {
    let app = TestApp::start().await;
    let folder = app.folder.path().join("datasets/formats");
    fs::create_dir_all(&folder).expect("made");
    let pixels = image::RgbImage::from_pixel(9, 7, image::Rgb([200, 30, 10]));
    let mut lines = String::new();
    for (ending, format) in [
        ("webp", image::ImageFormat::WebP),
        ("gif", image::ImageFormat::Gif),
        ("tif", image::ImageFormat::Tiff),
    ] {
        pixels.save_with_format(folder.join(format!("a.{ending}")), format).expect("saved");
        lines += &format!("{{\"prompt\": \"a\", \"winner\": \"a.{ending}\", \"loser\": \"page.html\"}}\n");
    }
    fs::write(folder.join("pairs.jsonl"), lines).expect("written");
    fs::write(folder.join("page.html"), "<!doctype html><script>alert(1)</script>").expect("written");
    for (index, kind) in ["image/webp", "image/gif", "image/png"].into_iter().enumerate() {
        let address = format!("/api/v1/datasets/formats/pairs/{index}");
        let image = app.get(&format!("{address}/winner")).await.expect(200);
        assert_eq!(image.header("content-type"), kind);
        let shown = image::load_from_memory(&image.bytes).expect("an image").to_rgb8();
        assert_eq!(shown.dimensions(), (9, 7));
        let refusal = app.get(&format!("{address}/loser")).await.expect(404).text();
        assert!(refusal.contains("a web page"), "{refusal}");
    }
}

#[tokio::test]
async fn datasets_of_the_bundled_world_are_shown() {
    let app = TestApp::start().await;
    let first = app.get("/api/v1/datasets/shapes-winter/pairs?limit=2").await.expect(200).json();
    assert_eq!(first["next"], 2);
    let second = app.get("/api/v1/datasets/shapes-winter/pairs?limit=2&from=2").await.expect(200).json();
    assert_ne!(first["items"][0]["prompt"], second["items"][0]["prompt"]);
    let winner = app.get("/api/v1/datasets/shapes-winter/pairs/3/winner").await.expect(200).bytes;
    let expected = shapes::set::entry(shapes::set::Set::Winter, 0, 3).winner.to_png().expect("a PNG");
    assert!(winner == expected);
    let alone = app.get("/api/v1/datasets/shapes-images/pairs?limit=1").await.expect(200).json();
    assert_eq!(alone["items"][0]["loser_url"], Value::Null);
}

#[tokio::test]
async fn exported_votes_can_be_read_as_a_dataset() {
    let app = TestApp::start().await;
    app.pairs(6).await;
    app.votes(6).await;
    let export = app.get("/api/v1/votes/export").await.expect(200);
    assert!(export.header("content-disposition").contains("votes.parquet"));
    let scratch = tempfile::tempdir().expect("a folder");
    fs::write(scratch.path().join("votes.parquet"), &export.bytes).expect("written");
    let folder = scratch.path().to_string_lossy().into_owned();
    let set = DataSpec::PickAPic(PickAPicSpec { folder, ..PickAPicSpec::default() });
    let mut pairs = Pairs::open(&set).expect("opens").expect("a dataset");
    let mut count = 0;
    for pair in &mut pairs {
        let pair = pair.expect("a pair");
        assert_eq!(pair.models[0].as_deref(), Some("tuned-contrast"));
        let blue = image::load_from_memory(&pair.winner).expect("a PNG").to_rgb8().get_pixel(0, 0).0;
        assert_eq!(blue, [40, 40, 220]);
        count += 1;
    }
    assert_eq!((count, pairs.report().dropped[&Reason::Tie]), (4, 2));

    let lines = app.get("/api/v1/votes/export?format=jsonl&ties=drop&per=vote").await.expect(200).text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    let image = app.get(lines[0]["image_0_url"].as_str().expect("an address")).await.expect(200);
    assert_eq!(image.header("content-type"), "image/png");
    app.get("/api/v1/votes/export?models=tuned-contrast&format=jsonl")
        .await
        .expect(200)
        .text()
        .is_empty()
        .then_some(())
        .expect("both models must be named");
    app.get("/api/v1/votes/export?since=yesterday").await.refuses(400, "since");

    let shown = app.get("/api/v1/datasets/votes/pairs").await.expect(200).json();
    assert_eq!(shown["items"].as_array().map(Vec::len), Some(4));
    app.get(shown["items"][0]["winner_url"].as_str().expect("an address")).await.expect(200);
}

#[tokio::test]
async fn a_set_is_checked_before_a_run() {
    let app = TestApp::start().await;
    let check = |spec: &str| {
        let body = serde_json::json!({ "spec": spec }).to_string();
        app.post("/api/v1/datasets/check", body)
    };
    let run = "name = 'a'\nbase = 'tiny'\nsteps = 10\nbatch_size = 2\nobjective = { kind = 'diffusion_dpo', beta = 500.0 }\n\
               learning_rate = { rate = 1e-5 }\ndata = { source = 'shapes', set = 'winter', count = 5 }\n";
    let checked = check(run).await.expect(200).json();
    let report = &checked["report"];
    assert_eq!((&report["rows"]["pairs"], &report["with_loser"]), (&5.into(), &5.into()));
    assert_eq!(report["sizes"], serde_json::json!([{ "width": 64, "height": 64, "images": 10 }]));
    assert!(report["cost"]["trained"].as_u64() > Some(0) && report["cost"].get("seconds").is_none());
    assert!(
        checked["contact_sheet"].as_str().is_some_and(|sheet| sheet.starts_with("data:image/jpeg;base64,"))
    );
    let json = serde_json::json!({ "data": { "source": "shapes", "set": "images", "count": 3 } }).to_string();
    assert_eq!(check(&json).await.expect(200).json()["report"]["with_loser"], 0);

    let folder = |folder: &str| format!("[data]\nsource = 'images'\nfolder = '{folder}'\n");
    for outside in ["/etc", "../x", "a/../../b"] {
        check(&folder(outside)).await.refuses(422, "data.folder");
    }
    for (spec, part) in [
        (folder("nowhere"), "no such folder"),
        ("[data]\nsource = 'votes'\n".to_owned(), "nothing to check"),
        ("steps = ".to_owned(), "line 1"),
        (run.replace("beta = 500.0", "beta = -1.0"), "objective.beta"),
        (run.replace("'tiny'", "'nobody'"), "no model"),
    ] {
        let refusal = check(&spec).await.expect(422).json();
        assert!(refusal.to_string().contains(part), "{part:?}: {refusal}");
    }
    let page = app.get("/datasets/check").await.expect(200).text();
    assert!(page.contains("Check a dataset") && !page.contains("First examples"));
    let query = form_urlencoded::byte_serialize(run.as_bytes()).collect::<String>();
    let page = app.get(&format!("/datasets/check?spec={query}")).await.expect(200).text();
    assert!(page.contains("First examples") && page.contains("5 with a loser"), "{page}");
}

/// Exchanged pairs of the bundled world: the rule disputes those whose image that was the loser contradicts its caption.
#[tokio::test]
async fn pairs_whose_label_the_rule_disputes_are_found() {
    let app = TestApp::start().await;
    let folder = app.folder.path().join("datasets/exchanged");
    fs::create_dir_all(&folder).expect("made");
    let mut lines = String::new();
    let count = 20;
    for index in 0..count {
        let entry = shapes::set::entry(shapes::set::Set::Quality, 0, index);
        let loser = entry.loser.expect("a loser");
        for (side, image) in [("w", &loser), ("l", &entry.winner)] {
            fs::write(folder.join(format!("{index}{side}.png")), image.to_png().expect("a PNG"))
                .expect("written");
        }
        let line = serde_json::json!({
            "prompt": entry.caption, "winner": format!("{index}w.png"), "loser": format!("{index}l.png")
        });
        lines += &format!("{line}\n");
    }
    fs::write(folder.join("pairs.jsonl"), lines).expect("written");
    let found = |name: &str| {
        let address = format!("/api/v1/datasets/{name}/pairs?disputed=true&limit=500");
        let app = &app;
        async move { app.get(&address).await.expect(200).json() }
    };
    let exchanged = found("exchanged").await;
    let disputed = exchanged["items"].as_array().map_or(0, Vec::len);
    assert!(disputed > 0 && disputed < count as usize, "{disputed} of {count}");
    assert_eq!(exchanged["report"]["rows"], count);
    // The set's own labels follow from how its images were made. The rule misreads few of them.
    let own = found("shapes-quality").await;
    let misread =
        own["items"].as_array().map_or(0, Vec::len) as f64 / own["report"]["rows"].as_f64().expect("rows");
    assert!(misread * 4.0 < disputed as f64 / count as f64, "{misread}");
    assert_eq!(found("votes").await["items"], serde_json::json!([]));
    let page = app.get("/datasets/exchanged?disputed=true").await.expect(200).text();
    assert!(page.contains(&format!("{disputed} of the {count} pairs read")), "the page counts them");
}

#[tokio::test]
async fn a_set_has_examples_in_the_list_and_a_report() {
    let app = TestApp::start().await;
    write_dataset(&app.folder.path().join("datasets/mine"));
    let sets = app.get("/api/v1/datasets").await.expect(200).json();
    let mine =
        sets["items"].as_array().expect("items").iter().find(|set| set["name"] == "mine").expect("the set");
    assert_eq!(mine["examples"].as_array().map(Vec::len), Some(2));
    let first = mine["examples"][0]["winner_url"].as_str().expect("an address");
    app.get(first).await.expect(200);
    assert!(app.get("/datasets").await.expect(200).text().contains(first));
    let report = app.get("/api/v1/datasets/mine/report").await.expect(200).json()["report"].clone();
    assert_eq!(
        (&report["rows"]["pairs"], &report["with_loser"]),
        (&serde_json::json!(2), &serde_json::json!(2))
    );
    assert_eq!(report["rows"]["dropped"]["missing_image"], 1);
    let page = app.get("/datasets/mine/report").await.expect(200).text();
    assert!(page.contains("Statistics of mine") && page.contains("missing image"), "{page}");
    app.get("/api/v1/datasets/votes/report").await.expect(404);
    app.get("/api/v1/datasets/none/report").await.expect(404);
    app.get("/datasets/none/report").await.expect(404);
}

//! Contestants: a model with adapters is judged and ranked by itself; lists of models are whole.

use crate::logging::count_queries;
use crate::lora;
use crate::support::{TestApp, copy};
use serde_json::{Value, json};

/// Draws an image and returns its id.
async fn drawn(app: &TestApp, model: &str, lora: &str) -> String {
    let lora = if lora.is_empty() { String::new() } else { format!("&lora={lora}") };
    let reply = app.get(&format!("/generate?prompt=a+red+circle&seed=7&model={model}{lora}")).await;
    reply.expect(200).header("x-image-id").to_owned()
}

/// Creates a matchup of two images, and votes for the first one as a new rater. Returns what was shown before the vote, and
/// the response to it.
async fn prefer(app: &TestApp, first: &str, second: &str) -> (Value, Value) {
    let body = json!({ "image_a": first, "image_b": second }).to_string();
    let matchup = app.post("/api/v1/matchups", body).await.expect(201).json();
    let left = app.get(matchup["left_url"].as_str().expect("an address")).await.expect(200);
    let wanted = app.get(&format!("/api/v1/images/{first}/file")).await.expect(200);
    let choice = if left.bytes == wanted.bytes { "left" } else { "right" };
    let address = format!("/api/v1/matchups/{}/vote", matchup["id"].as_str().expect("an id"));
    (
        matchup,
        app.post(&address, json!({ "choice": choice, "reveal": true }).to_string()).await.expect(201).json(),
    )
}

fn row<'a>(board: &'a Value, name: &str) -> &'a Value {
    let rows = board["rows"].as_array().expect("rows");
    rows.iter().find(|row| row["model"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn an_image_with_an_adapter_counts_for_the_model_with_the_adapter() {
    let app = lora::start(&[]).await;
    copy(&app.folder.path().join("models/tiny"), &app.folder.path().join("models/second"));
    let app = TestApp::start_in(app.folder, &[]).await;
    let with_adapter = drawn(&app, "tiny", "snow:0.5").await;
    let (second, plain) = (drawn(&app, "second", "").await, drawn(&app, "tiny", "").await);
    let name = "tiny + snow:0.5";
    for (other, other_name) in [(&second, "second"), (&plain, "tiny")] {
        let (shown, vote) = prefer(&app, &with_adapter, other).await;
        assert!(!shown.to_string().contains("snow") && !shown.to_string().contains("tiny"), "{shown}");
        let mut names = [&vote["left_model"], &vote["right_model"]];
        names.sort_by_key(|name| name.to_string());
        let mut expected = [&json!(other_name), &json!(name)];
        expected.sort_by_key(|name| name.to_string());
        assert_eq!(names, expected);
    }

    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    assert_eq!((&board["votes"], &board["raters"]), (&json!(2), &json!(2)));
    assert_eq!(row(&board, name)["win_rate"]["value"], 1.0);
    assert_eq!(row(&board, name)["lora"][0]["model"], "snow");
    assert_eq!(row(&board, name)["model_id"], json!(app.model("tiny").await.id));
    assert_eq!(
        (&row(&board, "tiny")["win_rate"]["value"], &row(&board, "tiny")["lora"]),
        (&json!(0.0), &Value::Null)
    );
    let agreement = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    assert_eq!(agreement["models"][0], name);
    assert_eq!(agreement["models"].as_array().map(Vec::len), Some(3));
    assert!(agreement["elo"][0].as_f64() > Some(1000.0), "{agreement}");
    let page = app.get("/leaderboard").await.expect(200).text();
    assert!(page.contains(name) && !page.contains("/models#tiny +"), "{page}");

    let votes = app.get("/api/v1/votes").await.expect(200).json();
    assert_eq!(votes.to_string().matches(name).count(), 2, "{votes}");
    let export = app.get("/api/v1/votes/export?format=jsonl").await.expect(200).text();
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &lines {
        let winner = usize::from(line["label_1"] == 1.0);
        assert_eq!(line[format!("model_{winner}")], name, "{line}");
    }
    assert_eq!(lines.len(), 2);
    let only = format!(
        "/api/v1/votes/export?format=jsonl&models=tiny,{}",
        name.replace(' ', "%20").replace('+', "%2B")
    );
    assert_eq!(app.get(&only).await.expect(200).text().lines().count(), 1);
    assert_eq!(app.get("/api/v1/votes/export?format=jsonl&models=tiny,second").await.expect(200).text(), "");
    let pair = app.get("/api/v1/datasets/votes/pairs/0").await.expect(200).json();
    assert_eq!(pair["models"], json!([name, "second"]));
    // The model's card shows its own image.
    let models = app.get("/api/v1/models").await.expect(200).json();
    let tiny =
        models["items"].as_array().expect("models").iter().find(|item| item["model"]["name"] == "tiny");
    assert_eq!(tiny.expect("the model")["samples"], json!([plain]));
}

/// The page of a pair follows the votes: a changed majority exchanges winner and loser at once.
#[tokio::test]
async fn a_pair_of_votes_is_that_of_the_votes_of_now() {
    let app = TestApp::start().await;
    let models = [app.sibling("one", "sft").await, app.sibling("two", "sft").await];
    let a = app.image(&models[0], "a cat", [200, 2, 3]).await.id.to_string();
    let b = app.image(&models[1], "a cat", [4, 5, 200]).await.id.to_string();
    prefer(&app, &a, &b).await;
    let first = async || {
        let pair = app.get("/api/v1/datasets/votes/pairs/0").await.expect(200).json();
        let winner = app.get("/api/v1/datasets/votes/pairs/0/winner").await.expect(200);
        assert_eq!(winner.header("cache-control"), "no-store");
        let red = image::load_from_memory(&winner.bytes).expect("a PNG").to_rgb8().get_pixel(0, 0).0[0];
        (pair["models"].clone(), red)
    };
    app.get("/api/v1/datasets/votes/pairs").await.expect(200);
    assert_eq!(first().await, (json!(["one", "two"]), 200));
    for _ in 0..2 {
        prefer(&app, &b, &a).await;
    }
    assert_eq!(first().await, (json!(["two", "one"]), 4));
    let page = app.get("/datasets/votes/0").await.expect(200).text();
    assert!(page.contains("<figcaption>Winner<!> · two<"), "{page}");
}

/// Lists of models ask the same number of queries however many models there are, and leave none out.
#[tokio::test]
async fn many_models_cost_no_more_queries_and_none_is_left_out() {
    let app = TestApp::start().await;
    let voted = app.pairs(1).await;
    app.votes(1).await;
    // Each has a base and an image, beside the bundled model and the two with votes.
    let mut models = 3;
    let mut counts = Vec::new();
    for (until, id) in [(20, "models-20"), (200, "models-200")] {
        while models < until {
            let model = app.sibling(&format!("model-{models}"), "sft").await;
            app.image(&model, "a cat", [1, 2, 3]).await;
            models += 1;
        }
        let (reply, count) = count_queries(&app, id, "/api/v1/models?limit=500").await;
        let listed = reply.expect(200).json();
        let items = listed["items"].as_array().expect("models");
        assert_eq!(items.len(), until);
        assert!(
            items.iter().filter(|item| item["samples"].as_array().map(Vec::len) == Some(1)).count()
                >= until - 1
        );
        assert!(items.iter().filter(|item| item["base_name"] == "tiny").count() == until - 1);
        counts.push(count);
    }
    // A connection that is opened meanwhile sends one of its own.
    assert!(counts[1] > 0 && counts[1] <= counts[0] + 1, "{counts:?}");
    assert!(counts[1] <= 7, "{counts:?}");

    while models < 510 {
        app.sibling(&format!("model-{models}"), "sft").await;
        models += 1;
    }
    let board = app.get("/api/v1/leaderboard").await.expect(200).json();
    for model in &voted {
        assert!(row(&board, &model.name)["rating"].is_object(), "{}", model.name);
    }
    let agreement = app.get("/api/v1/leaderboard/agreement").await.expect(200).json();
    assert_eq!(agreement["models"].as_array().map(Vec::len), Some(2));
}

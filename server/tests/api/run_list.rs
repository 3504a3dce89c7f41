//! The list of runs: filters, orders and pages, over HTTP and on the page.

use crate::support::TestApp;
use serde_json::{Value, json};
use store::Ending;

fn names(reply: &Value) -> Vec<&str> {
    reply["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["run"]["name"].as_str().expect("a name"))
        .collect()
}

/// Whether the table has a run of this name. The properties of the island have the names of all jobs.
fn shows(page: &str, name: &str) -> bool {
    page.contains(&format!(">{name}<"))
}

async fn filled() -> TestApp {
    let app = TestApp::start().await;
    app.run("own-dpo", 3, Some(Ending::Succeeded)).await;
    app.run("Own-sft", 2, Some(Ending::Failed("the loss is not a number at step 2".into()))).await;
    app.run("winter", 4, None).await;
    app
}

#[tokio::test]
async fn runs_are_listed_by_filter_order_and_page() {
    let app = filled().await;
    for (query, expected) in [
        ("", vec!["winter", "Own-sft", "own-dpo"]),
        ("search=OWN", vec!["Own-sft", "own-dpo"]),
        ("state=failed", vec!["Own-sft"]),
        ("state=failed&search=dpo", vec![]),
        ("objective=diff_contrast&base=tiny&sort=name", vec!["own-dpo", "Own-sft", "winter"]),
        ("objective=sft", vec![]),
        ("archived=true", vec![]),
        ("sort=duration&state=&tag=", vec!["Own-sft", "own-dpo", "winter"]),
    ] {
        let reply = app.get(&format!("/api/v1/runs?{query}")).await.expect(200).json();
        let mut listed = names(&reply);
        if query.starts_with("sort=duration") {
            // Both ended runs took about as long.
            listed[..2].sort_unstable();
        }
        assert_eq!(listed, expected, "{query}");
        assert_eq!(reply["next"], Value::Null, "{query}");
    }
    let first = app.get("/api/v1/runs?limit=2").await.expect(200).json();
    let next = first["next"].as_str().expect("a next page");
    app.run("added-meanwhile", 1, Some(Ending::Succeeded)).await;
    let second = app.get(&format!("/api/v1/runs?limit=2&cursor={next}")).await.expect(200).json();
    assert_eq!((names(&first), names(&second)), (vec!["winter", "Own-sft"], vec!["own-dpo"]));
    assert_eq!(second["next"], Value::Null);

    let item = &app.get("/api/v1/runs?search=own-dpo").await.json()["items"][0];
    let latest: Vec<_> =
        item["latest"].as_array().expect("points").iter().map(|point| &point["name"]).collect();
    assert_eq!(latest, [&json!("loss"), &json!("rewards/accuracies"), &json!("samples_per_second")]);
    assert!(item["run"]["worked_ms"].as_i64().is_some_and(|ms| ms > 0), "{item}");
    let choices = app.get("/api/v1/run-choices").await.expect(200).json();
    assert_eq!(choices, json!({ "bases": ["tiny"], "tags": [], "studies": [] }));
}

#[tokio::test]
async fn fields_that_are_unknown_or_wrong_are_named() {
    let app = filled().await;
    let next =
        app.get("/api/v1/runs?limit=1").await.expect(200).json()["next"].as_str().expect("next").to_owned();
    for (query, status, field) in [
        ("colour=red".to_owned(), 400, "colour"),
        ("state=asleep".to_owned(), 400, "state"),
        ("sort=size".to_owned(), 400, "sort"),
        ("study=mine".to_owned(), 400, "study"),
        ("archived=maybe".to_owned(), 400, "archived"),
        ("objective=gan".to_owned(), 422, "objective"),
        ("tag=a+b".to_owned(), 422, "tag"),
        (format!("search={}", "a".repeat(101)), 422, "search"),
        ("limit=501".to_owned(), 422, "limit"),
        ("cursor=3".to_owned(), 422, "cursor"),
        (format!("cursor={next}&sort=name"), 422, "cursor"),
    ] {
        app.get(&format!("/api/v1/runs?{query}")).await.refuses(status, field);
        // The page has the same status and names the field.
        let page = app.get(&format!("/runs?{query}")).await.expect(status).text();
        assert!(page.contains(&format!("<code>{field}<")), "{query}: {page}");
    }
}

#[tokio::test]
async fn the_page_filters_and_turns_without_javascript() {
    let app = filled().await;
    let page = app.get("/runs").await.expect(200).text();
    for text in [
        "own-dpo",
        "Own-sft",
        "winter",
        "the loss is not a number at step 2",
        "name=\"search\"",
        "href=\"/runs/new\"",
    ] {
        assert!(page.contains(text), "no {text:?}: {page}");
    }
    let page = app.get("/runs?state=failed&sort=name").await.expect(200).text();
    assert!(shows(&page, "Own-sft") && !shows(&page, "winter") && page.contains("Reset"), "{page}");
    let page = app.get("/runs?search=nothing").await.expect(200).text();
    assert!(page.contains("No run matches."), "{page}");
    let page = app.get("/runs?sort=name&limit=2").await.expect(200).text();
    assert!(shows(&page, "own-dpo") && !shows(&page, "winter"), "{page}");
    let next = page
        .split("rel=\"next\" href=\"")
        .nth(1)
        .or_else(|| page.split("href=\"/runs?sort=name&amp;limit=2&amp;cursor=").nth(1));
    let address = next.and_then(|rest| rest.split('"').next()).expect("a next page").replace("&amp;", "&");
    let address = if address.starts_with("/runs") {
        address
    } else {
        format!("/runs?sort=name&limit=2&cursor={address}")
    };
    let page = app.get(&address).await.expect(200).text();
    assert!(shows(&page, "winter") && !shows(&page, "Own-sft") && page.contains("First page"), "{page}");
}

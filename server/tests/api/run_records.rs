//! The log of a run, what it takes of its worker, and chosen columns of the list.

use crate::support::TestApp;
use domain::id::RunId;
use domain::log::{LogLevel, LogLine};
use domain::run::MetricPoint;
use domain::usage::Usage;
use serde_json::json;
use store::{Claim, Ending};

async fn run_of(app: &TestApp, claim: &Claim) -> RunId {
    app.store.get_job(claim.job.id).await.expect("a query").expect("the job").run_id.expect("its run")
}

#[tokio::test]
async fn the_log_of_a_run_is_followed_and_downloaded() {
    let app = TestApp::start().await;
    let claim = app.run("logged", 2, None).await;
    let path = format!("/api/v1/runs/{}/log", run_of(&app, &claim).await);
    assert_eq!(app.get(&path).await.expect(200).json()["items"], json!([]));
    let line = |number: usize| LogLine {
        line: 0,
        at: app.now(),
        level: if number == 7 { LogLevel::Error } else { LogLevel::Info },
        message: format!("line {number}\nof two"),
    };
    let lines: Vec<LogLine> = (1..=700).map(line).collect();
    assert!(app.store.append_log(&claim, &lines).await.expect("written"));
    let last = app.get(&format!("{path}?limit=2")).await.expect(200).json()["items"].clone();
    assert_eq!((&last[0]["line"], &last[1]["line"]), (&json!(699), &json!(700)));
    let next = app.get(&format!("{path}?after=6&limit=1")).await.expect(200).json()["items"][0].clone();
    assert_eq!((&next["line"], &next["level"]), (&json!(7), &json!("error")));
    let file = app.get(&format!("{path}.txt")).await.expect(200);
    assert!(file.header("content-disposition").contains("logged.log"));
    let text = file.text();
    assert_eq!(text.lines().count(), 700);
    assert!(text.lines().nth(6).is_some_and(|line| line.ends_with(r"Z ERROR line 7\nof two")), "{text}");
    app.get(&format!("{path}?limit=0")).await.refuses(422, "limit");
    app.get(&format!("{path}?after=x")).await.refuses(400, "after");
    for end in ["log", "log.txt", "usage"] {
        app.get(&format!("/api/v1/runs/{}/{end}", app.now_id())).await.expect(404);
    }
}

#[tokio::test]
async fn a_run_says_what_it_takes_and_its_page_reads_without_javascript() {
    let app = TestApp::start().await;
    let claim = app.run("measured", 2, None).await;
    let run = run_of(&app, &claim).await;
    let path = format!("/api/v1/runs/{run}/usage");
    assert_eq!(app.get(&path).await.expect(200).json(), json!({ "measurements": [], "time": [] }));
    for memory in [100, 200] {
        let usage =
            Usage { at: app.now(), cores: 1.5, memory, host_memory: 4_000_000_000, device_memory: None };
        app.store.append_usage(&claim, &usage).await.expect("written");
    }
    let seconds =
        |name: &str, step: i64, value: f64| MetricPoint { name: format!("seconds/{name}"), step, value };
    let points = [
        seconds("forward", 1, 0.2),
        seconds("forward", 2, 0.4),
        seconds("data", 2, 0.1),
        seconds("samples", 2, 3.0),
    ];
    app.store.append_metrics(&claim, run, 2, &points).await.expect("points");
    let usage = app.get(&path).await.expect(200).json();
    assert_eq!(
        (&usage["measurements"][1]["memory"], &usage["measurements"][0]["cores"]),
        (&json!(200), &json!(1.5))
    );
    let time = |part: &str| {
        let parts = usage["time"].as_array().expect("parts");
        parts.iter().find(|of| of["part"] == part).and_then(|of| of["seconds"].as_f64()).expect("a part")
    };
    // Two steps: means of the points of parts of every step; samples are spread over both.
    assert!((time("forward") - 0.3).abs() < 1e-9 && (time("samples") - 1.5).abs() < 1e-9, "{usage}");
    let line = LogLine { line: 0, at: app.now(), level: LogLevel::Warn, message: "<b>loud".to_owned() };
    app.store.append_log(&claim, &[line]).await.expect("written");
    for page in [format!("/runs/{run}"), format!("/runs/{run}/log")] {
        let text = app.get(&page).await.expect(200).text();
        for part in ["Time and memory", "Processor cores in use", "&lt;b>loud", "/log.txt"] {
            assert!(
                text.contains(part) || text.contains(&part.replace('>', "&gt;")),
                "{page} has no {part:?}: {text}"
            );
        }
        assert!(!text.contains("Memory in use on the GPU"), "{page}");
    }
    app.get("/runs/no-such-run/log").await.expect(404);
}

#[tokio::test]
async fn the_list_of_runs_has_the_columns_that_are_chosen() {
    let app = TestApp::start().await;
    let claim = app.run("measured", 4, None).await;
    let run = run_of(&app, &claim).await;
    let point = |step: i64, value: f64| MetricPoint { name: "validation/loss".to_owned(), step, value };
    let points = [point(1, 0.75), point(2, 0.25), point(3, f64::NAN), point(4, 0.5)];
    app.store.append_metrics(&claim, run, 4, &points).await.expect("points");
    app.run("other", 2, Some(Ending::Succeeded)).await;
    let columns = "columns=validation/loss:last,validation/loss:lowest,validation/loss:highest,no_such:last";
    let items =
        app.get(&format!("/api/v1/runs?{columns}&sort=name")).await.expect(200).json()["items"].clone();
    assert_eq!(items[0]["columns"], json!([0.5, 0.25, 0.75, null]));
    assert_eq!(items[1]["columns"].as_array().map(Vec::len), Some(4));
    for wrong in ["loss", "loss:best", "LOSS:last", &["loss:last"; 13].join(",")] {
        app.get(&format!("/api/v1/runs?columns={wrong}")).await.refuses(422, "columns");
        app.get(&format!("/runs?column={wrong}")).await.expect(422);
    }
    let page =
        app.get("/runs?column=validation/loss:lowest&column=loss:last&sort=name").await.expect(200).text();
    for text in ["Validation loss, lowest", "Loss, last", "0.25"] {
        assert!(page.contains(text), "no {text:?}: {page}");
    }
    assert!(!page.contains(r#"data-label="Accuracy""#), "{page}");
    // The other pages of the list have them too.
    let page = app.get("/runs?column=loss:last&limit=1").await.expect(200).text();
    assert!(page.contains("limit=1&amp;column=loss%3Alast&amp;cursor="), "{page}");
}

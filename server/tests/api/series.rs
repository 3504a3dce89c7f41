//! Curves of runs as charts read them, their CSV, and a run's lineage.

use crate::support::{TestApp, train_spec};
use domain::evaluate::Metric;
use domain::id::{JobId, ModelId, RunId};
use domain::job::{JobSpec, JobState};
use domain::model::Model;
use domain::run::MetricPoint;
use serde_json::{Value, json};
use store::{Ending, ImageScore};

async fn run_id(app: &TestApp) -> String {
    app.get("/api/v1/runs").await.expect(200).json()["items"][0]["run"]["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

fn curve<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let mut series = reply["series"].as_array().expect("curves").iter();
    series.find(|series| series["metric"] == name).unwrap_or_else(|| panic!("no {name}: {reply}"))
}

#[tokio::test]
async fn buckets_keep_spikes_and_values_that_are_not_finite() {
    let app = TestApp::start().await;
    let claim = app.run("long", 100, None).await;
    let run: RunId = run_id(&app).await.parse().expect("an id");
    let points: Vec<MetricPoint> = (1..=100)
        .map(|step| MetricPoint {
            name: "mse/policy_winner".into(),
            step,
            value: if step == 37 { 1e9 } else { 1.0 },
        })
        .chain([MetricPoint { name: "mse/policy_winner".into(), step: 62, value: f64::NAN }])
        .collect();
    app.store.append_metrics(&claim, run, 100, &points).await.expect("points");
    let address = format!("/api/v1/runs/{run}/series?metric=mse/policy_winner,loss&to=99&buckets=10");
    let reply = app.get(&address).await.expect(200).json();
    assert_eq!(
        (&reply["bucket_steps"], &reply["steps"], &reply["images_per_step"]),
        (&json!(10), &json!(120), &json!(8))
    );
    let buckets = curve(&reply, "mse/policy_winner")["buckets"].as_array().expect("buckets").clone();
    assert_eq!(buckets.len(), 10);
    assert_eq!(
        (&buckets[3]["max"], &buckets[3]["min"], &buckets[3]["count"]),
        (&json!(1e9), &json!(1.0), &json!(10))
    );
    assert_eq!((&buckets[6]["not_finite"], &buckets[6]["count"]), (&json!(1), &json!(10)));
    assert!(buckets[0]["not_finite"].is_null() && buckets[0]["seconds"].is_null());
    assert_eq!(curve(&reply, "loss")["first"]["step"], 1);

    // A range reads only itself, and a curve without points in it is empty.
    let reply = app
        .get(&format!("/api/v1/runs/{run}/series?metric=loss,none&from=90&to=95&seconds=true"))
        .await
        .expect(200)
        .json();
    let steps: Vec<i64> = curve(&reply, "loss")["buckets"]
        .as_array()
        .expect("buckets")
        .iter()
        .filter_map(|b| b["step"].as_i64())
        .collect();
    assert_eq!(steps, [90, 91, 92, 93, 94, 95]);
    assert_eq!(curve(&reply, "none")["buckets"], json!([]));
    let seconds = curve(&reply, "loss")["buckets"][5]["seconds"].as_f64().expect("seconds");
    // 8 images a step at about 30 images a second.
    assert!((seconds - 95.0 * 8.0 / 30.0).abs() < 1.0, "{seconds}");
}

/// What a page appends while it follows a run equals what it shows after a reload, smoothed values included.
#[tokio::test]
async fn a_followed_curve_equals_a_reloaded_one() {
    let app = TestApp::start().await;
    let claim = app.run("followed", 60, None).await;
    let run: RunId = run_id(&app).await.parse().expect("an id");
    let address = format!("/api/v1/runs/{run}/series?metric=loss&smoothing=20&buckets=40");
    let mut followed = app.get(&address).await.expect(200).json();
    for step in 61..=119 {
        let value = ((step * 7919) % 101) as f64 / 64.0;
        let point = MetricPoint { name: "loss".into(), step, value };
        app.store.append_metrics(&claim, run, step, &[point]).await.expect("a point");
        if step % 7 == 0 || step == 119 {
            let after = followed["step"].as_i64().expect("a step");
            let tail = app.get(&format!("{address}&after={after}")).await.expect(200).json();
            let width = tail["bucket_steps"].as_i64().expect("a width");
            let newer = tail["series"][0]["buckets"].as_array().expect("buckets").clone();
            let first = newer[0]["step"].as_i64().expect("a step") / width * width;
            let buckets = followed["series"][0]["buckets"].as_array_mut().expect("buckets");
            buckets.retain(|bucket| bucket["step"].as_i64() < Some(first));
            buckets.extend(newer);
            followed["step"] = tail["step"].clone();
            followed["series"][0]["recent"] = tail["series"][0]["recent"].clone();
        }
    }
    let reloaded = app.get(&address).await.expect(200).json();
    let (a, b) = (&followed["series"][0], &reloaded["series"][0]);
    assert_eq!(a["buckets"].as_array().map(Vec::len), b["buckets"].as_array().map(Vec::len));
    for (a, b) in
        a["buckets"].as_array().expect("buckets").iter().zip(b["buckets"].as_array().expect("buckets"))
    {
        for field in ["step", "min", "max", "last", "count"] {
            assert_eq!(a[field], b[field], "{field}");
        }
        let (a, b) = (a["mean"].as_f64().expect("a mean"), b["mean"].as_f64().expect("a mean"));
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
    assert_eq!(a["recent"], b["recent"]);
    assert_eq!(b["recent"]["steps"], 50);
}

#[tokio::test]
async fn a_range_that_is_wrong_is_refused_by_field() {
    let app = TestApp::start().await;
    app.run("short", 4, Some(Ending::Succeeded)).await;
    let run = run_id(&app).await;
    let series = |query: &str| format!("/api/v1/runs/{run}/series?{query}");
    for (query, field) in [
        ("from=-1", "from"),
        ("from=9&to=3", "to"),
        ("buckets=0", "buckets"),
        ("buckets=2001", "buckets"),
        ("smoothing=0", "smoothing"),
        ("after=-2", "after"),
    ] {
        app.get(&series(query)).await.refuses(422, field);
    }
    let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    app.get(&series(&format!("metric={}", many.join(",")))).await.refuses(422, "metric");
    app.get(&series("from=9223372036854775807")).await.expect(200);
    app.get(&series("to=9223372036854775807&smoothing=1000000&after=9223372036854775807")).await.expect(200);
    app.get("/api/v1/runs/0199c5a8-7d3e-7f00-8000-0123456789ab/series").await.expect(404);
    app.get("/api/v1/runs/0199c5a8-7d3e-7f00-8000-0123456789ab/series.csv").await.expect(404);
    app.get("/api/v1/runs/0199c5a8-7d3e-7f00-8000-0123456789ab/lineage").await.expect(404);
}

#[tokio::test]
async fn curves_are_downloaded_as_csv() {
    let app = TestApp::start().await;
    let spec: JobSpec = serde_json::from_value(train_spec("exported")).expect("a spec");
    let now = app.now();
    let job = domain::job::Job {
        id: JobId::new(now, [1; 10]),
        spec,
        state: JobState::Succeeded,
        attempt: 1,
        cancel_requested: false,
        worker: None,
        progress: 9000,
        total: 9000,
        error: None,
        priority: 0,
        position: None,
        created_at: now,
        queued_at: now,
        started_at: Some(now),
        finished_at: Some(now),
        run_id: None,
    };
    let id = RunId::new(now, [2; 10]);
    app.store.register_run(&job, id, 9000).await.expect("a run");
    let mut points: Vec<MetricPoint> =
        (1..=9000).map(|step| MetricPoint { name: "loss".into(), step, value: step as f64 }).collect();
    points.push(MetricPoint { name: "validation/loss".into(), step: 2, value: f64::NAN });
    points.push(MetricPoint { name: "validation/loss".into(), step: 9000, value: 0.5 });
    app.store.add_points(id, &points).await.expect("points");
    let reply = app.get(&format!("/api/v1/runs/{id}/series.csv")).await.expect(200);
    assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"exported-curves.csv\"");
    let text = reply.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 9001);
    assert_eq!(
        (lines[0], lines[1], lines[2], lines[9000]),
        ("step,loss,validation/loss", "1,1,", "2,2,nan", "9000,9000,0.5")
    );
    let part =
        app.get(&format!("/api/v1/runs/{id}/series.csv?metric=loss&from=5&to=6")).await.expect(200).text();
    assert_eq!(part, "step,loss\n5,5\n6,6\n");
}

#[tokio::test]
async fn a_lineage_has_base_descendants_and_scores_against_the_base() {
    let app = TestApp::start().await;
    app.run("parent", 4, Some(Ending::Succeeded)).await;
    let run: RunId = run_id(&app).await.parse().expect("an id");
    let base = app.model("tiny").await;
    let made = |name: &str, run: RunId, of: ModelId| Model {
        id: ModelId::new(app.now(), [name.len() as u8; 10]),
        name: name.to_owned(),
        run_id: Some(run),
        base_id: Some(of),
        step: Some(4),
        ..base.clone()
    };
    let parent = made("parent-model", run, base.id);
    app.store.insert_model(&parent, None).await.expect("a model");
    app.run("child", 4, Some(Ending::Succeeded)).await;
    let child_run: RunId = run_id(&app).await.parse().expect("an id");
    let child = made("child", child_run, parent.id);
    app.store.insert_model(&child, None).await.expect("a model");
    for (prompt, ours, theirs) in [("a", 0.9, 0.1), ("b", 0.8, 0.1), ("c", 0.1, 0.7), ("d", 0.5, 0.5)] {
        for (model, value) in [(&parent, ours), (&base, theirs)] {
            let image = app.image(model, prompt, [1, 2, 3]).await;
            let score = ImageScore { image_id: image.id, metric: Metric::ClipScore, value };
            app.store.put_scores(&[score], None).await.expect("a score");
        }
    }
    let lineage = app.get(&format!("/api/v1/runs/{run}/lineage")).await.expect(200).json();
    assert_eq!(
        (&lineage["base"]["name"], &lineage["model"]["name"]),
        (&json!("tiny"), &json!("parent-model"))
    );
    assert_eq!(lineage["descendants"].as_array().map(Vec::len), Some(1));
    assert_eq!(lineage["descendants"][0]["name"], "child");
    let score =
        lineage["scores"].as_array().expect("scores").iter().find(|score| score["metric"] == "clip_score");
    let rate = &score.expect("a score")["win_rate"];
    assert_eq!((&rate["votes"], &rate["value"]), (&json!(4), &json!(0.625)));
}

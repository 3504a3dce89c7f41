//! The pages in a real browser, served by a real server. `SCREENSHOTS=FOLDER` saves a screenshot of each.

mod accessibility;
mod campaigns;
mod chromium;
mod desk;
mod first_visit;
mod live;
mod screenshots;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the API's tests, which use another part of it")]
mod support;
mod workbench;

use chromium::Chromium;
use datasets::rows::Pairs;
use desk::{ready, voted};
use domain::data::{DataSpec, PickAPicSpec};
use domain::job::JobState;
use domain::preference::{Choice, Question};
use domain::run::MetricPoint;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use store::{Claim, Ending};
use support::TestApp;
use tokio::runtime::Handle;

const DESKTOP: (u32, u32) = (1280, 900);
const WIDE: (u32, u32) = (1360, 900);
const PHONE: (u32, u32) = (390, 844);

/// True once the page's main island is hydrated. Until then its form submits as without JavaScript.
const HYDRATED: &str = "!!document.querySelector('[data-hydrated]')";

/// Serves a site with content on every page. Returns its address, the app, and the claim of a running job.
async fn site() -> (String, TestApp, Claim) {
    let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/site/pkg/current");
    assert!(std::path::Path::new(bundle).is_file(), "the browser bundle is missing: run `cargo xtask test`");
    let app = TestApp::start().await;
    app.run("finished-earlier", 120, Some(Ending::Succeeded)).await;
    app.run("went-wrong", 15, Some(Ending::Failed("the loss is not a number at step 15".into()))).await;
    let running = app.run("in-progress", 60, None).await;
    app.pairs(8).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, app, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_desktop_and_phone() {
    let (address, app, claim) = site().await;
    app.votes(7).await;
    let runs = app.store.list_runs(10).await.expect("runs");
    let named = |name: &str| runs.iter().find(|run| run.name == name).expect("a run").id;
    let (run, earlier, failed) = (named("in-progress"), named("finished-earlier"), named("went-wrong"));
    assert_eq!(runs.iter().find(|run| run.job_id == claim.job.id).expect("a run").id, run);
    let pages = [
        ("home", "/".to_owned()),
        ("help", "/help/method.html".to_owned()),
        ("model", format!("/models/{}", app.model("tuned-contrast").await.id)),
        ("runs", "/runs".to_owned()),
        ("runs-columns", "/runs?column=loss:lowest&column=validation/loss:last".to_owned()),
        ("run-log", format!("/runs/{run}/log")),
        ("run-new", "/runs/new".to_owned()),
        ("run", format!("/runs/{run}")),
        ("run-part", format!("/runs/{run}?from=10&to=50&smoothing=5&large=Loss&against={earlier}")),
        ("runs-compare", format!("/runs/compare?run={run}&run={earlier}&run={failed}")),
        ("runs-compare-choose", "/runs/compare".to_owned()),
        ("models", "/models".to_owned()),
        ("generate", "/playground?prompt=a+large+red+circle&seed=7".to_owned()),
        ("judge", "/judge".to_owned()),
        ("judge-two", "/judge?models=tuned-dpo,tuned-contrast".to_owned()),
        ("judge-none", "/judge?models=tiny".to_owned()),
        ("compare", "/judge/compare?model=tuned-dpo".to_owned()),
        ("leaderboard", "/leaderboard".to_owned()),
        ("docs", "/docs".to_owned()),
    ];
    let images = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for (name, path) in &pages {
            for (size, dark) in [(DESKTOP, false), (DESKTOP, true), (PHONE, false), (PHONE, true)] {
                browser.open(&format!("{address}{path}"), size, dark);
                let title = browser.evaluate("document.title");
                assert!(title.as_str().is_some_and(|title| title.ends_with("· Diff-contrast")), "{name}: {title}");
                let excess = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
                let wide = browser.evaluate(
                    "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1) \
                     .slice(0, 5).map(e => e.outerHTML.slice(0, 120)).join('\\n')",
                );
                assert!(excess.as_i64() <= Some(0), "{name} at {} px is {excess} px too wide: {wide}", size.0);
                assert_eq!(browser.errors(), Vec::<String>::new(), "{name} at {} px", size.0);
                if let Some(folder) = &images {
                    let theme = if dark { "dark" } else { "light" };
                    browser.keep_image(&folder.join(format!("{name}-{}-{theme}.png", size.0)));
                }
            }
        }
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rater_votes_by_click_and_by_key() {
    let (address, app, _) = site().await;
    let images = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/judge"), PHONE, false);
        browser.wait_for(HYDRATED);
        // The images have 8 x 8 pixels, and are not smoothed.
        browser.wait_for("[...document.querySelectorAll('.side img')].every(e => e.matches('.pixels'))");
        if let Some(folder) = &images {
            browser.keep_image(&folder.join("judge-390-light.png"));
        }
        browser.click_until(".side", &voted(1));
        // Nothing names a model, unless the rater asks for it.
        let text = browser.evaluate("document.body.innerText");
        assert!(text.as_str().is_some_and(|text| !text.contains("tuned-")), "{text}");
        browser.click_until(".judge-foot input", "document.querySelector('.judge-foot input').checked");
        ready(&mut browser);
        browser.press("3");
        browser.wait_for("document.querySelector('[role=status]').innerText.includes('tuned-')");
        ready(&mut browser);
        browser.press("4");
        browser.wait_for(&voted(3));
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
    let votes: Vec<_> =
        app.store.list_votes(10).await.expect("votes").iter().map(|vote| vote.choice.as_str()).collect();
    assert_eq!(votes, ["both_bad", "tie", "left"]);
}

/// Two clicks lead from a model to the desk of two models. If their images are missing, the desk waits for them and goes on
/// by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clicks_on_the_models_page_lead_to_the_judge_page_of_two_models() {
    let (address, app, _) = site().await;
    let fresh = app.sibling("fresh", "sft").await;
    let tiny = app.model("tiny").await;
    let images = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    let (app, browser) = tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/models"), DESKTOP, false);
        browser
            .click_until("#tuned-contrast a[href^='/judge/compare']", "!!document.querySelector('.compare')");
        browser.click_until("button[value=tuned-dpo]", "!!document.querySelector('.sides')");
        let search = browser.evaluate("decodeURIComponent(location.search)");
        assert_eq!(search, "?models=tuned-contrast,tuned-dpo");
        browser.wait_for(HYDRATED);
        browser.click_until(".side", &voted(1));

        // Without images: a job, and a message until they are drawn.
        browser.open(&format!("{address}/models"), PHONE, false);
        browser.click_until("#fresh a[href^='/judge/compare']", "!!document.querySelector('.compare')");
        browser.evaluate("document.querySelector('details.more').open = true");
        browser.fill("textarea[name=prompts]", "a cat\na dog");
        let waits = "!!document.querySelector('.empty') && \
                     document.querySelector('.empty').innerText.includes('Images are being drawn')";
        browser.click_until("button[value=tiny]", waits);
        browser.wait_for(HYDRATED);
        if let Some(folder) = &images {
            browser.keep_image(&folder.join("judge-drawing-390-light.png"));
        }
        (app, browser)
    })
    .await
    .expect("the browser");
    let jobs = app.store.list_jobs(Some(JobState::Queued), 10).await.expect("jobs");
    assert_eq!(jobs.iter().map(|job| job.spec.models()).collect::<Vec<_>>(), [["fresh", "tiny"]]);
    for model in [&fresh, &tiny] {
        app.image(model, "a cat", [30, 90, 120]).await;
    }
    tokio::task::spawn_blocking(move || {
        let mut browser = browser;
        browser.wait_for("!!document.querySelector('.sides')");
        let shown = browser.evaluate("document.querySelector('main').innerText");
        assert!(shown.as_str().is_some_and(|shown| shown.contains("More images are being drawn")), "{shown}");
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
    let votes = app.store.list_votes(10).await.expect("votes");
    assert_eq!(votes.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_followed_live_and_cancelled() {
    let (address, app, claim) = site().await;
    let run = app.store.list_runs(10).await.expect("runs").into_iter().find(|run| run.job_id == claim.job.id);
    let run = run.expect("the running run").id;
    let store = app.store.clone();
    let job = claim.job.id;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/runs/{run}"), DESKTOP, true);
        browser.wait_for("document.querySelector('.status').innerText.includes('60 / 120')");
        let points = [MetricPoint { name: "loss".into(), step: 77, value: 0.4321 }];
        Handle::current().block_on(store.append_metrics(&claim, run, 77, &points)).expect("a point");
        browser.wait_for("document.querySelector('.status').innerText.includes('77 / 120')");
        browser.wait_for("document.querySelector('.tiles').innerText.includes('0.4321')");
        browser.click_until(".status .danger", "document.querySelector('.status .danger').disabled");
        // The toggle overrides the theme of the system.
        browser.click_until(".icon-button", "document.documentElement.dataset.theme === 'light'");
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
    assert!(app.store.get_job(job).await.expect("a query").expect("the job").cancel_requested);
}

/// Drags over part of an element, from one share of its width to another.
fn drag(browser: &mut Chromium, selector: &str, from: f64, to: f64) {
    let place = browser.evaluate(&format!(
        "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'center'}}); \
         const r = e.getBoundingClientRect(); return [r.x, r.y + r.height / 2, r.width]; }})()"
    ));
    let number = |index: usize| place[index].as_f64().expect("a place");
    browser.drag((number(0) + from * number(2), number(1)), (number(0) + to * number(2), number(1)));
}

/// A zoomed chart is asked for again in finer buckets, its address brings it back, and the charts are the same after a
/// reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charts_are_zoomed_and_an_address_brings_the_view_back() {
    let (address, app, _) = site().await;
    let runs = app.store.list_runs(10).await.expect("runs");
    let run = runs.iter().find(|run| run.name == "finished-earlier").expect("a run").id;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for size in [WIDE, PHONE] {
            browser.open(&format!("{address}/runs/{run}"), size, false);
            let loss = "document.querySelector('.chart .line').getAttribute('d')";
            let whole = browser.evaluate(loss);
            // Islands hydrate when the browser is idle, so the first drags may do nothing.
            for _ in 0..40 {
                drag(&mut browser, ".chart svg", 0.4, 0.7);
                if browser.evaluate("location.search.includes('from=')") == true {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(250));
            }
            browser.wait_for("/^[?]from=[0-9]+&to=[0-9]+$/.test(location.search)");
            browser.wait_for(&format!("{loss} !== {whole}"));
            browser.click_until("input[name=scale]", "location.search.endsWith('scale=log')");
            browser.evaluate(
                "(() => { const e = document.querySelector('select[name=smoothing]'); e.value = '20'; \
                 e.dispatchEvent(new Event('change', {bubbles: true})); })()",
            );
            browser.wait_for("location.search.endsWith('smoothing=20')");
            browser.wait_for(
                "document.querySelector('.chart-help').innerText.includes('means of the last 20 steps')",
            );
            browser.click_until(".chart-tools button", "!!document.querySelector('.chart.large')");
            std::thread::sleep(std::time::Duration::from_millis(500));
            let (query, drawn) = (browser.evaluate("location.search"), browser.evaluate(loss));
            let legend = "document.querySelector('.keys-of-chart').innerText";
            let figures = browser.evaluate(legend);
            let again = format!("{address}/runs/{run}{}", query.as_str().expect("a query"));
            browser.open(&again, size, false);
            assert_eq!(
                (browser.evaluate(loss), browser.evaluate(legend)),
                (drawn, figures),
                "after a reload"
            );
            assert_eq!(browser.evaluate("document.querySelectorAll('.chart.large').length"), 1);
            assert_eq!(browser.evaluate("document.querySelector('select[name=smoothing]').value"), "20");
            browser.click_until(".chart-controls a.button", "!location.search.includes('from=')");
            assert_eq!(browser.errors(), Vec::<String>::new());
        }
    })
    .await
    .expect("the browser");
}

/// Sliders, keys and play move through the steps of samples; another step is laid over them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_are_walked_through_by_key_and_compared() {
    let (address, app, _) = site().await;
    let runs = app.store.list_runs(10).await.expect("runs");
    let run = runs.iter().find(|run| run.name == "finished-earlier").expect("a run").id;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for size in [WIDE, PHONE] {
            browser.open(&format!("{address}/runs/{run}"), size, true);
            let step = "document.querySelector('.strip-tools b').innerText";
            assert_eq!(browser.evaluate(step), "120");
            browser.click_until(".gallery-tools input", "!!document.querySelector('.gallery.actual')");
            // Keys in a list of choices belong to it; a check box has no use for arrows.
            browser.evaluate("document.querySelector('.gallery-tools select').focus()");
            browser.press("ArrowLeft");
            browser
                .evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))");
            assert_eq!(browser.evaluate(step), "120");
            browser.evaluate("document.querySelector('.gallery-tools input').focus()");
            browser.press("ArrowLeft");
            browser.wait_for(&format!("{step} === '60'"));
            let shown = browser.evaluate("document.querySelector('.stage img').src");
            browser.press("ArrowRight");
            browser.wait_for(&format!("{step} === '120'"));
            assert_ne!(browser.evaluate("document.querySelector('.stage img').src"), shown);
            browser.click_until(
                ".strip-tools button",
                "document.querySelector('.strip-tools button').ariaPressed === 'true'",
            );
            browser.wait_for(&format!("{step} === '60'"));
            browser.click_until(
                ".strip-tools button",
                "document.querySelector('.strip-tools button').ariaPressed === 'false'",
            );
            browser.evaluate(
                "(() => { const e = document.querySelector('.gallery-tools select'); e.value = '60'; \
                 e.dispatchEvent(new Event('change', {bubbles: true})); })()",
            );
            browser.wait_for("document.querySelector('.stage .tag').innerText === 'step 60'");
            assert_eq!(browser.evaluate("document.querySelector('.stage .over').src"), shown);
            assert_eq!(browser.errors(), Vec::<String>::new());
        }
    })
    .await
    .expect("the browser");
}

/// From the choice of runs to their curves, settings and samples; the address brings all of it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_chosen_and_compared() {
    let (address, app, claim) = site().await;
    let runs = app.store.list_runs(10).await.expect("runs");
    let run = runs.iter().find(|run| run.job_id == claim.job.id).expect("a run").id;
    let store = app.store.clone();
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for (size, step) in [(WIDE, 70), (PHONE, 80)] {
            browser.open(&format!("{address}/runs/{run}"), size, false);
            browser.click_until("a[href^='/runs/compare']", "location.pathname === '/runs/compare'");
            browser.evaluate("document.querySelector('.choice').open = true");
            browser.evaluate(
                "[...document.querySelectorAll('.choice input[name=run]')].forEach(e => e.checked = true)",
            );
            browser.click_until(".choice button", "location.search.split('run=').length === 4");
            browser.wait_for("document.querySelectorAll('.compared li').length === 3");
            let lines = "document.querySelector('.chart').querySelectorAll('.line').length";
            assert_eq!(browser.evaluate(lines), 3);
            // A run has one colour: in the list, the chart and the samples.
            let colours = browser.evaluate(
                "['.compared li .swatch', '.sample-grid th .swatch'].map(s => \
                 [...document.querySelectorAll(s)].map(e => getComputedStyle(e).backgroundColor).join(' '))",
            );
            assert_eq!(colours[0], colours[1]);
            // The running run is followed.
            browser.wait_for("performance.getEntriesByType('resource').some(e => e.name.includes('after='))");
            let drawn = browser.evaluate("document.querySelector('.charts').innerHTML");
            let points = [MetricPoint { name: "loss".into(), step, value: 0.4321 }];
            Handle::current().block_on(store.append_metrics(&claim, run, step, &points)).expect("a point");
            browser.wait_for(&format!("document.querySelector('.charts').innerHTML !== {drawn}"));
            let here = browser.evaluate("location.href");
            let legend = "document.querySelector('.keys-of-chart').innerText";
            let figures = browser.evaluate(legend);
            browser.open(here.as_str().expect("an address"), size, false);
            assert_eq!(browser.evaluate(legend), figures);
            assert_eq!(browser.errors(), Vec::<String>::new());
        }
    })
    .await
    .expect("the browser");
}

/// Runs the trainer, which is built beside the server and shares its database and artifact store.
fn trainer(app: &TestApp, arguments: &[&str]) -> String {
    let program =
        Path::new(env!("CARGO_BIN_EXE_diff-contrast-server")).with_file_name("diff-contrast-trainer");
    assert!(program.is_file(), "{} is missing: run `cargo xtask test`", program.display());
    let output = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", format!("sqlite://{}", app.folder.path().join("test.db").display()))
        .env("ARTIFACTS", app.folder.path().join("artifacts"))
        .output()
        .expect("the trainer");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// From votes to a trained model: votes in a browser, export, reading the export, training on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_cast_in_the_browser_are_exported_and_trained_on() {
    let (address, app, _) = site().await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/judge"), DESKTOP, false);
        browser.wait_for(HYDRATED);
        for (index, key) in ["1", "2", "3", "2", "1", "2"].into_iter().enumerate() {
            ready(&mut browser);
            browser.press(key);
            browser.wait_for(&voted(index + 1));
        }
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");

    let exported = app.folder.path().join("exported");
    fs::create_dir(&exported).expect("a folder");
    let file = exported.join("votes.parquet");
    let output = trainer(&app, &["export-votes", file.to_str().expect("a path")]);
    assert!(output.contains("6 rows, 1 ties"), "{output}");

    // Pairs have the order of the votes, oldest first; the tie gives no pair.
    let folder = exported.to_str().expect("a path").to_owned();
    let set = DataSpec::PickAPic(PickAPicSpec { folder, ..PickAPicSpec::default() });
    let read: Vec<_> =
        Pairs::open(&set).expect("opens").expect("a set").map(|pair| pair.expect("a pair")).collect();
    let votes = app.store.judged_votes(Question::Overall).await.expect("votes");
    let decided: Vec<_> = votes.iter().filter(|vote| vote.choice != Choice::Tie).collect();
    assert_eq!((votes.len(), read.len(), decided.len()), (6, 5, 5));
    for (pair, vote) in read.iter().zip(&decided) {
        let winner = usize::from(vote.choice == Choice::Right);
        let [winner, loser] = [&vote.images[winner], &vote.images[1 - winner]];
        assert_eq!(pair.prompt, vote.prompt);
        assert_eq!(pair.models, [Some(winner.model.clone()), Some(loser.model.clone())]);
        for (bytes, image) in [(&pair.winner, winner), (pair.loser.as_ref().expect("a loser"), loser)] {
            let kept =
                app.artifacts.get(&image.artifact).await.expect("the artifact store").expect("an image");
            assert!(**bytes == *kept);
        }
    }

    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    let (config, run) = (app.folder.path().join("config.toml"), app.folder.path().join("run"));
    let spec = format!(
        "name = 'on-votes'\nbase = 'shapes'\nsteps = 3\nbatch_size = 2\n\
         objective = {{ kind = 'diff_contrast', beta = 500.0, tau = 0.5 }}\nlearning_rate = {{ rate = 1e-4 }}\n\
         data = {{ source = 'pick_a_pic', folder = '{}' }}",
        exported.display()
    );
    fs::write(&config, spec).expect("a config");
    let cache = app.folder.path().join("cache");
    let [config, run_folder, cache] = [&config, &run, &cache].map(|path| path.to_str().expect("a path"));
    trainer(&app, &["train", config, "--models", models, "--out", run_folder, "--cache", cache]);
    let curves = fs::read_to_string(run.join("metrics.jsonl")).expect("curves");
    let losses: Vec<f64> = curves
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["loss"].as_f64().expect("a loss")
        })
        .collect();
    // At the first step policy and reference are equal, so the loss is ln 2.
    assert!(losses.len() == 3 && (losses[0] - std::f64::consts::LN_2).abs() < 1e-4, "{losses:?}");
    assert!(losses[1..].iter().all(|loss| loss.is_finite() && (loss - losses[0]).abs() > 1e-6), "{losses:?}");
    let weights =
        |folder: &Path| fs::read(folder.join("unet/diffusion_pytorch_model.safetensors")).expect("weights");
    assert!(weights(&run.join("models/step-0000003")) != weights(&Path::new(models).join("shapes")));
}

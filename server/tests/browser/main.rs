//! The pages as people meet them: a real server, a real browser. `SCREENSHOTS=FOLDER` keeps a picture of each.

mod chromium;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the API's tests, which use another part of it")]
mod support;

use chromium::Chromium;
use domain::run::MetricPoint;
use std::path::PathBuf;
use store::{Claim, Ending};
use support::TestApp;
use tokio::runtime::Handle;

const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// Islands wake when the browser is idle; until then a form would post as without JavaScript.
const AWAKE: &str = "!!document.querySelector('[data-awake]')";

/// A site with something on every page, listening. Its address, the test's hands on it, and a run at work.
async fn site() -> (String, TestApp, Claim) {
    let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/site/pkg/frontend.js");
    assert!(
        std::path::Path::new(bundle).is_file(),
        "the browser's bundle is missing: run `cargo xtask test`"
    );
    let app = TestApp::start().await;
    app.run("finished-earlier", 120, Some(Ending::Succeeded)).await;
    app.run("went-wrong", 15, Some(Ending::Failed("the loss is not a number at step 15".into()))).await;
    let at_work = app.run("at-work-now", 60, None).await;
    app.pairs(8).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, app, at_work)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_stands_on_desktop_and_phone() {
    let (address, app, claim) = site().await;
    app.votes(7).await;
    let run = app.store.list_runs(10).await.expect("runs").into_iter().find(|run| run.job_id == claim.job.id);
    let run = run.expect("the run at work").id;
    let pages = [
        ("runs", "/runs".to_owned()),
        ("run", format!("/runs/{run}")),
        ("models", "/models".to_owned()),
        ("generate", "/playground?prompt=a+large+red+circle&seed=7".to_owned()),
        ("judge", "/judge".to_owned()),
        ("leaderboard", "/leaderboard".to_owned()),
        ("docs", "/docs".to_owned()),
    ];
    let pictures = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
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
                assert_eq!(browser.complaints(), Vec::<String>::new(), "{name} at {} px", size.0);
                if let Some(folder) = &pictures {
                    let theme = if dark { "dark" } else { "light" };
                    browser.keep_picture(&folder.join(format!("{name}-{}-{theme}.png", size.0)));
                }
            }
        }
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rater_judges_by_click_and_by_key() {
    let (address, app, _) = site().await;
    let pictures = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/judge"), PHONE, false);
        browser.wait_for(AWAKE);
        browser.click_until(".side", "!!document.querySelector('.reveal')");
        if let Some(folder) = &pictures {
            browser.keep_picture(&folder.join("judge-reveal-390-light.png"));
        }
        let verdict = browser.evaluate("document.querySelector('.reveal').innerText");
        assert!(verdict.as_str().is_some_and(|verdict| verdict.contains("tuned-")), "{verdict}");
        // Comes by itself.
        browser.wait_for("!document.querySelector('.reveal')");
        let prompt = "document.querySelector('.question strong').innerText";
        let before = browser.evaluate(prompt);
        browser.press("ArrowDown");
        browser.wait_for("!!document.querySelector('.reveal')");
        browser.press("Enter");
        browser.wait_for(&format!("!document.querySelector('.reveal') && {prompt} !== {before}"));
        browser.press("b");
        browser.wait_for("!!document.querySelector('.reveal')");
        assert_eq!(browser.complaints(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
    let votes: Vec<_> =
        app.store.list_votes(10).await.expect("votes").iter().map(|vote| vote.choice.as_str()).collect();
    assert_eq!(votes, ["both_bad", "tie", "left"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_prompt_is_pictured_by_several_models_and_a_wrong_field_is_told_beside_it() {
    let (address, _app, _) = site().await;
    let pictures = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/playground"), DESKTOP, false);
        browser.fill("textarea[name=prompt]", "a large red circle");
        browser.wait_for(AWAKE);
        browser.click_until("form .primary", "!!document.querySelector('.round')");
        browser.wait_for("document.querySelectorAll('.round:first-child img').length === 3");
        let seed = browser.evaluate("document.querySelector('#seed').value");
        assert!(seed.as_str().is_some_and(|seed| seed.parse::<u64>().is_ok()), "{seed}");
        let shown = browser.evaluate("document.querySelector('.round').innerText");
        assert!(
            shown.as_str().zip(seed.as_str()).is_some_and(|(shown, seed)| shown.contains(seed)),
            "{shown}"
        );
        browser.evaluate("document.querySelector('details.more').open = true");
        browser.fill("input[name=width]", "9");
        let told =
            "[...document.querySelectorAll('.field-problem')].some(e => e.innerText.includes('multiple'))";
        browser.click_until("form .primary", told);
        if let Some(folder) = &pictures {
            browser.keep_picture(&folder.join("generate-results-1280-light.png"));
        }
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_watched_live_and_cancelled() {
    let (address, app, claim) = site().await;
    let run = app.store.list_runs(10).await.expect("runs").into_iter().find(|run| run.job_id == claim.job.id);
    let run = run.expect("the run at work").id;
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
        // The toggle overrules the system's wish.
        browser.click_until(".icon-button", "document.documentElement.dataset.theme === 'light'");
        assert_eq!(browser.complaints(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
    assert!(app.store.get_job(job).await.expect("a query").expect("the job").cancel_requested);
}

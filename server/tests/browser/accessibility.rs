//! Every page and state passes axe-core in both themes, and fits windows from 360 to 2560 pixels.

use crate::chromium::Chromium;
use crate::support::TestApp;
use crate::{DESKTOP, HYDRATED, PHONE, site};
use domain::evaluate::Metric;
use domain::image::Purpose;
use std::path::PathBuf;

/// Axe's findings, one a line: rule, help, and elements.
const FINDINGS: &str = "axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations.map(v => \
    v.id + ': ' + v.help + ' ' + v.nodes.map(n => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).slice(0, 4).join(' | ')))";

fn axe() -> String {
    let file = std::env::var_os("AXE").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../target/npm/node_modules/axe-core/axe.min.js"
            ))
        },
        PathBuf::from,
    );
    std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}: run `cargo xtask test`, which installs axe-core", file.display())
    })
}

/// Addresses of every page, with content.
async fn pages(app: &TestApp) -> Vec<String> {
    app.votes(7).await;
    let runs = app.store.list_runs(10).await.expect("runs");
    let mut pages: Vec<String> = [
        "/",
        "/runs",
        "/runs?state=failed&sort=name",
        "/runs?column=loss:last,loss:lowest,loss:highest,grad_norm:last,grad_norm:highest,rewards/accuracies:last,\
         rewards/accuracies:highest,rewards/margins:last,rewards/margins:highest,mse/policy_winner:last",
        "/runs/new",
        "/studies",
        "/workers",
        "/evaluations",
        "/models",
        "/datasets",
        "/datasets/check",
        "/datasets/shapes-quality",
        "/datasets/shapes-quality?disputed=true",
        "/datasets/shapes-quality/report",
        "/settings",
        "/playground",
        "/judge",
        "/judge/compare",
        "/judge/compare?model=tuned-dpo",
        "/judge?models=tiny",
        "/campaigns",
        "/campaigns/new",
        "/leaderboard",
        "/docs",
        "/help/index.html",
        "/help/method.html",
        "/help/training.html",
        "/no-such-page",
    ]
    .map(str::to_owned)
    .into();
    pages.extend(runs.iter().flat_map(|run| [format!("/runs/{}", run.id), format!("/runs/{}/log", run.id)]));
    pages.push(format!("/models/{}", app.model("tuned-contrast").await.id));
    pages.push(format!("/models/{}", app.model("tiny").await.id));
    pages
}

fn check(browser: &mut Chromium, axe: &str, state: &str, problems: &mut Vec<String>) {
    browser.evaluate(&format!("{axe}; true"));
    let found: Vec<String> = serde_json::from_value(browser.evaluate(FINDINGS)).expect("a list");
    problems.extend(found.into_iter().map(|finding| format!("{state}: {finding}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_on_any_page_or_state_in_either_theme() {
    let (address, app, _) = site().await;
    let (pages, axe) = (pages(&app).await, axe());
    let problems = tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        let mut problems = Vec::new();
        for dark in [false, true] {
            for path in &pages {
                for size in [DESKTOP, PHONE] {
                    browser.open(&format!("{address}{path}"), size, dark);
                    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })");
                    let state = format!("{path} at {} px{}", size.0, if dark { ", dark" } else { "" });
                    check(&mut browser, &axe, &state, &mut problems);
                }
            }
            browser.open(&format!("{address}/judge"), DESKTOP, dark);
            browser.wait_for(HYDRATED);
            browser.click_until(".side", "document.querySelector('[role=status]').innerText !== ''");
            browser.press("f");
            browser.press("z");
            std::thread::sleep(std::time::Duration::from_millis(300));
            check(
                &mut browser,
                &axe,
                &format!("judged, enlarged, in one place, dark: {dark}"),
                &mut problems,
            );
            browser.open(&format!("{address}/playground?prompt=a+cat&seed=1"), DESKTOP, dark);
            browser.wait_for(HYDRATED);
            browser.click_until("form .primary", "!!document.querySelector('.result-row img')");
            check(&mut browser, &axe, &format!("generated, dark: {dark}"), &mut problems);
        }
        problems
    })
    .await
    .expect("the browser");
    assert!(problems.is_empty(), "{} findings:\n{}", problems.len(), problems.join("\n"));
}

/// Scores of all evaluation images by a metric, different for each model's.
async fn score(app: &TestApp) {
    let filter = store::ImageFilter { purpose: Some(Purpose::Evaluation), ..store::ImageFilter::default() };
    let contrast = app.model("tuned-contrast").await.id;
    for image in app.store.list_images(&filter, 100).await.expect("images") {
        let value = if image.model_id == Some(contrast) { 1.0 } else { 0.0 };
        let score = store::ImageScore { image_id: image.id, metric: Metric::PromptFollowed, value };
        app.store.put_scores(&[score], None).await.expect("a score");
    }
}

/// The pages of a campaign, which withholds images of other pages while it is open: form, agreement, desk, owner's page, list, and
/// the page of the closed campaign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_a_campaign_pass_axe_and_fit() {
    let (address, app, _) = site().await;
    score(&app).await;
    let form = "/campaigns/new?models=tuned-dpo,tuned-contrast&pick=1&gold_metric=prompt_followed&exam=2";
    let before = problems_of(&address, vec![form.to_owned()]).await;
    assert!(before.is_empty(), "{} findings:\n{}", before.len(), before.join("\n"));
    let body = r#"{"name": "a campaign", "models": ["tuned-dpo", "tuned-contrast"], "instructions": "Look closely.", "session": 3}"#;
    let made = app.post("/api/v1/campaigns", body).await.expect(201).json();
    let (owner, desk) =
        (made["owner_url"].as_str().expect("a page"), made["judge_url"].as_str().expect("a page"));
    let pages = vec![owner.to_owned(), desk.to_owned(), "/campaigns".to_owned()];
    let open = problems_of(&address, pages).await;
    assert!(open.is_empty(), "{} findings:\n{}", open.len(), open.join("\n"));
    let (axe, desk, site) = (axe(), desk.to_owned(), address.clone());
    let problems = tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        let mut problems = Vec::new();
        browser.open(&format!("{site}{desk}"), DESKTOP, false);
        browser.click_until("main form .primary", "!!document.querySelector('.side img')");
        for key in ["1", "2", "3"] {
            browser.wait_for(HYDRATED);
            crate::desk::ready(&mut browser);
            let before = browser.evaluate("document.querySelector('.question strong').innerText");
            browser.press(key);
            browser.wait_for(&format!("document.querySelector('.question strong')?.innerText !== {before}"));
        }
        browser.wait_for("document.querySelector('main').innerText.includes('The session is done')");
        browser.wait_for("Object.keys(localStorage).every(key => !key.startsWith('answer-'))");
        assert_eq!(browser.errors(), Vec::<String>::new());
        look(&mut browser, &site, &axe, &desk, &mut problems);
        problems
    })
    .await
    .expect("the browser");
    assert!(problems.is_empty(), "{} findings:\n{}", problems.len(), problems.join("\n"));
    let id = made["campaign"]["id"].as_str().expect("an id");
    let summary = app.get(&format!("/api/v1/campaigns/{id}")).await;
    assert_eq!(summary.expect(200).json()["votes"], 3);
    app.post(&format!("/api/v1/campaigns/{id}/state"), r#"{"state":"closed"}"#).await.expect(200);
    let closed = problems_of(&address, vec![owner.to_owned()]).await;
    assert!(closed.is_empty(), "{} findings:\n{}", closed.len(), closed.join("\n"));
}

/// The desk of sets of four, with all of them ranked but two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_of_sets_passes_axe_and_fits() {
    let (_app, address, desk, _) = crate::campaigns::sets(2).await;
    let axe = axe();
    let problems = tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        let mut problems = Vec::new();
        crate::campaigns::agree(&mut browser, &address, &desk, DESKTOP);
        look(&mut browser, &address, &axe, &desk, &mut problems);
        browser.wait_for(HYDRATED);
        crate::campaigns::set_ready(&mut browser);
        browser.press("r");
        browser.press("2");
        browser.wait_for("document.querySelectorAll('.side .rank').length === 1");
        check(&mut browser, &axe, "a rank", &mut problems);
        problems
    })
    .await
    .expect("the browser");
    assert!(problems.is_empty(), "{} findings:\n{}", problems.len(), problems.join("\n"));
}

/// What is wrong with these pages, at two widths and in both themes, with everything unfolded.
async fn problems_of(address: &str, paths: Vec<String>) -> Vec<String> {
    let (address, axe) = (address.to_owned(), axe());
    let checked = tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        let mut problems = Vec::new();
        for path in &paths {
            look(&mut browser, &address, &axe, path, &mut problems);
        }
        problems
    });
    checked.await.expect("the browser")
}

fn look(browser: &mut Chromium, address: &str, axe: &str, path: &str, problems: &mut Vec<String>) {
    for size in [DESKTOP, PHONE] {
        for dark in [false, true] {
            browser.open(&format!("{address}{path}"), size, dark);
            browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })");
            check(browser, axe, &format!("{path} at {} px, dark: {dark}", size.0), problems);
            let excess = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
            if excess.as_i64() > Some(0) {
                problems.push(format!("{path} is {excess} px too wide at {} px", size.0));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_fit_windows_from_360_to_2560_pixels() {
    let (address, app, _) = site().await;
    let pages = pages(&app).await;
    let problems = tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        let mut problems = Vec::new();
        for path in &pages {
            for width in [360, 480, 600, 704, 720, 800, 880, 960, 1100, 1600, 2560] {
                browser.open(&format!("{address}{path}"), (width, 900), false);
                let excess = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
                if excess.as_i64() > Some(0) {
                    let wide = browser.evaluate(
                        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1) \
                         .slice(0, 3).map(e => e.outerHTML.slice(0, 90)).join(' | ')",
                    );
                    problems.push(format!("{path} at {width} px is {excess} px too wide: {wide}"));
                }
            }
        }
        problems
    })
    .await
    .expect("the browser");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

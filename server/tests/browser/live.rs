//! Pages that follow runs by their stream of events, and the form that is checked while it is filled in.

use crate::chromium::Chromium;
use crate::{DESKTOP, site};
use domain::log::{LogLevel, LogLine};
use domain::run::MetricPoint;
use tokio::runtime::Handle;

/// Counts requests and streams from now on, and keeps the newest stream as `stream`.
const COUNT: &str = "(() => { window.requests = 0; window.ended = 0; window.opened = 0; \
    const send = window.fetch; window.fetch = (...of) => { requests++; return send(...of); }; \
    const close = EventSource.prototype.close; EventSource.prototype.close = function () { ended++; close.call(this); }; \
    window.EventSource = class extends EventSource { constructor(...of) { super(...of); opened++; window.stream = this; } }; \
    window.marked = true; })()";

/// Hides the page, or shows it again, as another tab in front of it does.
fn hide(browser: &mut Chromium, hidden: bool) {
    browser.evaluate(&format!(
        "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); \
         document.dispatchEvent(new Event('visibilitychange'))"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_runs_follows_them_and_is_silent_while_nothing_changes() {
    let (address, app, claim) = site().await;
    let run = app.store.list_runs(10).await.expect("runs").into_iter().find(|run| run.job_id == claim.job.id);
    let run = run.expect("the running run").id;
    let store = app.store.clone();
    tokio::task::spawn_blocking(move || {
        let reach = |step: i64| {
            let points = [MetricPoint { name: "loss".into(), step, value: 0.5 }];
            Handle::current().block_on(store.append_metrics(&claim, run, step, &points)).expect("points");
        };
        let row = format!("document.querySelector('[data-key=\"{run}\"]').innerText");
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/runs"), DESKTOP, false);
        browser.wait_for(&format!("{row}.includes('60 / 120')"));
        browser.evaluate(COUNT);
        // Longer than a page that polls is silent.
        browser.wait_for("performance.now() > 4000");
        assert_eq!(browser.evaluate("requests"), 0, "an idle page sends requests");

        browser.evaluate(&format!("window.before = document.querySelector('[data-key=\"{run}\"]')"));
        reach(77);
        browser.wait_for(&format!("{row}.includes('77 / 120')"));
        let same = format!("marked && before === document.querySelector('[data-key=\"{run}\"]')");
        assert_eq!(browser.evaluate(&same), true, "the page or its row was replaced");

        hide(&mut browser, true);
        assert_eq!(browser.evaluate("ended"), 1, "a hidden page keeps its stream");
        reach(88);
        hide(&mut browser, false);
        browser.wait_for("opened === 1");
        browser.wait_for(&format!("{row}.includes('88 / 120')"));

        browser.evaluate("stream.dispatchEvent(new Event('error'))");
        browser.wait_for("document.querySelector('[data-live]').innerText.includes('connection is lost')");
        browser.evaluate("stream.dispatchEvent(new Event('open'))");
        browser.wait_for("document.querySelector('[data-live]').textContent === ''");
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_run_grows_without_a_reload() {
    let (address, app, claim) = site().await;
    let run = app.store.list_runs(10).await.expect("runs").into_iter().find(|run| run.job_id == claim.job.id);
    let run = run.expect("the running run").id;
    let (store, at) = (app.store.clone(), app.now());
    tokio::task::spawn_blocking(move || {
        let log = |message: &str| {
            let line = LogLine { line: 0, at, level: LogLevel::Warn, message: message.to_owned() };
            Handle::current().block_on(store.append_log(&claim, &[line])).expect("a line");
        };
        log("the set is encoded");
        let mut browser = Chromium::start();
        for path in [format!("/runs/{run}"), format!("/runs/{run}/log")] {
            browser.open(&format!("{address}{path}"), DESKTOP, false);
            browser.wait_for("document.querySelector('.run-log').innerText.includes('the set is encoded')");
            log(&format!("seen on {path}"));
            let text = format!("document.querySelector('.run-log').innerText.includes('seen on {path}')");
            browser.wait_for(&text);
            assert_eq!(browser.errors(), Vec::<String>::new(), "{path}");
        }
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_run_is_checked_while_its_form_is_filled_in() {
    let (address, _app, _) = site().await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/runs/new"), DESKTOP, false);
        browser.evaluate("window.marked = true");
        browser.fill("[name=steps]", "0");
        browser.wait_for("document.querySelector('[data-part=\"problems steps\"]').innerText !== ''");
        assert_eq!(browser.evaluate("document.querySelector('[name=steps]').ariaInvalid"), "true");
        browser.fill("[name=steps]", "123");
        browser.fill("[name=base]", "tiny");
        browser.wait_for("document.querySelector('[data-part=\"problems steps\"]').innerText === ''");
        browser.wait_for("document.querySelector('#toml').value.includes('steps = 123')");
        assert_eq!(
            browser.evaluate("document.querySelector('[name=steps]').ariaInvalid"),
            serde_json::Value::Null
        );
        assert_eq!(browser.evaluate("marked && document.querySelector('[name=steps]').value"), "123");
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
}

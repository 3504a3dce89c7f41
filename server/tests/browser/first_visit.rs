//! The first visit: the front page, the documentation, the page of a model; and what a page loads.

use crate::chromium::Chromium;
use crate::{DESKTOP, HYDRATED, PHONE, site};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Most bytes of script and WebAssembly that a page may load, compressed by Brotli.
const MOST: u64 = 150_000;

/// The pages that exceed it, with what they may load until they read less: their islands read whole jobs with their
/// specs, or draw whole forms. Shrink these, and never add one.
const OVER: [(&str, u64); 2] = [("/judge", 175_000), ("/runs/", 240_000)];

/// Pages that load a small script and no WebAssembly, and what it may take.
const PLAIN: [(&str, u64); 3] = [("/runs", 3_000), ("/runs/new", 3_000), ("/playground", 5_000)];

/// Addresses of the scripts and modules that the page has loaded, once no more arrive.
fn loaded(browser: &mut Chromium) -> Vec<String> {
    let list = "performance.getEntriesByType('resource').map(e => e.name).filter(n => /\\.(js|wasm|pack)$/.test(n)).sort()";
    let mut before = Value::Null;
    loop {
        let now = browser.evaluate(list);
        if now == before {
            return serde_json::from_value(now).expect("addresses");
        }
        before = now;
        std::thread::sleep(Duration::from_millis(700));
    }
}

/// The size of a file of the bundle, compressed by Brotli.
fn compressed(address: &str) -> u64 {
    let site = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/site"));
    let path = address.splitn(4, '/').nth(3).expect("a path");
    fs::metadata(site.join(format!("{path}.br"))).unwrap_or_else(|e| panic!("{path}: {e}")).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_loads_little_and_one_without_islands_no_script() {
    let (address, app, claim) = site().await;
    app.votes(3).await;
    let runs = app.store.list_runs(10).await.expect("runs");
    let run = runs.into_iter().find(|run| run.job_id == claim.job.id).expect("the running run").id;
    let model = app.model("tuned-contrast").await.id;
    // Each with whether it loads a script.
    let pages: Vec<(String, bool)> = [
        ("/", false),
        ("/models", false),
        (&format!("/models/{model}"), false),
        ("/leaderboard", false),
        ("/datasets", false),
        ("/studies", false),
        ("/runs/new", true),
        ("/judge/compare", false),
        ("/docs", false),
        ("/runs", true),
        (&format!("/runs/{run}"), true),
        ("/playground", true),
        ("/judge", true),
    ]
    .map(|(path, has_script)| (path.to_owned(), has_script))
    .into();
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for (path, has_script) in pages {
            browser.open(&format!("{address}{path}"), DESKTOP, false);
            let files = loaded(&mut browser);
            let size: u64 = files.iter().map(|file| compressed(file)).sum();
            println!("{path}: {size} bytes in {} files", files.len());
            assert_eq!(!files.is_empty(), has_script, "{path} loads {files:?}");
            let plain = PLAIN.iter().find(|(plain, _)| *plain == path);
            let most = plain.or_else(|| OVER.iter().find(|(prefix, _)| path.starts_with(prefix))).map_or(MOST, |(_, most)| *most);
            assert!(size <= most, "{path} loads {size} bytes of script and WebAssembly: {files:?}");
            assert_eq!(browser.errors(), Vec::<String>::new(), "{path}");
        }
        // Names change with the content, so browsers keep the files.
        let header = "(async () => { const file = document.querySelector('link[rel=stylesheet]').href; \
                      const answer = await fetch(file); return [answer.headers.get('cache-control'), answer.headers.get('content-encoding')]; })()";
        let header = browser.evaluate(header);
        assert_eq!(header[0], "public, max-age=31536000, immutable");
        assert!(header[1] == "br" || header[1] == "gzip", "{header}");
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_visit_leads_from_the_front_page_to_a_model_and_the_documentation() {
    let (address, app, _) = site().await;
    app.votes(2).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for size in [DESKTOP, PHONE] {
            browser.open(&format!("{address}/"), size, false);
            let text = browser.evaluate("document.querySelector('main').innerText");
            let text = text.as_str().expect("text");
            for expected in ["Train image models on what people prefer", "in-progress", "1 running", "tuned-contrast", "2 votes"] {
                assert!(text.contains(expected), "no {expected:?} at {} px: {text}", size.0);
            }
            // The formula and the whole heat map are drawn.
            let drawn = browser.evaluate("document.querySelector('math').getBoundingClientRect().height > 20 && document.querySelectorAll('.weight').length");
            assert_eq!(drawn, 36);
            browser.click_until(".model-tile", "location.pathname.startsWith('/models/')");
            browser.wait_for("document.querySelectorAll('.images.large img').length >= 8");
            let side = browser.evaluate("document.querySelector('.images.large img').getBoundingClientRect().width");
            assert!(side.as_f64().is_some_and(|side| side >= 250.0), "images are {side} px wide at {} px", size.0);
            browser.evaluate("document.querySelector('.copy-line').scrollIntoView()");
            browser.click_until("[data-copy]", "document.querySelector('[data-copy]').innerText !== 'Copy'");

            browser.click_until(".docs-link", "location.pathname === '/help/index.html'");
            browser.wait_for("document.querySelector('#book-search')?.disabled === false");
            browser.fill("#book-search", "temperature tau");
            browser.wait_for("document.querySelectorAll('.book-results a').length > 0");
            let found = browser.evaluate("document.querySelector('.book-results').innerText");
            assert!(found.as_str().is_some_and(|found| found.contains("tau")), "{found}");
            browser.click_until(".book-results a", "location.pathname !== '/help/index.html'");
            browser.wait_for("!!document.querySelector('.book-contents a[aria-current]')");
            assert_eq!(browser.errors(), Vec::<String>::new());
        }
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_copied_without_tls_and_the_theme_is_kept() {
    let (address, _app, _) = site().await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/studies"), DESKTOP, false);
        // As on an address without TLS that is not this machine's.
        browser.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })");
        browser.evaluate("window.copied = null; document.addEventListener('copy', () => { window.copied = getSelection().toString() || document.activeElement.value; })");
        browser.click_until("[data-copy]", "window.copied !== null");
        let (copied, line) = (browser.evaluate("window.copied"), browser.evaluate("document.querySelector('.copy-line code').innerText"));
        assert_eq!(copied, line);
        browser.click_until("[data-theme-toggle]", "document.documentElement.dataset.theme === 'dark'");
        browser.open(&format!("{address}/judge"), DESKTOP, false);
        browser.wait_for(HYDRATED);
        assert_eq!(browser.evaluate("document.documentElement.dataset.theme"), "dark");
    })
    .await
    .expect("the browser");
}

//! Generate with its history, data sets, and the settings of the display.

use crate::chromium::Chromium;
use crate::{HYDRATED, PHONE, WIDE, site};

const ROWS: &str = "document.querySelectorAll('.result-row').length";

/// A page as wide as its window, without errors.
fn fits(browser: &mut Chromium, what: &str) {
    let excess = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
    assert!(excess.as_i64() <= Some(0), "{what} is {excess} px too wide");
    assert_eq!(browser.errors(), Vec::<String>::new(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_drawn_found_again_and_used_again() {
    let (address, app, _) = site().await;
    let count =
        async || app.store.list_images(&store::ImageFilter::default(), 500).await.expect("images").len();
    let before = count().await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for (round, size) in [WIDE, PHONE].into_iter().enumerate() {
            browser.open(&format!("{address}/playground?model=tiny,tuned-dpo&seed=10"), size, false);
            browser.wait_for(HYDRATED);
            browser.fill("textarea[name=prompt]", &format!("a ring {round}\na star {round}"));
            browser.evaluate("document.querySelector('[data-lines]').checked = true");
            browser.fill("#seeds", "2");
            browser.click_until("form .primary", &format!("{ROWS} === 4"));
            // Two prompts, two seeds, two models; the history has them too once all are there.
            browser.wait_for("document.querySelectorAll('.result-row img').length === 8");
            browser.wait_for("document.querySelectorAll('.history-card').length >= 8");
            fits(&mut browser, "results");

            // The place and zoom of one image are those of the next.
            browser.click_until(".result-row img", "document.querySelector('dialog.lightbox').open");
            browser.press("+");
            browser.wait_for("document.querySelector('.lightbox').dataset.scale === '2'");
            let first = browser.evaluate("document.querySelector('.lightbox img').src");
            browser.press("ArrowRight");
            browser.wait_for(&format!("document.querySelector('.lightbox img').src !== {first}"));
            assert_eq!(browser.evaluate("document.querySelector('.lightbox').dataset.scale"), "2");
            browser.click_until("[data-close]", "!document.querySelector('dialog.lightbox').open");

            // Leave, and come back.
            browser.open(&format!("{address}/models"), size, false);
            browser.open(&format!("{address}/playground?search=STAR+{round}"), size, false);
            browser.wait_for(HYDRATED);
            assert_eq!(browser.evaluate("document.querySelectorAll('.history-card').length"), 4);
            fits(&mut browser, "history");
            browser.click_until(".history-actions a", "location.search.includes('seed=')");
            browser.wait_for(HYDRATED);
            let form = browser.evaluate(
                "[document.querySelector('#prompt').value, document.querySelector('#seed').value, \
                 document.querySelectorAll('[data-model]:checked').length]",
            );
            assert_eq!(form[0], format!("a star {round}"));
            assert!(form[1] == "10" || form[1] == "11", "{form}");
            assert_eq!(form[2], 1);
            browser.open(&format!("{address}/playground?search=star+{round}"), size, false);
            browser.click_until(
                "[formaction$='/delete']",
                "!location.search.includes('star') && !!document.querySelector('#history')",
            );
            browser.open(&format!("{address}/playground?search=star+{round}"), size, false);
            assert_eq!(browser.evaluate("document.querySelectorAll('.history-card').length"), 3);
        }
    })
    .await
    .expect("the browser");
    // Eight are drawn and one is deleted at each size.
    assert_eq!(count().await, before + 14);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_field_has_its_message_and_a_long_request_is_cancelled() {
    let (address, _app, _) = site().await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/playground?prompt=a+cat&model=tiny"), WIDE, false);
        browser.wait_for(HYDRATED);
        browser.evaluate("document.querySelector('details.more').open = true");
        browser.fill("input[name=width]", "9");
        let message =
            "[...document.querySelectorAll('.field-problem')].some(e => e.innerText.includes('multiple'))";
        browser.click_until("form .primary", message);
        browser.wait_for(&format!("{ROWS} === 0"));
        // One row at a time, so that those behind the first are never sent.
        browser.fill("input[name=width]", "");
        browser.fill("input[name=steps]", "1000");
        browser.fill("#seeds", "50");
        browser.click_until("form .primary", "!document.querySelector('[data-cancel]').hidden");
        browser.wait_for("/ of 50 images/.test(document.querySelector('[data-progress]').innerText)");
        browser.click_until("[data-cancel]", "document.querySelector('[data-cancel]').hidden");
        browser.wait_for("/^\\d+ of 50 images$/.test(document.querySelector('[data-progress]').innerText)");
        let drawn = browser.evaluate("document.querySelectorAll('.result-row').length");
        assert!(drawn.as_i64() < Some(50), "{drawn} rows");
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_sets_are_looked_through() {
    let (address, _app, _) = site().await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for size in [WIDE, PHONE] {
            browser.open(&format!("{address}/datasets"), size, false);
            browser.wait_for(
                "(() => { const i = document.querySelector('.thumbnails img'); i.scrollIntoView(); return i.naturalWidth > 0; })()",
            );
            fits(&mut browser, "datasets");
            browser.open(&format!("{address}/datasets/shapes-quality"), size, false);
            browser.fill("input[name=from]", "500");
            browser.click_until(".filter .primary", "location.search.includes('from=500')");
            browser.wait_for("!!document.querySelector('a.pair-card[href$=\"/500\"]')");
            fits(&mut browser, "a page of a set");
            browser.open(&format!("{address}/datasets/shapes-quality?disputed=true"), size, false);
            let read = browser.evaluate("document.querySelector('main [role=status]').innerText");
            assert!(read.as_str().is_some_and(|read| read.contains("pairs read from pair 0")), "{read}");
            browser.open(&format!("{address}/datasets/shapes-quality/report"), size, false);
            browser.wait_for("document.querySelector('.sheet').naturalWidth > 0");
            let facts = browser.evaluate("document.querySelector('dl.facts').innerText");
            assert!(facts.as_str().is_some_and(|facts| facts.contains("500, 500 with a loser")), "{facts}");
            fits(&mut browser, "the report");
        }
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choices_of_the_display_are_kept() {
    let (address, _app, _) = site().await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/settings"), PHONE, false);
        fits(&mut browser, "settings");
        let choose = |name: &str, value: &str| {
            format!(
                "(() => {{ const e = document.querySelector('[data-kept={name}]'); e.value = '{value}'; \
                 e.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
            )
        };
        browser.evaluate(&choose("density", "compact"));
        browser.evaluate(&choose("theme", "dark"));
        browser.open(&format!("{address}/settings"), WIDE, false);
        let kept = browser.evaluate(
            "[document.documentElement.dataset.density, document.documentElement.dataset.theme, \
             ...[...document.querySelectorAll('[data-kept]')].map(e => e.value)]",
        );
        assert_eq!(kept, serde_json::json!(["compact", "dark", "dark", "compact"]));
        browser.evaluate(&choose("density", ""));
        browser.open(&format!("{address}/runs"), WIDE, false);
        assert_eq!(browser.evaluate("document.documentElement.dataset.density ?? ''"), "");
    })
    .await
    .expect("the browser");
}

//! Campaigns in a browser: made by the form, judged, closed; an exam failed and passed; completion codes; the best of four by keys
//! and by touch; a pause.

use crate::chromium::Chromium;
use crate::desk::ready;
use crate::support::TestApp;
use crate::{DESKTOP, HYDRATED, PHONE, WIDE};
use serde_json::{Value, json};

/// True once the rater has so many answers in the session, and all have arrived.
fn answered(count: usize) -> String {
    format!(
        "!!document.querySelector('.judge-foot .progress')?.innerText.trim().startsWith('{count} / ') && \
         Object.keys(localStorage).every(key => !key.startsWith('answer-'))"
    )
}

async fn serve(app: &TestApp) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn make(app: &TestApp, spec: Value) -> (String, String) {
    let made = app.post("/api/v1/campaigns", spec.to_string()).await.expect(201).json();
    let text = |name: &str| made[name].as_str().expect("an address").to_owned();
    (text("judge_url"), text("owner_url"))
}

/// Opens the desk as a rater who has not been there, and agrees.
pub(crate) fn agree(browser: &mut Chromium, address: &str, desk: &str, size: (u32, u32)) {
    browser.open(&format!("{address}{desk}"), size, false);
    browser.click_until("main form .primary", "!!document.querySelector('.side img')");
    browser.wait_for(HYDRATED);
}

/// The brightness of an image's first pixel.
const BRIGHT: &str = "(side => { const c = document.createElement('canvas'); c.width = c.height = 1; \
    const x = c.getContext('2d'); x.drawImage(document.querySelector(side + ' img'), 0, 0); return x.getImageData(0, 0, 1, 1).data[0]; })";

/// From the form to the results: a campaign is made, judged to its end, closed, and copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_is_made_judged_and_closed() {
    let app = TestApp::start().await;
    app.pairs(2).await;
    let address = serve(&app).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.open(&format!("{address}/campaigns/new"), DESKTOP, false);
        browser.fill("[name=name]", "from the browser");
        for model in ["tuned-dpo", "tuned-contrast"] {
            browser.evaluate(&format!("document.querySelector('[name=\"model:{model}\"]').click()"));
        }
        browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })");
        browser.fill("[name=completion_code]", "DONE1");
        browser.evaluate("document.querySelector('form.compare .primary').click()");
        browser.wait_for("document.querySelector('h1')?.innerText === 'from the browser' && location.search.startsWith('?key=')");
        let owner = browser.evaluate("location.pathname + location.search").as_str().expect("an address").to_owned();
        let desk = browser.evaluate("document.querySelector('.actions .primary').getAttribute('href')");
        agree(&mut browser, &address, desk.as_str().expect("an address"), DESKTOP);
        for (count, key) in [(1, "1"), (2, "2")] {
            ready(&mut browser);
            browser.press(key);
            if count == 1 {
                browser.wait_for(&answered(count));
            }
        }
        browser.wait_for("document.querySelector('.completion')?.innerText === 'DONE1'");
        assert_eq!(browser.errors(), Vec::<String>::new());
        browser.open(&format!("{address}{owner}"), DESKTOP, false);
        browser.wait_for("document.querySelector('main').innerText.includes('2 of 2 votes')");
        browser.evaluate("document.querySelector('button[value=closed]').click()");
        browser.wait_for("document.querySelector('.badge')?.innerText === 'closed'");
        browser.wait_for("document.querySelectorAll('.split-items li').length === 2");
        let loaded = "[...document.querySelectorAll('.split-items img')].every(e => (e.loading = 'eager', e.complete && e.naturalWidth > 0))";
        browser.wait_for(loaded);
        browser.evaluate("[...document.querySelectorAll('.actions a')].find(a => a.innerText === 'Copy').click()");
        browser.wait_for("document.querySelector('[name=completion_code]')?.value === 'DONE1'");
        assert_eq!(browser.evaluate("document.querySelector('[name=name]').value"), "from the browser (copy)");
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
}

/// One rater answers the exam's pair as expected and gets others, another one does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exam_is_passed_and_failed() {
    let app = TestApp::start().await;
    app.pairs(3).await;
    let (good, bad) = (app.sibling("good", "sft").await, app.sibling("bad", "sft").await);
    let better = app.image(&good, "a gold prompt", [250, 250, 250]).await.id;
    let worse = app.image(&bad, "a gold prompt", [5, 5, 5]).await.id;
    let spec = json!({
        "name": "with an exam", "models": ["tuned-dpo", "tuned-contrast"], "exam": 1, "session": 2,
        "gold": [{ "better": better, "worse": worse }], "completion_code": "DONE1", "failed_code": "FAIL2",
    });
    let (desk, _) = make(&app, spec).await;
    let address = serve(&app).await;
    tokio::task::spawn_blocking(move || {
        for passes in [true, false] {
            let mut browser = Chromium::start();
            agree(&mut browser, &address, &desk, DESKTOP);
            browser.wait_for("document.querySelector('.judge-foot').innerText.includes('Exam: 1 pair left')");
            ready(&mut browser);
            let is_first = browser.evaluate(&format!("{BRIGHT}('.side.left') > {BRIGHT}('.side.right')")) == true;
            browser.press(if is_first == passes { "1" } else { "2" });
            if !passes {
                browser.wait_for("document.querySelector('.completion')?.innerText === 'FAIL2'");
                browser.wait_for("!document.querySelector('.side')");
                continue;
            }
            browser.wait_for("!document.querySelector('.judge-foot').innerText.includes('Exam')");
            for count in 1..=2 {
                ready(&mut browser);
                browser.press("3");
                browser.wait_for(&answered(count));
            }
            // The session is done, and there is one more pair.
            browser.wait_for("document.querySelector('.judge').innerText.includes('The session is done')");
            browser.wait_for("document.querySelector('.completion')?.innerText === 'DONE1' && !document.querySelector('.side')");
            browser.click_until(".go-on", "!!document.querySelector('.side')");
            ready(&mut browser);
            browser.press("4");
            browser.wait_for(&answered(3));
            assert_eq!(browser.errors(), Vec::<String>::new());
        }
    })
    .await
    .expect("the browser");
}

/// A site with a campaign of four models, best of four, with so many sets.
pub(crate) async fn sets(count: usize) -> (TestApp, String, String, String) {
    let app = TestApp::start().await;
    app.pairs(count).await;
    for (name, colour) in [("tuned-sft", [40, 220, 40]), ("tuned-lora", [220, 220, 40])] {
        let model = app.sibling(name, "sft").await;
        for index in 0..count {
            app.image(&model, &format!("a small red square number {index}"), colour).await;
        }
    }
    let spec = json!({
        "name": "best of four", "form": "best_of_four",
        "models": ["tuned-dpo", "tuned-contrast", "tuned-sft", "tuned-lora"],
    });
    let (desk, owner) = make(&app, spec).await;
    let address = serve(&app).await;
    (app, address, desk, owner)
}

/// Waits until a set takes answers: all four images are there, and it is not new.
pub(crate) fn set_ready(browser: &mut Chromium) {
    browser.wait_for("[...document.querySelectorAll('.side img')].filter(e => e.complete && e.naturalWidth > 0).length === 4");
    std::thread::sleep(std::time::Duration::from_millis(450));
}

/// Images and buttons are in view at once, and do not lie over each other.
fn check_fit(browser: &mut Chromium) {
    let visible = "scrollTo(0, 0), [...document.querySelectorAll('.side, .answers button')].every(e => { \
        const r = e.getBoundingClientRect(); return r.width > 0 && r.bottom <= innerHeight && r.right <= innerWidth; })";
    assert_eq!(browser.evaluate(visible), true, "not all of a set is in view");
    let places = browser.evaluate(
        "new Set([...document.querySelectorAll('.side')].map(e => { const r = e.getBoundingClientRect(); return r.x + ',' + r.y; })).size",
    );
    assert_eq!(places, 4, "images lie over each other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_of_four_by_keys() {
    let (app, address, desk, owner) = sets(5).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        agree(&mut browser, &address, &desk, WIDE);
        set_ready(&mut browser);
        check_fit(&mut browser);
        browser.wait_for("document.querySelector('.question').innerText.includes('the best for this prompt')");
        browser.press("3");
        browser.wait_for(&answered(1));
        browser.wait_for("document.querySelector('[role=status]').innerText === 'Your answer: 3 is the best.'");
        // Taken back, paused, and answered again.
        browser.press("u");
        browser.wait_for(&answered(0));
        set_ready(&mut browser);
        browser.press("p");
        browser.wait_for("!document.querySelector('.side') && document.querySelector('.judge').innerText.includes('Paused')");
        browser.press("1");
        browser.press("p");
        set_ready(&mut browser);
        browser.wait_for(&answered(0));
        browser.press("4");
        browser.wait_for(&answered(1));
        // All in their order: the fourth follows from the third.
        set_ready(&mut browser);
        browser.press("r");
        for (key, picked) in [("2", 1), ("4", 2)] {
            browser.press(key);
            browser.wait_for(&format!("document.querySelectorAll('.side .rank').length === {picked}"));
        }
        browser.press("1");
        browser.wait_for(&answered(2));
        browser.wait_for("document.querySelector('[role=status]').innerText === 'Your answer: 2, 4, 1.'");
        // Two of them, without a connection.
        set_ready(&mut browser);
        browser.set_offline(true);
        for (key, picked) in [("1", 1), ("3", 2)] {
            browser.press(key);
            browser.wait_for(&format!("document.querySelectorAll('.side .rank').length === {picked}"));
        }
        browser.press("Enter");
        browser.wait_for("document.querySelector('.note.wait')?.innerText.includes('1 answer to send')");
        browser.set_offline(false);
        browser.wait_for(&answered(3));
    })
    .await
    .expect("the browser");
    let watched = app.get(&format!("/api/v1{owner}")).await.expect(200).json();
    assert_eq!(watched["votes"], 3, "{watched}");
    let pairs = watched["results"].as_array().expect("results").iter();
    let pairs: i64 =
        pairs.map(|r| r["wins"].as_i64().expect("a count") + r["losses"].as_i64().expect("a count")).sum();
    // 3 of the best, 6 of the whole order, 5 of the first two.
    assert_eq!(pairs, 14);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_of_four_by_touch() {
    let (app, address, desk, owner) = sets(3).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        browser.enable_touch();
        agree(&mut browser, &address, &desk, PHONE);
        for (count, side) in [(1, ".side.fourth"), (2, ".side.left")] {
            set_ready(&mut browser);
            check_fit(&mut browser);
            browser.tap(side);
            browser.wait_for(&answered(count));
        }
        set_ready(&mut browser);
        browser.tap(".answers button[value=skip]");
        browser
            .wait_for("document.querySelector('.judge').innerText.includes('nothing left for you to judge')");
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
    let watched = app.get(&format!("/api/v1{owner}")).await.expect(200).json();
    assert_eq!(watched["votes"], 2, "{watched}");
}

//! The desk of a rater: by keys, by mouse and by touch; undo, skip, a lost connection, two tabs, and presses that must not vote.

use crate::chromium::Chromium;
use crate::support::TestApp;
use crate::{DESKTOP, HYDRATED, PHONE, WIDE};
use domain::preference::Choice;
use std::time::Duration;

/// True once the page says that so many votes are cast, and all have arrived.
pub(crate) fn voted(count: usize) -> String {
    let noun = if count == 1 { "vote" } else { "votes" };
    format!(
        "document.querySelector('.judge-foot').innerText.includes('{count} {noun} cast') && \
         Object.keys(localStorage).every(key => !key.startsWith('answer-'))"
    )
}

/// Waits until the pair takes answers: both images are there, and it is not new.
pub(crate) fn ready(browser: &mut Chromium) {
    browser.wait_for("[...document.querySelectorAll('.side img')].filter(e => e.complete && e.naturalWidth > 0).length === 2");
    std::thread::sleep(Duration::from_millis(450));
}

/// No answer waits for the server.
const CONFIRMED: &str = "Object.keys(localStorage).every(key => !key.startsWith('answer-'))";

const PROMPT: &str = "document.querySelector('.question strong').innerText";

/// A site with so many pairs to judge.
async fn site(pairs: usize) -> (String, TestApp) {
    let app = TestApp::start().await;
    app.pairs(pairs).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, app)
}

fn open(browser: &mut Chromium, address: &str, size: (u32, u32)) {
    browser.open(&format!("{address}/judge"), size, false);
    browser.wait_for(HYDRATED);
}

/// The choices of all votes, oldest first.
async fn choices(app: &TestApp) -> Vec<Choice> {
    let mut votes = app.store.list_votes(100).await.expect("votes");
    votes.reverse();
    votes.into_iter().map(|vote| vote.choice).collect()
}

/// 20 pairs in each way, and every answer is the one that was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_pairs_are_judged_by_keys_by_mouse_and_by_touch() {
    let answers = [
        ("1", ".side.left", Choice::Left),
        ("2", ".side.right", Choice::Right),
        ("3", ".answers button[value=tie]", Choice::Tie),
        ("4", ".answers button[value=both_bad]", Choice::BothBad),
    ];
    for way in ["keys", "mouse", "touch"] {
        let (address, app) = site(20).await;
        tokio::task::spawn_blocking(move || {
            let mut browser = Chromium::start();
            if way == "touch" {
                browser.enable_touch();
            }
            open(&mut browser, &address, if way == "touch" { PHONE } else { WIDE });
            for index in 0..20 {
                ready(&mut browser);
                let (key, selector, _) = answers[index % 4];
                match way {
                    "keys" => browser.press(key),
                    "mouse" => browser.click_until(selector, &voted(index + 1)),
                    _ => browser.tap(selector),
                }
                browser.wait_for(&voted(index + 1));
            }
            browser.wait_for("document.body.innerText.includes('You have judged every pair')");
            assert_eq!(browser.errors(), Vec::<String>::new(), "{way}");
        })
        .await
        .expect("the browser");
        let expected: Vec<Choice> = (0..20).map(|index| answers[index % 4].2).collect();
        assert_eq!(choices(&app).await, expected, "{way}");
    }
}

/// The images are in view with the answers, and as large as the window allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_fill_the_window_and_are_enlarged_and_compared_in_place() {
    let (address, _app) = site(2).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        for (size, least) in [(WIDE, 520.0), (PHONE, 190.0)] {
            open(&mut browser, &address, size);
            ready(&mut browser);
            let width = browser.evaluate("document.querySelector('.side.left img').getBoundingClientRect().width");
            assert!(width.as_f64().is_some_and(|width| width >= least), "{width} px wide at {} px", size.0);
            let visible = browser.evaluate(
                "scrollTo(0, 0), [...document.querySelectorAll('.side, .answers button')].every(e => e.getBoundingClientRect().bottom <= innerHeight)",
            );
            assert_eq!(visible, true, "the answers are out of view at {} px", size.0);
        }
        open(&mut browser, &address, WIDE);
        ready(&mut browser);
        let transforms = "[...document.querySelectorAll('.side img')].map(e => e.style.transform + e.style.transformOrigin)";
        browser.press("z");
        browser.press("ArrowRight");
        browser.wait_for(&format!("{transforms}.every(t => t === 'scale(2)60% 50%')"));
        browser.press("Escape");
        let shown = "[...document.querySelectorAll('.side')].map(e => getComputedStyle(e).visibility).join()";
        for expected in ["hidden,visible", "visible,hidden", "hidden,visible"] {
            browser.press("f");
            browser.wait_for(&format!("{shown} === '{expected}'"));
        }
        browser.press("Escape");
        browser.wait_for(&format!("{shown} === 'visible,visible'"));
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presses_that_are_not_meant_for_a_pair_do_not_answer_it() {
    let (address, app) = site(6).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        // On a page that scrolls, arrows scroll.
        open(&mut browser, &address, (900, 420));
        ready(&mut browser);
        for key in ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "a", "Enter"] {
            browser.press(key);
        }
        browser.wait_for("document.querySelector('.judge-foot').innerText.includes('0 votes')");
        // Two presses, one vote. Both in one task of the page: on a busy machine the second would otherwise come late.
        let before = browser.evaluate(PROMPT);
        browser.evaluate(
            "for (const key of ['1', '1']) document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }))",
        );
        browser.wait_for(&voted(1));
        assert_ne!(browser.evaluate(PROMPT), before);
        std::thread::sleep(Duration::from_millis(600));
        browser.wait_for(&voted(1));
        // On a page that does not, left and right vote.
        open(&mut browser, &address, (1360, 1400));
        ready(&mut browser);
        browser.press("ArrowUp");
        browser.press("ArrowRight");
        browser.wait_for(&voted(2));
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
    assert_eq!(choices(&app).await, [Choice::Left, Choice::Right]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_taken_back_and_a_pair_is_skipped() {
    let (address, app) = site(3).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        open(&mut browser, &address, DESKTOP);
        ready(&mut browser);
        let first = browser.evaluate(PROMPT);
        browser.press("1");
        browser.wait_for(&voted(1));
        browser.press("u");
        browser.wait_for(&format!(
            "{PROMPT} === {first} && document.querySelector('.judge-foot').innerText.includes('0 votes')"
        ));
        ready(&mut browser);
        browser.press("2");
        browser.wait_for(&voted(1));
        ready(&mut browser);
        let second = browser.evaluate(PROMPT);
        browser.press("n");
        browser.wait_for(&format!("{PROMPT} !== {second}"));
        browser.wait_for(CONFIRMED);
        // After a reload the last answer, the skip, can still be taken back, and then the vote.
        open(&mut browser, &address, DESKTOP);
        ready(&mut browser);
        // One click: a second one would take back the vote too.
        browser.evaluate("document.querySelector('button[value=undo]').click()");
        browser.wait_for(&format!("{PROMPT} === {second}"));
        ready(&mut browser);
        browser.press("u");
        browser.wait_for(&format!("{PROMPT} === {first}"));
        ready(&mut browser);
        browser.press("3");
        browser.wait_for(&voted(1));
        assert_eq!(browser.errors(), Vec::<String>::new());
    })
    .await
    .expect("the browser");
    assert_eq!(choices(&app).await, [Choice::Tie]);
    assert_eq!(app.store.count_undone_votes().await.expect("a query"), 2);
}

/// Answers without a connection wait, survive a reload, and arrive once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_connection_arrive_once() {
    let (address, app) = site(6).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        open(&mut browser, &address, DESKTOP);
        ready(&mut browser);
        browser.set_offline(true);
        for key in ["1", "2"] {
            ready(&mut browser);
            browser.press(key);
        }
        browser.wait_for("document.querySelector('.note.wait')?.innerText.includes('2 answers to send')");
        // The later one is taken back before it is sent.
        ready(&mut browser);
        browser.press("u");
        browser.wait_for("document.querySelector('.note.wait')?.innerText.includes('1 answer to send')");
        ready(&mut browser);
        browser.press("4");
        browser.wait_for("document.querySelector('.note.wait')?.innerText.includes('2 answers to send')");
        browser.set_offline(false);
        open(&mut browser, &address, DESKTOP);
        browser.wait_for(&voted(2));
        ready(&mut browser);
        browser.press("3");
        browser.wait_for(&voted(3));
    })
    .await
    .expect("the browser");
    let mut arrived = choices(&app).await;
    arrived.sort_by_key(|choice| choice.as_str());
    assert_eq!(arrived, [Choice::BothBad, Choice::Left, Choice::Tie]);
    assert_eq!(app.store.count_undone_votes().await.expect("a query"), 0);
}

/// The same pair in two tabs: the first answer counts, and the second tab goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_is_open_in_two_tabs_is_judged_once() {
    let (address, app) = site(3).await;
    tokio::task::spawn_blocking(move || {
        let mut browser = Chromium::start();
        open(&mut browser, &address, DESKTOP);
        ready(&mut browser);
        let shown = browser.evaluate(PROMPT);
        // The other tab votes on what this one shows.
        let other = "fetch(`/api/v1/matchups/${document.querySelector('[name=matchup]').value}/vote`, \
                     { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{\"choice\":\"right\"}' }).then(r => r.status)";
        assert_eq!(browser.evaluate(other), 201);
        browser.press("1");
        browser.wait_for("document.querySelector('[role=status]').innerText.includes('the first answer counts')");
        browser.wait_for(&format!("{PROMPT} !== {shown}"));
        browser.wait_for(&voted(1));
        ready(&mut browser);
        browser.press("4");
        browser.wait_for(&voted(2));
    })
    .await
    .expect("the browser");
    assert_eq!(choices(&app).await, [Choice::Right, Choice::BothBad]);
}

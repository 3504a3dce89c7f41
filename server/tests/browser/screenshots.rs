//! The screenshots of the documentation, of a site that runs elsewhere.

use crate::PHONE;
use crate::chromium::Chromium;
use serde_json::Value;
use std::path::PathBuf;

const WIDE: (u32, u32) = (1360, 900);

/// The first link of a page with a prefix.
fn link(browser: &mut Chromium, page: &str, selector: &str) -> String {
    browser.open(page, WIDE, false);
    match browser.evaluate(&format!("document.querySelector({selector:?})?.pathname")) {
        Value::String(path) => path,
        _ => panic!("{page} has no {selector}"),
    }
}

#[test]
#[ignore = "cargo xtask screenshots runs it, against a site with content"]
fn screenshots() {
    let address = std::env::var("SITE_ADDRESS").expect("SITE_ADDRESS is set by cargo xtask screenshots");
    let folder = PathBuf::from(std::env::var_os("SCREENSHOTS").expect("SCREENSHOTS is a folder"));
    let mut browser = Chromium::start();
    let run = link(&mut browser, &format!("{address}/runs"), "td.lead a[href^='/runs/']");
    let model = link(&mut browser, &format!("{address}/models"), ".model-card h2 a");
    let campaign = link(&mut browser, &format!("{address}/campaigns"), "td.lead a");
    let pages = [
        ("home", "/"),
        ("runs", "/runs"),
        ("run", run.as_str()),
        ("studies", "/studies"),
        ("models", "/models"),
        ("model", model.as_str()),
        ("datasets", "/datasets"),
        ("dataset", "/datasets/shapes-quality"),
        ("generate", "/playground?prompt=a+large+red+circle+on+a+blue+background&seed=1"),
        ("settings", "/settings"),
        ("judge", "/judge"),
        ("compare", "/judge/compare"),
        ("campaign", campaign.as_str()),
        ("leaderboard", "/leaderboard"),
        ("help", "/help/method.html"),
        ("api", "/docs"),
    ];
    for (name, path) in pages {
        for size in [WIDE, PHONE] {
            for (theme, dark) in [("light", false), ("dark", true)] {
                browser.open(&format!("{address}{path}"), size, dark);
                // Images below the fold are loaded when they come near it.
                std::thread::sleep(std::time::Duration::from_millis(600));
                browser.keep_webp(&folder.join(format!("{name}-{}-{theme}.webp", size.0)));
            }
        }
    }
}

//! Pages, the page bundle, the OpenAPI document and the health checks.

use super::round::Round;
use crate::http::Client;
use anyhow::{Context, Result, ensure};

pub(super) fn alive_and_ready(client: &mut Client) -> Result<String> {
    client.get("/livez")?.expect(200)?;
    client.get("/readyz")?.expect(200)?;
    Ok(client.url().to_owned())
}

/// Fetches every page, the bundle, the OpenAPI document and an unknown page.
pub(super) fn all(client: &mut Client, round: &mut Round) {
    for path in [
        "/",
        "/runs",
        "/models",
        "/playground",
        "/judge",
        "/judge/compare",
        "/leaderboard",
        "/docs",
        "/help/index.html",
        "/help/method.html",
    ] {
        round.step(&format!("page {path}"), || {
            let page = client.get(path)?.expect(200)?;
            let kind = page.header("content-type").unwrap_or_default();
            ensure!(kind.starts_with("text/html"), "the content type is {kind:?}");
            let html = String::from_utf8_lossy(&page.body);
            ensure!(html.contains("</html>"), "the page is truncated");
            Ok(format!("{} bytes", page.body.len()))
        });
    }
    for (name, kind) in [
        ("frontend.js", "text/javascript"),
        ("judge.pack", "application/octet-stream"),
        ("style.css", "text/css"),
        ("display.woff2", "font/woff2"),
    ] {
        round.step(&format!("bundle {name}"), || {
            let page = client.get("/runs")?.expect(200)?;
            let html = String::from_utf8_lossy(&page.body).into_owned();
            let folder = html.split("\"/pkg/").nth(1).and_then(|rest| rest.split(['/', '"']).next());
            let folder = folder.context("the page names no bundle")?;
            let file = client.get(&format!("/pkg/{folder}/{name}"))?.expect(200)?;
            let found = file.header("content-type").unwrap_or_default();
            ensure!(found.starts_with(kind), "the content type is {found:?}");
            Ok(format!("{} bytes", file.body.len()))
        });
    }
    round.step("OpenAPI document", || {
        let document = client.get_json("/api/openapi.json")?;
        let paths = document["paths"].as_object().context("the document has no paths")?;
        for path in ["/generate", "/api/v1/jobs", "/api/v1/leaderboard"] {
            ensure!(paths.contains_key(path), "the document does not describe {path}");
        }
        Ok(format!("{} paths", paths.len()))
    });
    round.step("an unknown page", || {
        let page = client.get("/no-such-page")?.expect(404)?;
        Ok(format!("{} bytes", page.body.len()))
    });
}

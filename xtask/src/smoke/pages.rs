//! What a browser and a monitor ask for.

use super::Round;
use crate::http::Client;
use anyhow::{Context, Result, ensure};

/// Liveness and readiness.
pub(super) fn alive_and_ready(client: &mut Client) -> Result<String> {
    client.get("/livez")?.expect(200)?;
    client.get("/readyz")?.expect(200)?;
    Ok(client.url())
}

/// Every page, the bundle behind them, and the description of the API.
pub(super) fn all(client: &mut Client, round: &mut Round) {
    for path in ["/", "/runs", "/models", "/playground", "/judge", "/leaderboard", "/docs"] {
        round.step(&format!("page {path}"), || {
            let page = client.get(path)?.expect(200)?;
            let kind = page.header("content-type").unwrap_or_default();
            ensure!(kind.starts_with("text/html"), "is {kind:?}");
            let html = String::from_utf8_lossy(&page.body);
            ensure!(html.contains("</html>"), "is cut off");
            Ok(format!("{} bytes", page.body.len()))
        });
    }
    for (path, kind) in
        [("/pkg/frontend.js", "text/javascript"), ("/pkg/frontend_bg.wasm", "application/wasm")]
    {
        round.step(&format!("bundle {path}"), || {
            let file = client.get(path)?.expect(200)?;
            ensure!(
                file.header("content-type").is_some_and(|k| k.starts_with(kind)),
                "is {:?}",
                file.header("content-type")
            );
            Ok(format!("{} bytes", file.body.len()))
        });
    }
    round.step("OpenAPI document", || {
        let document = client.get_json("/api/openapi.json")?;
        let paths = document["paths"].as_object().context("has no paths")?;
        for path in ["/generate", "/api/v1/jobs", "/api/v1/leaderboard"] {
            ensure!(paths.contains_key(path), "{path} is not described");
        }
        Ok(format!("{} paths", paths.len()))
    });
    round.step("a page that is not there", || {
        let page = client.get("/no-such-page")?.expect(404)?;
        Ok(format!("{} bytes", page.body.len()))
    });
}

//! Campaigns without JavaScript, and by invitation.

use crate::campaigns::{act, vote};
use crate::support::TestApp;
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

/// With an access token, an invitation opens one campaign's desk and nothing else, until it is revoked.
#[tokio::test]
async fn an_invitation_opens_one_desk_until_it_is_revoked() {
    let app = TestApp::start_with(&["--access-token", "secret"]).await;
    app.pairs(3).await;
    let token = |method: &str, path: &str, body: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, "Bearer secret")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .expect("a request")
    };
    let made = |name: &str| json!({ "name": name, "models": ["tuned-dpo", "tuned-contrast"] }).to_string();
    let first = app.send(token("POST", "/api/v1/campaigns", &made("one"))).await.expect(201).json();
    let other = app.send(token("POST", "/api/v1/campaigns", &made("two"))).await.expect(201).json();
    let (id, key) =
        (first["campaign"]["id"].as_str().expect("an id"), first["owner_key"].as_str().expect("a key"));
    let invitations = format!("/api/v1/campaigns/{id}/invitations");
    app.send(token("POST", &invitations, r#"{"label":"panel"}"#)).await.refuses(422, "key");
    let past = r#"{"ends_at":"2020-01-01T00:00:00Z"}"#;
    app.send(token("POST", &format!("{invitations}?key={key}"), past)).await.refuses(422, "ends_at");
    let link = app.send(token("POST", &format!("{invitations}?key={key}"), r#"{"label":"panel"}"#)).await;
    let link = link.expect(201).json();
    let path = link["path"].as_str().expect("a path").to_owned();

    app.get(&format!("/api/v1/campaigns/{id}/desk")).await.expect(401);
    let joined = app.get(&format!("{path}?PROLIFIC_PID=p1")).await.expect(303);
    assert_eq!(joined.header("location"), format!("/campaigns/{id}/judge?PROLIFIC_PID=p1"));
    assert!(joined.header("set-cookie").contains("HttpOnly"));
    let invited = joined.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let page = app.get_as(&invited, joined.header("location")).await.expect(200);
    let rater = page.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let page = page.text();
    assert!(page.contains("I agree and begin") && page.contains("value=\"p1\""), "{page}");
    assert!(!page.contains("href=\"/models\""), "{page}");
    let cookies = format!("{invited}; {rater}");
    let agree = Request::post(format!("/campaigns/{id}/judge/agree"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::COOKIE, &cookies)
        .body(Body::from("external_id=p1"))
        .expect("a request");
    app.send(agree).await.expect(303);
    let shown = app.get_as(&cookies, &format!("/api/v1/campaigns/{id}/desk")).await.expect(200).json();
    app.get_as(&cookies, shown["matchup"]["left_url"].as_str().expect("an address")).await.expect(200);
    let page = app.get_as(&cookies, &format!("/campaigns/{id}/judge")).await.expect(200).text();
    assert!(page.contains("value=\"both_bad\""), "{page}");
    let next = vote(&app, &cookies, &shown, "left").await;
    let other = other["campaign"]["id"].as_str().expect("an id");
    for closed in [
        "/",
        "/models",
        "/judge",
        "/campaigns",
        &format!("/campaigns/{id}"),
        &format!("/api/v1/campaigns/{id}"),
        &format!("/api/v1/campaigns/{other}/desk"),
        &format!("/campaigns/{other}/judge"),
        &format!("/campaigns/{id}/judgement"),
        "/api/v1/matchups/next",
        "/api/v1/images",
        "/api/v1/votes",
        "/api/v1/leaderboard",
        "/generate?prompt=a",
    ] {
        app.get_as(&cookies, closed).await.expect(401);
    }
    app.get_as(&cookies, "/static/style.css").await.expect(200);

    let revoke =
        format!("{invitations}/{}/revoke?key={key}", link["invitation"]["id"].as_str().expect("an id"));
    let revoked = app.send(token("POST", &revoke, "{}")).await.expect(200).json();
    assert!(revoked[0]["revoked_at"].is_string(), "{revoked}");
    app.get_as(&cookies, &format!("/api/v1/campaigns/{id}/desk")).await.expect(401);
    act(&app, &cookies, &next, "vote", r#"{"choice":"left"}"#).await.expect(401);
    app.get(&path).await.expect(404);
    app.get("/join/guess").await.expect(404);
}

/// The pages without JavaScript: the form, the owner's page, the desk, and a campaign of two models in two clicks.
#[tokio::test]
async fn a_campaign_is_made_watched_and_judged_without_javascript() {
    let app = TestApp::start().await;
    app.pairs(2).await;
    let form = |path: &str, cookie: &str, body: &str| {
        Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::COOKIE, cookie)
            .body(Body::from(body.to_owned()))
            .expect("a request")
    };
    let page = app.get("/campaigns").await.expect(200).text();
    assert!(page.contains("No campaigns yet"), "{page}");
    let refused =
        app.send(form("/campaigns/new", "", "name=first&model%3Atuned-dpo=1&session=x")).await.expect(303);
    let page = app.get(refused.header("location")).await.expect(200).text();
    assert!(page.contains("is not a whole number") && page.contains("value=\"first\""), "{page}");
    let body = "name=first&model%3Atuned-dpo=1&model%3Atuned-contrast=1&question%3Aappeal=1&session=5&reveal=at_end\
                &raters_per_item=2&votes=&ends_at=&instructions=Look+closely.&prompts=";
    let made = app.send(form("/campaigns/new", "", body)).await.expect(303).header("location").to_owned();
    let owner = app.get(&made).await.expect(200).text();
    for text in
        ["first", "0 of 4 votes", "Visual appeal", "Look closely.", "New invitation", "Close for good"]
    {
        assert!(owner.contains(text), "no {text:?}: {owner}");
    }
    let id =
        made.strip_prefix("/campaigns/").and_then(|rest| rest.split('?').next()).expect("an id").to_owned();
    let key = made.split("key=").nth(1).expect("a key").to_owned();
    let stranger = app.get(&format!("/campaigns/{id}")).await.expect(200).text();
    assert!(!stranger.contains("New invitation") && !stranger.contains("<h2 id=\"results\">"), "{stranger}");
    let invited =
        app.send(form(&format!("/campaigns/{id}/invite"), "", &format!("key={key}&label=friends"))).await;
    let page = app.get(invited.expect(303).header("location")).await.expect(200).text();
    assert!(page.contains("/join/") && page.contains("friends"), "{page}");

    let desk = format!("/campaigns/{id}/judge");
    let page = app.get(&desk).await.expect(200);
    let cookie = page.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    app.send(form(&format!("{desk}/agree"), &cookie, "external_id=")).await.expect(303);
    for _ in 0..2 {
        let page = app.get_as(&cookie, &desk).await.expect(200).text();
        assert!(page.contains(&format!("action=\"{desk}/answer\"")), "{page}");
        let pair = page.split("name=\"matchup\" value=\"").nth(1).expect("a pair")[..36].to_owned();
        let vote = format!("matchup={pair}&choice=left");
        app.send(form(&format!("{desk}/answer"), &cookie, &vote)).await.expect(303);
    }
    let page = app.get_as(&cookie, &desk).await.expect(200).text();
    assert!(
        page.contains("There is nothing left for you to judge") && page.contains("your 2 votes"),
        "{page}"
    );
    app.send(form(&format!("/campaigns/{id}/state"), "", "state=closed")).await.expect(303);
    let page = app.get(&format!("/campaigns/{id}")).await.expect(200).text();
    assert!(page.contains("<h2 id=\"results\">") && !page.contains("Close for good"), "{page}");
    app.send(form(&format!("{desk}/erase"), &cookie, "")).await.expect(303);

    // The second of two clicks.
    let page = app.get("/judge/compare?model=tuned-dpo").await.expect(200).text();
    assert!(page.contains("formaction=\"/campaigns/quick\""), "{page}");
    let quick = app
        .send(form("/campaigns/quick", "", "model=tuned-dpo&prompts=&campaign_against=tuned-contrast"))
        .await;
    let page = app.get(quick.expect(303).header("location")).await.expect(200).text();
    assert!(page.contains("tuned-dpo against tuned-contrast") && page.contains("0 of 2 votes"), "{page}");
    let copy = app.get(&format!("/campaigns/new?copy={id}")).await.expect(200).text();
    assert!(copy.contains("first (copy)"), "{copy}");
}

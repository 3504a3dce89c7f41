//! A blocking HTTP client for one diff-contrast server.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, SET_COOKIE};
use ureq::http::{HeaderMap, Request, Response};

/// Longer than any request takes; a request to a hanging server fails after it.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The largest response read, in bytes. The page bundle is the largest one served.
const LARGEST_RESPONSE: u64 = 256 << 20;
/// From this size on, in bytes, a body is sent only after the server's `100 Continue`, as curl does. A server that refuses
/// the body by its length closes the connection, and a client that is still sending would not read the refusal.
const CONTINUE_FROM: usize = 1 << 20;

/// Sends requests to one server, with its access token and the cookies it has set.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
    /// Kept here: ureq's feature `cookies` adds parsers of URLs and of domain names, and one server needs neither.
    cookies: BTreeMap<String, String>,
}

/// A response with any status.
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// `url` is `http://HOST` or `http://HOST:PORT`. A token is sent as `Authorization: Bearer`.
    pub(crate) fn new(url: &str, token: Option<&str>) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let host = url.strip_prefix("http://").context("use a URL like http://127.0.0.1:8080")?;
        ensure!(
            !host.is_empty() && !host.contains('/'),
            "use the server's URL without a path, like http://127.0.0.1:8080"
        );
        // The status is the caller's to judge, and pages are compared as they were sent.
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .accept_encoding("identity")
            .proxy(None)
            .timeout_global(Some(TIMEOUT))
            .build()
            .new_agent();
        let token = token.filter(|token| !token.is_empty()).map(str::to_owned);
        Ok(Self { agent, url: url.to_owned(), token, cookies: BTreeMap::new() })
    }

    /// The server's URL, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Reply> {
        self.send("GET", path, &[], None)
    }

    /// Fails unless the response is JSON with status 200.
    pub(crate) fn get_json(&mut self, path: &str) -> Result<Value> {
        self.get(path)?.expect(200)?.json()
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Reply> {
        self.send("POST", path, &[], Some(body.to_string().as_bytes()))
    }

    /// Sends a request with extra headers and, if there is one, a body of type JSON.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply> {
        let reply = self.exchange(method, path, headers, body);
        let reply = reply.with_context(|| format!("{method} {}{}", self.url, shortened(path)))?;
        self.keep_cookies(&reply.headers);
        Ok(reply)
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Some(body) = body else { return Reply::read(self.agent.run(request.body(())?)?) };
        request = request.header(CONTENT_TYPE, "application/json");
        if body.len() >= CONTINUE_FROM {
            request = request.header(EXPECT, "100-continue");
        }
        Reply::read(self.agent.run(request.body(body)?)?)
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().ok().and_then(|cookie| cookie.split(';').next()?.split_once('='));
            if let Some((name, value)) = pair {
                self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
    }
}

impl Reply {
    fn read(response: Response<ureq::Body>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let body = body.into_with_config().limit(LARGEST_RESPONSE).read_to_vec()?;
        let reply = Self { status: head.status.as_u16(), headers: head.headers, body };
        if let Some(length) = reply.header(CONTENT_LENGTH.as_str()) {
            let received = reply.body.len();
            ensure!(length == received.to_string(), "received {received} of {length} bytes");
        }
        Ok(reply)
    }

    /// The value of a header; names are case-insensitive.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Fails unless the response has this status.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "expected status {status}, not {}: {}", self.status, self.text());
        Ok(self)
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("the response is not JSON: {}", self.text()))
    }

    /// The beginning of the body, for error messages.
    pub(crate) fn text(&self) -> String {
        shortened(&String::from_utf8_lossy(&self.body))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::{CONTINUE_FROM, Client};
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread::{JoinHandle, spawn};

    /// Answers one connection per response and returns the head of each request.
    fn server(responses: &[&'static str]) -> (Client, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let responses = responses.to_vec();
        let heads = spawn(move || {
            responses
                .into_iter()
                .map(|response| {
                    let (mut stream, _) = listener.accept().expect("a connection");
                    let mut head = String::new();
                    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).expect("a request") > 0 {
                    }
                    stream.write_all(response.as_bytes()).expect("a response is sent");
                    head.to_lowercase()
                })
                .collect()
        });
        (Client::new(&url, Some("secret")).expect("a client"), heads)
    }

    #[test]
    fn a_response_with_any_status_is_returned_with_headers_and_body() {
        let (mut client, heads) = server(&[
            "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\nX-Seed: 7\r\n\r\n{}",
            "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        ]);
        let reply = client.get("/generate?seed=7").expect("a response");
        assert_eq!((reply.status, reply.header("x-seed"), &reply.body[..]), (409, Some("7"), &b"{}"[..]));
        assert!(reply.expect(200).is_err());
        assert_eq!(client.get("/").expect("a redirect is not followed").status, 302);
        let heads = heads.join().expect("the server ends");
        assert!(heads[0].starts_with("get /generate?seed=7 http/1.1\r\n"), "{}", heads[0]);
        assert!(heads[0].contains("\r\nauthorization: bearer secret\r\n"), "{}", heads[0]);
    }

    #[test]
    fn cookies_are_sent_back() {
        let (mut client, heads) = server(&[
            "HTTP/1.1 200 OK\r\nSet-Cookie: rater=abc; Path=/; HttpOnly\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        ]);
        client.get("/judge").expect("a response");
        assert_eq!(client.get_json("/api").expect("JSON"), serde_json::json!([]));
        let heads = heads.join().expect("the server ends");
        assert!(!heads[0].contains("cookie"), "{}", heads[0]);
        assert!(heads[1].contains("\r\ncookie: rater=abc\r\n"), "{}", heads[1]);
    }

    #[test]
    fn a_truncated_response_is_an_error() {
        let (mut client, _) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", ""]);
        assert!(client.get("/").is_err());
        assert!(client.get("/").is_err());
    }

    #[test]
    fn the_refusal_of_a_large_body_is_read_before_the_body_is_sent() {
        let (mut client, heads) = server(&["HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n"]);
        let body = vec![b'x'; CONTINUE_FROM];
        let reply = client.send("POST", "/generate", &[], Some(&body)).expect("a refusal");
        assert_eq!(reply.status, 413);
        let heads = heads.join().expect("the server ends");
        assert!(heads[0].contains("\r\ncontent-type: application/json\r\n"), "{}", heads[0]);
        assert!(heads[0].contains(&format!("\r\ncontent-length: {CONTINUE_FROM}\r\n")), "{}", heads[0]);
    }

    #[test]
    fn a_url_with_a_path_or_without_a_scheme_is_refused() {
        for url in ["127.0.0.1:8080", "https://127.0.0.1", "http://", "http://127.0.0.1/api"] {
            assert!(Client::new(url, None).is_err(), "{url}");
        }
        assert_eq!(
            Client::new("http://127.0.0.1:8080/", None).expect("a client").url(),
            "http://127.0.0.1:8080"
        );
    }
}

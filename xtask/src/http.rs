//! An HTTP client for our own server on this machine: no TLS, one connection per request, cookies kept.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any answer takes, so that a hanging server is an error and not a hang.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Talks to one server.
pub(crate) struct Client {
    address: String,
    token: Option<String>,
    cookies: BTreeMap<String, String>,
}

/// What it said.
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// For `http://host:port`. The token is sent as a bearer.
    pub(crate) fn new(url: &str, token: Option<&str>) -> Result<Self> {
        let address = url.strip_prefix("http://").context("use a URL like http://127.0.0.1:8080")?;
        let address = address.trim_end_matches('/');
        ensure!(!address.contains('/'), "give the server's address only, like http://127.0.0.1:8080");
        let address = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
        let token = token.filter(|token| !token.is_empty()).map(str::to_owned);
        Ok(Self { address, token, cookies: BTreeMap::new() })
    }

    /// Where it talks to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// GET.
    pub(crate) fn get(&mut self, path: &str) -> Result<Reply> {
        self.send("GET", path, &[], None)
    }

    /// GET, with a 2xx JSON answer.
    pub(crate) fn get_json(&mut self, path: &str) -> Result<Value> {
        self.get(path)?.expect(200)?.json()
    }

    /// POST of a JSON body.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Reply> {
        self.send("POST", path, &[], Some(body.to_string().as_bytes()))
    }

    /// Any request. A body is sent as JSON.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply> {
        self.exchange(method, path, headers, body)
            .with_context(|| format!("{method} {}{}", self.url(), shortened(path)))
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply> {
        // HTTP/1.0: the answer ends where the connection does, never in chunks.
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n", self.address);
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            head += &format!("Cookie: {}\r\n", pairs.join("; "));
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        head += "\r\n";

        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.write_all(head.as_bytes())?;
        // A server that refuses a large body answers before it has read it, and then stops listening.
        let written = stream.write_all(body.unwrap_or_default());
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        if bytes.is_empty() {
            written?;
            read?;
            bail!("the server closed the connection without an answer");
        }
        let reply = Reply::parse(&bytes)?;
        for (_, cookie) in reply.headers.iter().filter(|(name, _)| name == "set-cookie") {
            if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(reply)
    }
}

impl Reply {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let end =
            bytes.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no end of headers")?;
        let head = std::str::from_utf8(&bytes[..end]).context("the headers are not text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let reply = Self {
            status: status.context("the answer has no status")?,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        if let Some(length) = reply.header("content-length") {
            ensure!(
                length == reply.body.len().to_string(),
                "{} bytes were announced and {} came",
                length,
                reply.body.len()
            );
        }
        Ok(reply)
    }

    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Itself, if it has this status.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "expected status {status}, not {}: {}", self.status, self.text());
        Ok(self)
    }

    /// Its body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("this is no JSON: {}", self.text()))
    }

    /// The beginning of its body.
    pub(crate) fn text(&self) -> String {
        shortened(&String::from_utf8_lossy(&self.body))
    }
}

/// Enough of a text to recognise it.
fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::Reply;

    #[test]
    fn an_answer_is_read_and_a_cut_one_is_not() {
        let whole = b"HTTP/1.0 409 Conflict\r\nContent-Length: 2\r\nX-Seed: 7\r\n\r\n{}";
        let reply = Reply::parse(whole).expect("a whole answer");
        assert_eq!(
            (reply.status, reply.header("x-seed"), reply.body.as_slice()),
            (409, Some("7"), &b"{}"[..])
        );
        assert!(Reply::parse(&whole[..whole.len() - 1]).is_err());
        assert!(Reply::parse(b"HTTP/1.0 200 OK").is_err());
    }
}

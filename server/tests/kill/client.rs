//! HTTP/1.1 over a socket per request, which tells an answer from a connection that was cut.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any request takes. A client that waits longer has been forgotten.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answered(Reply),
    /// Nothing listened.
    Refused,
    /// The connection ended before the whole response.
    Cut,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends a request; a POST if there is a body.
pub(crate) fn send(address: SocketAddr, path: &str, cookie: &str, body: Option<&str>) -> Outcome {
    let Ok(mut stream) = TcpStream::connect(address) else { return Outcome::Refused };
    stream.set_read_timeout(Some(FORGOTTEN)).expect("a timeout");
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nCookie: {cookie}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut bytes = Vec::new();
    let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut bytes));
    let timed_out = |e: &std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!sent.as_ref().is_err_and(timed_out), "no answer to {path} within {FORGOTTEN:?}");
    // A reset after the whole response takes nothing away from it.
    parse(&bytes).map_or(Outcome::Cut, Outcome::Answered)
}

/// The response, if it is whole.
fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let headers = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    let reply = Reply { status, headers, body: bytes[end + 4..].to_vec() };
    let length: usize = reply.header("content-length")?.parse().ok()?;
    (reply.body.len() == length).then_some(reply)
}

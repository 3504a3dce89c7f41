//! Requests that are no HTTP, or that no route has.

use crate::program::{Program, get};

/// Each gets a response of JSON with a status of the client, and the server goes on.
#[test]
fn malformed_requests_get_json() {
    let server = Program::start(1024, &[]);
    let request = |line: &str, headers: &str| {
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
    };
    let mut raw_path = b"GET /caf\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    let many: String = (0..200).map(|index| format!("X-{index}: 1\r\n")).collect();
    let json = "Content-Type: application/json\r\n";
    let cases = [
        (std::mem::take(&mut raw_path), 400),
        (request("GET /%FF", ""), 400),
        (request("GET /generate?prompt=%FF", ""), 400),
        (request("GET /api/v1/datasets/%C3%28/pairs", ""), 400),
        (request("GET /models/%00", ""), 404),
        (request("GET /static/%00", ""), 404),
        (request("GET /static/%2e%2e/Cargo.toml", ""), 404),
        (request(&format!("GET /static/{}", "a".repeat(5000)), ""), 414),
        (request(&format!("GET /static/{}", "a".repeat(300)), ""), 404),
        (request(&format!("GET /{}", "a".repeat(70_000)), ""), 414),
        (request("GET /livez", &format!("X-Long: {}\r\n", "a".repeat(300_000))), 431),
        (request("GET /livez", &many), 431),
        (request("GET /livez", "X\u{1}: 1\r\n"), 400),
        (request("GET /livez", "No colon\r\n"), 400),
        (request("GET /livez", "Host: localhost\r\n"), 400),
        (b"GET /livez HTTP/1.1\r\n\r\n".to_vec(), 400),
        (b"GET /livez HTTP/7.5\r\n\r\n".to_vec(), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_vec(), 400),
        (request("CONNECT example.org:443", ""), 405),
        (request("TRACE /api/v1/jobs", ""), 405),
        (request("DELETE /api/v1/jobs", ""), 405),
        (request("POST /runs", ""), 405),
        (request("PUT /static/style.css", ""), 405),
        (request("OPTIONS *", ""), 404),
        (request("POST /api/v1/jobs", "Content-Length: 2\r\nContent-Type: text/plain\r\n"), 415),
        (request("POST /generate", &format!("{json}Content-Length: 70000\r\n")), 413),
        (request("POST /generate", &format!("{json}Content-Length: x\r\n")), 400),
        (request("POST /generate", &format!("{json}Content-Length: 1\r\nContent-Length: 2\r\n")), 400),
        (request("POST /generate", &format!("{json}Transfer-Encoding: gzip\r\n")), 400),
        (b"GET http://evil.example/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), 403),
    ];
    for (bytes, status) in cases {
        let shown = String::from_utf8_lossy(&bytes).chars().take(100).collect::<String>();
        let reply = server.send(&bytes);
        assert_eq!(reply.status, status, "{shown:?}: {reply:?}");
        assert!(!reply.code().is_empty(), "{shown:?}");
    }
    // These are HTTP.
    for bytes in [
        get("/livez").into_bytes(),
        b"GET /livez HTTP/1.0\r\n\r\n".to_vec(),
        b"GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET /models HTTP/1.0\r\n\r\n".to_vec(),
    ] {
        assert_eq!(server.send(&bytes).status, 200, "{}", String::from_utf8_lossy(&bytes));
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

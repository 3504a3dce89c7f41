//! SIGTERM while images are generated.

use crate::program::{Program, Reply, get};
use serde_json::json;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// The clients of a running and of queued generations get a 503, and so does one whose connection was waiting to be
/// accepted; none finds its connection cut. Tried at different moments.
#[test]
fn every_client_is_answered_when_the_server_stops() {
    for delay in [0, 5, 30, 200, 900] {
        let mut server = Program::start(1024, &["--largest-request", "1000"]);
        let body = json!({ "prompt": "a", "steps": 1000, "width": 512, "height": 512 });
        let mut clients: Vec<_> = (0..4).map(|_| server.begin_generating(&body)).collect();
        std::thread::sleep(Duration::from_millis(delay));
        let mut probe = server.connect();
        probe.write_all(get("/livez").as_bytes()).expect("a request");
        // A connection that is kept for later must not delay the end.
        let kept = server.connect();
        let began = Instant::now();
        server.terminate();
        assert_eq!(Reply::read(&mut probe).expect("an answer of /livez").status, 200);
        for client in &mut clients {
            let reply = Reply::read(client).expect("an answer, not a cut connection");
            assert_eq!((reply.status, reply.code().as_str()), (503, "unavailable"), "after {delay} ms");
            assert!(reply.head.contains("retry-after: "), "{}", reply.head);
        }
        assert!(server.ended().success(), "{}", server.log());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        drop(kept);
    }
}

/// What is done within the grace period is answered as ever, and an idle server ends at once.
#[test]
fn a_short_generation_finishes_and_idle_connections_do_not_delay_the_end() {
    let mut server = Program::start(1024, &[]);
    // Loads the model.
    assert_eq!(server.get("/generate?prompt=a").status, 200);
    let mut client =
        server.begin_generating(&json!({ "prompt": "a", "steps": 40, "width": 64, "height": 64 }));
    let silent = server.connect();
    std::thread::sleep(Duration::from_millis(30));
    let began = Instant::now();
    server.terminate();
    let reply = Reply::read(&mut client).expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(server.ended().success(), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(silent);
}

/// A stream of events has no end of its own: it does not use up the grace period.
#[test]
fn streams_of_events_end_when_the_server_stops() {
    let mut server = Program::start(1024, &[]);
    let mut stream = server.connect();
    stream.write_all(get("/api/v1/events").as_bytes()).expect("a request");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    let began = Instant::now();
    server.terminate();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("a whole response");
    assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut: {rest}");
    assert!(server.ended().success(), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

//! Clients that are silent, slow or many.

use crate::program::{PATIENCE, Program, Reply, get};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest median time of `/livez`. A release build keeps a quarter of it; tests share a busy machine.
const AT_ONCE: Duration = Duration::from_millis(200);

/// The median, because a single request waits for whatever else the machine does.
#[track_caller]
fn lives(server: &Program) {
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(server.get("/livez").status, 200);
            began.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[4] < AT_ONCE, "/livez took {times:?}");
}

/// With 200 file descriptors, 200 silent clients, 200 that send a head slowly, and 200 that announce a body and do not send it
/// keep nobody else out.
#[test]
fn silent_clients_keep_nobody_out() {
    let server = Program::start(200, &[]);
    let slow_body = "POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{";
    for begin in ["", "GET / HT", slow_body] {
        let mut silent: Vec<TcpStream> = Vec::new();
        for _ in 0..200 {
            let mut stream = server.connect();
            stream.write_all(begin.as_bytes()).expect("a part of a request");
            silent.push(stream);
        }
        lives(&server);
        // The first ones made room for the later ones.
        assert_eq!(
            silent[0].read(&mut [0]).unwrap_or_else(|e| usize::from(e.kind() != ErrorKind::ConnectionReset)),
            0
        );
    }
    // Files can still be opened.
    assert_eq!(server.get("/static/style.css").status, 404);
    assert_eq!(server.get("/generate?prompt=a").status, 200);
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}

/// A connection that is in use is not closed for a new one.
#[test]
fn a_running_generation_keeps_its_connection() {
    let server = Program::start(1024, &["--max-connections", "3"]);
    let body = serde_json::json!({ "prompt": "a", "steps": 200, "width": 64, "height": 64 });
    // Loads the model.
    assert_eq!(server.get("/generate?prompt=a").status, 200);
    let mut working = server.begin_generating(&body);
    std::thread::sleep(Duration::from_millis(1000));
    let mut silent: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    let last = silent.last_mut().expect("connections");
    last.write_all(get("/livez").as_bytes()).expect("a request");
    assert_eq!(Reply::read(last).expect("the newest silent connection is open").status, 200);
    lives(&server);
    assert_eq!(Reply::read(&mut working).expect("an answer").status, 200);
}

/// Memory and processor time of idle connections, new and kept ones.
#[test]
fn an_idle_connection_takes_little_memory_and_no_time() {
    const CONNECTIONS: u64 = 1000;
    let server = Program::start(4096, &[]);
    lives(&server);
    let before = server.resident_kilobytes();
    let mut idle: Vec<TcpStream> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    for stream in idle.iter_mut().take(500) {
        stream.write_all(get("/livez").as_bytes()).expect("a request");
        assert_eq!(Reply::read(stream).expect("an answer").status, 200);
    }
    let (taken, began) = (server.resident_kilobytes().saturating_sub(before), server.processor_ticks());
    assert!(taken / CONNECTIONS < 50, "{taken} kB for {CONNECTIONS} connections");
    std::thread::sleep(Duration::from_secs(2));
    let ticks = server.processor_ticks() - began;
    assert!(ticks < 10, "{ticks} hundredths of a second in 2 s for idle connections");
    lives(&server);
}

/// Heads that do not arrive in time end the connection; a kept connection is closed after the same time.
#[test]
fn a_head_has_a_time_limit() {
    let server = Program::start(1024, &[]);
    let mut kept = server.connect();
    kept.write_all(get("/livez").as_bytes()).expect("a request");
    assert_eq!(Reply::read(&mut kept).expect("an answer").status, 200);
    let mut slow = server.connect();
    let began = Instant::now();
    // A byte now and then does not prolong it.
    let dripping = slow.try_clone().expect("the same connection");
    std::thread::spawn(move || {
        let mut dripping = dripping;
        for byte in get("/livez").bytes() {
            std::thread::sleep(Duration::from_secs(2));
            if dripping.write_all(&[byte]).is_err() {
                break;
            }
        }
    });
    for stream in [&mut kept, &mut slow] {
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
        let passed = began.elapsed();
        assert!(passed > Duration::from_secs(25) && passed < PATIENCE, "{passed:?}");
    }
}

/// A body that does not arrive in time is a 408.
#[test]
fn a_body_has_a_time_limit() {
    let server = Program::start(1024, &[]);
    let mut slow = server.connect();
    let head = "POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{";
    slow.write_all(head.as_bytes()).expect("a part of a request");
    let reply = Reply::read(&mut slow).expect("an answer");
    assert_eq!((reply.status, reply.code().as_str()), (408, "invalid"));
}

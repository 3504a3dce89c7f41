//! TCP connections between rank 0 and the other processes: a greeting with the rank, then messages of a length (u64,
//! little endian) and that many bytes.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long the processes wait for each other to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a new connection may take to send its greeting. Messages have no timeout: one process may encode a set for
/// hours while the others wait.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// The first bytes of a connection, by which rank 0 recognises connections of other programs.
const GREETING: &[u8; 8] = b"contrast";

const CONNECTION_LOST: &str =
    "another process of this run is lost: start all of them again to resume from the last saved state";

/// On rank 0: waits for the connections of all other ranks, and returns them in the order of ranks.
pub(super) fn listen(address: SocketAddr, world_size: usize) -> Result<Vec<TcpStream>> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let began = Instant::now();
    let mut found: BTreeMap<usize, TcpStream> = BTreeMap::new();
    while found.len() + 1 < world_size {
        let missing = world_size - 1 - found.len();
        match listener.accept() {
            Ok((mut stream, from)) => {
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
                match read_greeting(&mut stream) {
                    Ok(rank) if rank > 0 && rank < world_size && !found.contains_key(&rank) => {
                        stream.set_read_timeout(None)?;
                        found.insert(rank, stream);
                    }
                    Ok(rank) => {
                        bail!("{from} has rank {rank} of {world_size}: give each process its own --rank")
                    }
                    Err(error) => tracing::warn!(%from, "ignored a connection without greeting: {error:#}"),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ensure!(
                    began.elapsed() < CONNECT_TIMEOUT,
                    "{missing} of {world_size} processes did not connect within {} s",
                    CONNECT_TIMEOUT.as_secs()
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found.into_values().collect())
}

/// On the other ranks: connects to rank 0, which may start later than this process.
pub(super) fn join(address: SocketAddr, rank: usize) -> Result<TcpStream> {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if began.elapsed() > CONNECT_TIMEOUT => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    stream.set_nodelay(true)?;
    stream.write_all(GREETING)?;
    stream.write_all(&(rank as u64).to_le_bytes())?;
    Ok(stream)
}

/// Reads the greeting, and returns the rank in it.
fn read_greeting(stream: &mut TcpStream) -> Result<usize> {
    let (mut greeting, mut rank) = ([0; GREETING.len()], [0; 8]);
    stream.read_exact(&mut greeting)?;
    ensure!(greeting == *GREETING, "its first bytes are {greeting:?}");
    stream.read_exact(&mut rank)?;
    Ok(usize::try_from(u64::from_le_bytes(rank))?)
}

/// Sends a message.
pub(super) fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(&(bytes.len() as u64).to_le_bytes()).context(CONNECTION_LOST)?;
    stream.write_all(bytes).context(CONNECTION_LOST)
}

/// Receives a message.
pub(super) fn receive(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 8];
    stream.read_exact(&mut length).context(CONNECTION_LOST)?;
    let length = u64::from_le_bytes(length);
    // Grows with the bytes that arrive: a wrong length gives an error instead of a huge allocation.
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes).context(CONNECTION_LOST)?;
    ensure!(bytes.len() as u64 == length, CONNECTION_LOST);
    Ok(bytes)
}

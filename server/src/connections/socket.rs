//! The socket of a connection. Ends connections whose client does not read, and gives a body to the refusals that hyper
//! writes by itself.

use super::places::Place;
use crate::error::ApiError;
use axum::http::StatusCode;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// A client must read `LEAST_READ` bytes of a response, or all that is left of it, in this time.
const READ_TIME: Duration = Duration::from_secs(30);
/// In bytes: half a kilobyte per second.
const LEAST_READ: usize = 16 * 1024;

/// Upper limit of the size of a head without body and without our headers, in bytes.
const LARGEST_BARE_REFUSAL: usize = 256;

/// A socket whose writes fail once its client has not read for `READ_TIME`.
pub(super) struct Socket {
    stream: TcpStream,
    place: Arc<Place>,
    /// `READ_TIME`.
    patience: Duration,
    /// When the client must have read `LEAST_READ` bytes. None while the client keeps up.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Bytes that the client has read since the deadline was set.
    read: usize,
    /// A refusal with a body, which replaces one without a body, and how much of it is written.
    refusal: Option<(Vec<u8>, usize)>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, place: Arc<Place>) -> Self {
        Self { stream, place, patience: READ_TIME, deadline: None, read: 0, refusal: None }
    }

    /// Keeps the deadline, whatever the outcome of a write.
    fn watched(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(written)) => {
                self.read += written;
                if self.read >= LEAST_READ {
                    self.keeps_up();
                }
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.place.set_blocked(true);
                let (read, patience) = (&mut self.read, self.patience);
                let deadline = self.deadline.get_or_insert_with(|| {
                    *read = 0;
                    Box::pin(sleep_until(Instant::now() + patience))
                });
                ready!(deadline.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
            }
        }
    }

    fn keeps_up(&mut self) {
        self.deadline = None;
        self.place.set_blocked(false);
    }

    /// Writes what is left of a replaced refusal.
    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((bytes, written)) = &self.refusal {
            let rest = &bytes[*written..];
            if rest.is_empty() {
                self.refusal = None;
                break;
            }
            let outcome = Pin::new(&mut self.stream).poll_write(context, rest);
            let more = ready!(self.watched(outcome, context))?;
            if more == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some((_, written)) = &mut self.refusal {
                *written += more;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The status of a response that hyper has written by itself, because it cannot parse a request: a head without body and
/// without the id that each response of the router has.
fn bare_refusal(bytes: &[u8]) -> Option<StatusCode> {
    if !bytes.starts_with(b"HTTP/1.1 4") || bytes.len() > LARGEST_BARE_REFUSAL {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    let status = StatusCode::from_bytes(bytes.get(9..12)?).ok()?;
    let is_bare = text.ends_with("\r\n\r\n")
        && text.contains("\r\ncontent-length: 0\r\n")
        && !text.contains("\r\nx-request-id:");
    is_bare.then_some(status)
}

/// The whole response that takes the place of a bare refusal. hyper closes the connection after it.
fn whole_refusal(status: StatusCode) -> Option<Vec<u8>> {
    let (error, reason) = (ApiError::unparsable(status), status.canonical_reason().unwrap_or_default());
    let body = serde_json::to_string(&error.body()).ok()?;
    let (status, length) = (status.as_u16(), body.len());
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    Some((head + &body).into_bytes())
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_refusal(context))?;
        if let Some(refusal) = bare_refusal(bytes).and_then(whole_refusal) {
            self.refusal = Some((refusal, 0));
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices {
            return self.poll_write(context, only);
        }
        ready!(self.poll_refusal(context))?;
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watched(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all it has.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        self.keeps_up();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::places::Places;
    use super::{LEAST_READ, Socket, bare_refusal, whole_refusal};
    use axum::http::StatusCode;
    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A response that is larger than the buffers of the operating system.
    const RESPONSE: usize = 64 << 20;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client =
            TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (stream, _) = listener.accept().await.expect("a connection");
        let taken = Places::new(1).take().await;
        let mut socket = Socket::new(stream, Arc::clone(&taken.place));
        socket.patience = Duration::from_millis(300);
        (socket, client)
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_or_too_little_is_given_up() {
        let (mut socket, silent) = pair().await;
        let error = socket.write_all(&vec![0; RESPONSE]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(silent);

        let (mut socket, mut slow) = pair().await;
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; LEAST_READ / 64];
            while slow.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let error = socket.write_all(&vec![0; RESPONSE]).await.expect_err("a few bytes are not enough");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        reading.abort();
    }

    #[tokio::test]
    async fn a_client_that_pauses_and_reads_on_gets_everything() {
        let (mut socket, mut client) = pair().await;
        let reading = tokio::spawn(async move {
            let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
            loop {
                let count = client.read(&mut buffer).await.expect("bytes");
                total += count;
                if count == 0 {
                    return total;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        for part in vec![0; RESPONSE].chunks(RESPONSE / 4) {
            socket.write_all(part).await.expect("it reads");
            socket.flush().await.expect("it reads");
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        drop(socket);
        assert_eq!(reading.await.expect("the client"), RESPONSE);
    }

    #[test]
    fn only_refusals_without_body_and_id_are_replaced() {
        let bare =
            "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare_refusal(bare.as_bytes()), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for other in [
            "",
            "HTTP/1.1 4",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nx-request-id: 1\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\n",
        ] {
            assert_eq!(bare_refusal(other.as_bytes()), None, "{other:?}");
        }
        let whole = whole_refusal(StatusCode::BAD_REQUEST).expect("a response");
        let whole = String::from_utf8(whole).expect("text");
        let (head, body) = whole.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["error"]["code"], "invalid");
    }
}

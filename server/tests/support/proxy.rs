//! A TCP proxy on this machine, through which a test takes a server away.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections through a proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Link {
    /// Bytes pass.
    Up,
    /// Connections stay open and no byte passes, as when a host has lost its network.
    Silent,
    /// Connections are closed and new ones refused, as when the server has stopped.
    Down,
}

/// A proxy to one address. Its own address is that of a listener that can be closed and opened again.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    link: watch::Sender<Link>,
}

impl Proxy {
    pub(crate) async fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (link, watched) = watch::channel(Link::Up);
        tokio::spawn(listen(listener, to, watched));
        Self { address, link }
    }

    pub(crate) async fn set(&self, link: Link) {
        self.link.send_replace(link);
        // The tasks of the proxy run on this runtime too.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn listen(mut listener: TcpListener, to: String, mut link: watch::Receiver<Link>) {
    let address = listener.local_addr().expect("an address");
    loop {
        tokio::select! {
            connection = listener.accept() => {
                let (client, _) = connection.expect("a connection");
                tokio::spawn(forward(client, to.clone(), link.clone()));
            }
            changed = link.changed() => if changed.is_err() { return },
        }
        if *link.borrow() == Link::Down {
            drop(listener);
            if link.wait_for(|link| *link != Link::Down).await.is_err() {
                return;
            }
            listener = TcpListener::bind(address).await.expect("the port again");
        }
    }
}

async fn forward(client: TcpStream, to: String, link: watch::Receiver<Link>) {
    let Ok(server) = TcpStream::connect(&to).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut down = link.clone();
    tokio::select! {
        _ = down.wait_for(|link| *link == Link::Down) => {}
        () = copy(from_client, to_server, link.clone()) => {}
        () = copy(from_server, to_client, link) => {}
    }
}

/// Copies bytes while the link is up.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if link.wait_for(|link| *link == Link::Up).await.is_err()
            || to.write_all(&bytes[..count]).await.is_err()
        {
            return;
        }
    }
}

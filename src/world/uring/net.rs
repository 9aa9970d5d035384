//! Ways to other Boxes over TCP, by tokio's sockets: a dropped ring operation would lose bytes, a dropped tokio one does not.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::world::{Listener, Net};

/// Calls that the kernel holds for us before they are accepted.
const BACKLOG: u32 = 128;

/// TCP.
#[derive(Debug, Clone)]
pub struct UringNet;

/// A listening TCP socket.
#[derive(Debug)]
pub struct UringListener(TcpListener);

impl Net for UringNet {
    type Link = TcpStream;
    type Listener = UringListener;

    async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let link = TcpStream::connect(to).await?;
        // Sessions write whole messages; waiting for more would only delay them.
        link.set_nodelay(true)?;
        Ok(link)
    }

    async fn listen(&self, at: SocketAddr) -> io::Result<UringListener> {
        let socket = if at.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // A restarted keeper must get its port back while old connections still linger.
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        Ok(UringListener(socket.listen(BACKLOG)?))
    }
}

impl Listener for UringListener {
    type Link = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (link, from) = self.0.accept().await?;
        link.set_nodelay(true)?;
        Ok((link, from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::world::uring::tests::in_ring;

    #[test]
    fn bytes_sent_to_a_listener_come_back() {
        in_ring(async {
            let mut listener = UringNet
                .listen("127.0.0.1:0".parse().expect("an address"))
                .await
                .expect("listens");
            let at = listener.local_addr().expect("has an address");
            let answering = tokio::task::spawn_local(async move {
                let (mut link, _) = listener.accept().await.expect("a call");
                let mut word = [0; 5];
                link.read_exact(&mut word).await.expect("reads");
                link.write_all(&word).await.expect("answers");
            });
            let mut link = UringNet.connect(at).await.expect("connects");
            assert!(link.nodelay().expect("tells"));
            link.write_all(b"flood").await.expect("writes");
            let mut word = [0; 5];
            link.read_exact(&mut word).await.expect("reads");
            assert_eq!(&word, b"flood");
            answering.await.expect("ends");
        });
    }

    #[test]
    fn nobody_listening_is_an_error() {
        in_ring(async {
            let listener = UringNet
                .listen("127.0.0.1:0".parse().expect("an address"))
                .await
                .expect("listens");
            let at = listener.local_addr().expect("has an address");
            drop(listener);
            let refused = UringNet.connect(at).await.expect_err("nobody is there");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        });
    }
}

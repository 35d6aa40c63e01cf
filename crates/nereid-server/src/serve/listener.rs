//! Listening sockets. A port is taken before the models load, so that a port in use is told at once,
//! but nobody can connect until [`Bound::listen`]: as with Triton, who can connect finds the models.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use nereid_core::Timestamp;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

const BACKLOG: i32 = 1024;
/// How long to leave the system alone when it has no file descriptors left.
const PAUSE: Duration = Duration::from_millis(20);
/// How often to say so while it lasts.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// After this long without a byte the system asks whether a client is still there, so that one that has gone without a
/// word does not keep its connection for ever. gRPC's default for its pings, at no cost per request.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(7200);
/// How long a client may take nothing of what is sent to it; its connection, and the answers that wait for it, are then
/// given up by the system. As generous as the limits on heads and bodies: Triton has none.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(600);

/// A socket with an address that nobody can connect to yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: SocketAddr,
}

/// A socket that clients connect to.
#[derive(Debug)]
pub struct Listener(TcpListener);

/// Takes `host:port`; port 0 means any free one. `reuse` lets other processes share the port.
///
/// # Errors
/// The host has no address, or the port is in use or forbidden.
pub fn bind(host: &str, port: u16, reuse: bool) -> io::Result<Bound> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (host, port).to_socket_addrs()? {
        match bind_address(address, reuse) {
            Ok(bound) => return Ok(bound),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn bind_address(address: SocketAddr, reuse: bool) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse {
        socket.set_reuse_port(true)?;
    }
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?; // connections inherit it,
    socket.set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?; // and this
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Bound { socket, address })
}

impl Bound {
    /// The address, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients connect. Must be called within a runtime.
    ///
    /// # Errors
    /// Another process, which took the port at the same time, listens on it already.
    pub fn listen(self) -> io::Result<Listener> {
        self.socket.listen(BACKLOG)?;
        TcpListener::from_std(self.socket.into()).map(Listener)
    }
}

impl Listener {
    /// The next connection, as a non-blocking standard socket that any runtime can take.
    pub(super) async fn accept(&self) -> TcpStream {
        let mut said: Option<Timestamp> = None;
        loop {
            match self.0.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => return stream,
                Err(e) if is_of_one_connection(&e) => {}
                Err(e) => {
                    let now = Timestamp::now();
                    if said.is_none_or(|said| now.since(said) >= SAY_EVERY) {
                        tracing::warn!("failed to accept a connection, trying again: {e}");
                        said = Some(now);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Lets nobody begin to connect any more, so that only connections that have begun come before [`Self::close`]:
    /// closing a socket resets those that are not accepted at that moment, with what their clients have sent. Who is too
    /// late is refused at the next attempt of its system, a second later. Where the system cannot do that, nothing changes.
    pub(super) fn refuse(&self) {
        // As classic BPF, which sees a TCP header: packets with SYN and without ACK are dropped.
        const LOAD_BYTE: u16 = 0x30;
        const AND: u16 = 0x54;
        const JUMP_IF_EQUAL: u16 = 0x15;
        const RETURN: u16 = 0x06;
        const FLAGS_AT: u32 = 13;
        const SYN: u32 = 0x02;
        const SYN_AND_ACK: u32 = 0x12;
        let program = [
            SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
            SockFilter::new(AND, 0, 0, SYN_AND_ACK),
            SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
            SockFilter::new(RETURN, 0, 0, 0),
            SockFilter::new(RETURN, 0, 0, u32::MAX),
        ];
        if let Err(e) = SockRef::from(&self.0).attach_filter(&program) {
            tracing::debug!("connections go on being accepted until the port is closed: {e}");
        }
    }

    /// Stops listening, and gives the connections that the system had accepted already.
    pub(super) fn close(self) -> Vec<TcpStream> {
        let mut waiting = Vec::new();
        let Ok(listener) = self.0.into_std() else { return waiting };
        loop {
            match listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => waiting.push(stream),
                Ok(_) => {}
                Err(e) if is_of_one_connection(&e) => {}
                Err(_) => return waiting, // nothing is left
            }
        }
    }
}

/// Errors of `accept` that concern the one connection, which is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_connects_before_listen_and_nobody_is_lost_at_close() {
        let bound = bind("127.0.0.1", 0, false).unwrap();
        let address = bound.address();
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let listener = bound.listen().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let accepted = listener.accept().await;
        assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
        assert_eq!(SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(UNREAD_TIMEOUT), "inherited");
        let late: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        listener.refuse();
        let too_late = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        too_late.set_nonblocking(true).unwrap();
        let _in_progress = too_late.connect(&address.into()).unwrap_err();
        assert_eq!(listener.close().len(), late.len());
        assert!(TcpStream::connect(address).is_err());
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let first = bind("127.0.0.1", 0, false).unwrap();
        let port = first.address().port();
        let at_once = bind("127.0.0.1", port, false); // allowed as long as nobody listens
        let _listener = first.listen().unwrap();
        assert_eq!(at_once.unwrap().listen().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(bind("127.0.0.1", port, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

//! A socket that notices that its client has gone also while nobody reads from it. hyper stops reading an
//! HTTP/1.1 connection when a client has sent more than one request ahead; without this the first of them would
//! run to its end for nobody. Costs a flag as long as the connection is read from.

use std::io::{self, IoSlice};
use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::maybe_done;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A client's socket. [`AsyncWrite::poll_flush`], which hyper calls whenever it is about to wait, fails once the
/// client has closed its side, if nobody has tried to read or write since the last time.
pub(super) struct Watched {
    stream: TcpStream,
    /// Whether it matters.
    watches: bool,
    /// Since the last flush somebody tried to read, who learns so when the client goes, or to write, whose data may
    /// still reach it.
    used: bool,
    /// Ends when the client has gone; made when it is needed first.
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Watched {
    /// A socket that notices so if it `watches`.
    pub(super) fn new(stream: TcpStream, watches: bool) -> Self {
        Self { stream, watches, used: false, gone: None }
    }

    /// Ready once the client has gone, then always. A socket that cannot be watched, because no file is left to open,
    /// is served as if its client stayed.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let gone = match &mut self.gone {
            Some(gone) => gone,
            empty => {
                let Ok(stream) = watch(&self.stream) else { return Poll::Pending };
                empty.insert(Box::pin(maybe_done(gone(stream)))) // may be asked again when it is done
            }
        };
        gone.poll_unpin(context)
    }
}

/// The same socket once more, because whoever owns the stream cannot lend it to a future.
fn watch(stream: &TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(StdStream::from(SockRef::from(stream).try_clone()?))
}

async fn gone(stream: TcpStream) {
    // Of urgent data the socket is not told, so that this wakes up for the end of the client's data alone.
    let _ = stream.ready(Interest::PRIORITY).await;
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.used = true;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.used = true;
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.used = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.watches && !std::mem::take(&mut self.used) && self.poll_gone(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Watched) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Watched::new(listener.accept().await.unwrap().0, true))
    }

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_over_its_unread_data() {
        for reset in [false, true] {
            let (mut client, mut server) = pair().await;
            client.write_all(b"unread").await.unwrap();
            server.flush().await.unwrap();
            server.flush().await.unwrap();
            assert!(server.gone.is_some());
            if reset {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            let flush = poll_fn(|context| match Pin::new(&mut server).poll_flush(context) {
                Poll::Ready(Ok(())) => Poll::Pending, // the watch has a waker now
                end => end,
            });
            let error = tokio::time::timeout(Duration::from_secs(20), flush).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(server.flush().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "and again");
        }
    }

    #[tokio::test]
    async fn whoever_reads_needs_no_watch() {
        let (mut client, mut server) = pair().await;
        for _ in 0..3 {
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read_u8().await.unwrap(), b'x');
            server.write_all(b"y").await.unwrap();
            server.flush().await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'y');
        }
        assert!(server.gone.is_none());
    }
}

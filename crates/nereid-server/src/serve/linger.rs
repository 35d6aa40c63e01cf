//! A stream that is closed in a way that lets the client read its last answer.
//!
//! A request may be answered before it was read to its end, as when it is too long. Closing a socket that has unread
//! data resets it, and the reset overtakes the answer: a client that still writes sees a broken pipe and not the
//! refusal. So what is on its way is read and thrown away first, for a while. It also means that a client whose request
//! crosses the end of an idle connection sees a connection that was closed, after which many try again by themselves, and
//! that a slow one gets the rest of an HTTP/2 answer although it still sends window updates.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Draining;

/// Most that is thrown away.
const MOST_BYTES: usize = 64 << 20;
/// How long the client may take to send it.
const MOST_TIME: Duration = Duration::from_secs(5);
/// How long the client may take until the first of it is here, or until it closes its side.
const FIRST_TIME: Duration = Duration::from_secs(1);
/// The same when the server ends, which needs to wait only for what is on its way.
const CROSSING_TIME: Duration = Duration::from_millis(500);
const PIECE_BYTES: usize = 16 << 10;

/// `S`, read to its end when it is shut down.
pub(super) struct Lingering<S> {
    stream: S,
    draining: Draining,
    closing: Option<Closing>,
}

/// The stream is shut down for writing.
struct Closing {
    left: usize,
    /// When to stop.
    end: Pin<Box<Sleep>>,
    /// The server ends, and `end` is near.
    hurries: bool,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, draining: Draining) -> Self {
        Self { stream, draining, closing: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, draining, closing } = &mut *self;
        let closing = match closing {
            Some(closing) => closing,
            None => {
                ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
                let end = Box::pin(tokio::time::sleep(FIRST_TIME));
                closing.insert(Closing { left: MOST_BYTES, end, hurries: false })
            }
        };
        // Whoever serves an HTTP/1.1 connection polls it when draining starts.
        if draining.has_started() && !closing.hurries {
            closing.hurries = true;
            let most = if closing.left == MOST_BYTES { CROSSING_TIME } else { MOST_TIME };
            let end = Instant::now() + draining.patience(most);
            if end < closing.end.deadline() {
                closing.end.as_mut().reset(end);
            }
        }
        closing.poll(stream, draining, context).map(Ok)
    }
}

impl Closing {
    /// Ready when the client is done, or had its time or its bytes.
    fn poll(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        draining: &Draining,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
            let mut piece = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut *stream).poll_read(context, &mut piece) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    if self.left == MOST_BYTES {
                        self.end.as_mut().reset(Instant::now() + draining.patience(MOST_TIME));
                    }
                    let Some(left) = self.left.checked_sub(piece.filled().len()) else {
                        return Poll::Ready(());
                    };
                    self.left = left;
                }
                Poll::Ready(_) => return Poll::Ready(()), // its end, or it is broken
                Poll::Pending => return self.end.as_mut().poll(context),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::super::Drain;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_is_thrown_away() {
        let (mut client, server) = duplex(1000);
        let sending = tokio::spawn(async move {
            client.write_all(&[0; 100_000]).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let mut server = Lingering::new(server, Drain::new().draining());
        server.read_exact(&mut [0; 10]).await.unwrap();
        server.write_all(b"too long").await.unwrap();
        server.shutdown().await.unwrap();
        drop(server);
        assert_eq!(sending.await.unwrap(), "too long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_waited_for_briefly() {
        let (client, server) = duplex(1000);
        let start = Instant::now();
        Lingering::new(server, Drain::new().draining()).shutdown().await.unwrap();
        assert!(start.elapsed() >= FIRST_TIME && start.elapsed() < 2 * FIRST_TIME);
        drop(client);

        let (client, server) = duplex(1000);
        let start = Instant::now();
        drop(client);
        Lingering::new(server, Drain::new().draining()).shutdown().await.unwrap();
        assert!(start.elapsed().is_zero(), "a client that has closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_drains_waits_only_for_what_is_on_its_way() {
        for (timeout, bytes, expected_ms) in
            [(100, 0, 500), (100, 1, 5000), (8, 1, 2000), (1, 0, 250), (1, 1, 250)]
        {
            let (mut client, server) = duplex(1000);
            let drain = Drain::new();
            let mut server = Lingering::new(server, drain.draining());
            assert!(server.shutdown().now_or_never().is_none());
            let start = Instant::now();
            let ending = tokio::spawn(drain.drain(Duration::from_secs(timeout)));
            tokio::task::yield_now().await;
            client.write_all(&vec![0; bytes]).await.unwrap();
            server.shutdown().await.unwrap();
            drop(server);
            assert!(ending.await.unwrap());
            assert_eq!(start.elapsed().as_millis(), expected_ms, "{timeout} s, {bytes} bytes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_time_nor_bytes_are_without_end() {
        let (mut client, server) = duplex(1000);
        client.write_all(b"more").await.unwrap();
        let start = Instant::now();
        Lingering::new(server, Drain::new().draining()).shutdown().await.unwrap();
        assert!(start.elapsed() >= MOST_TIME && start.elapsed() < 2 * MOST_TIME);

        let (mut client, server) = duplex(1 << 20);
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while let Ok(count) = client.write(&[0; 1 << 20]).await {
                sent += count;
            }
            sent
        });
        tokio::task::yield_now().await;
        Lingering::new(server, Drain::new().draining()).shutdown().await.unwrap();
        assert!((MOST_BYTES..MOST_BYTES + (2 << 20)).contains(&sending.await.unwrap()));
    }
}

//! How an HTTP/2 connection ends whose client says nothing any more.

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::super::Drain;
use super::*;

const PREFACE_AND_SETTINGS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `POST http://x/` on stream 1, without a body.
const CALL: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x83\x86\x84\x41\x01x";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0abcdefgh";
const GOAWAY: u8 = 7;

/// A client, and the connection that it talks to, whose calls are never answered.
fn connect(draining: Draining) -> (DuplexStream, JoinHandle<hyper::Result<()>>) {
    let (client, server) = tokio::io::duplex(1 << 16);
    let service = Router::new().fallback(std::future::pending::<()>);
    let served = http2(TokioIo::new(server), service, Lifetime::default(), draining);
    (client, tokio::spawn(served))
}

async fn until_told(client: &mut DuplexStream) {
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[2])];
        client.read_exact(&mut payload).await.unwrap();
        if head[3] == GOAWAY {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_does_not_hold_the_end() {
    for (sent, most) in [
        (&PREFACE_AND_SETTINGS[..10], LAST_CALL),
        (PREFACE_AND_SETTINGS, LAST_CALL),
        (&[PREFACE_AND_SETTINGS, CALL].concat(), SILENCE),
    ] {
        let drain = Drain::new();
        let (mut client, served) = connect(drain.draining());
        client.write_all(sent).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await; // so that the server has read it
        let start = Instant::now();
        assert!(drain.drain(2 * SILENCE).await, "{} bytes", sent.len());
        assert_eq!(start.elapsed().as_secs(), most.as_secs(), "{} bytes", sent.len());
        assert!(served.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_there_keeps_its_call() {
    let drain = Drain::new();
    let (mut client, mut served) = connect(drain.draining());
    client.write_all(&[PREFACE_AND_SETTINGS, CALL].concat()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let drained = tokio::spawn(drain.drain(100 * SILENCE));
    until_told(&mut client).await;
    client.write_all(PING).await.unwrap();
    assert!(timeout(50 * SILENCE, &mut served).await.is_err(), "the call was to go on");
    drop(client);
    let _ = served.await.unwrap(); // an error, as a call was cut
    assert!(drained.await.unwrap());
}

//! How connections end: old ones, those of a server that ends, and those whose client says nothing any more.

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
const PING_FRAME: u8 = 6;
const GOAWAY: u8 = 7;

/// A client, and the connection that it talks to, whose calls are never answered.
fn connect(draining: Draining) -> (DuplexStream, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(1 << 16);
    let service = Router::new().fallback(std::future::pending::<()>);
    let served = async { speak(server, service, &ServeOptions::plain(Protocol::Http2), draining).await };
    (client, tokio::spawn(served))
}

async fn until_told(client: &mut DuplexStream) {
    until(GOAWAY, client).await;
}

/// The payload of the next frame of a kind, which is no answer to a frame of ours.
async fn until(kind: u8, client: &mut DuplexStream) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[2])];
        client.read_exact(&mut payload).await.unwrap();
        if head[3] == kind && head[4] == 0 {
            return payload;
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
        served.await.unwrap();
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
    served.await.unwrap();
    assert!(drained.await.unwrap());
}

/// An HTTP/1.1 client, and the connection that it talks to, where everything is answered with 200.
fn connect_http1(lifetime: Lifetime, draining: Draining) -> (DuplexStream, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(1 << 16);
    let service = Router::new().fallback(async || "");
    let options = ServeOptions { lifetime, ..ServeOptions::plain(Protocol::Http1) };
    (client, tokio::spawn(async move { speak(server, service, &options, draining).await }))
}

/// Whether the answer to a request ends its connection.
async fn ask(client: &mut DuplexStream) -> bool {
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: 0\r\n"),
        "{answer}"
    );
    answer.contains("connection: close\r\n")
}

/// Whether the server has closed its side, without any more to say.
async fn is_over(client: &mut DuplexStream) -> bool {
    timeout(Duration::from_millis(1), client.read_u8()).await.is_ok_and(|read| read.is_err())
}

#[tokio::test(start_paused = true)]
async fn an_old_http1_connection_ends_with_an_answer_and_not_before() {
    let lifetime = Lifetime { max_age: Some(Duration::from_secs(100)), ..Lifetime::default() };
    let drain = Drain::new();
    for idle in [0, 89, 400] {
        let (mut client, served) = connect_http1(lifetime, drain.draining());
        tokio::time::sleep(Duration::from_secs(idle)).await;
        assert!(!is_over(&mut client).await);
        assert_eq!(ask(&mut client).await, idle > 100);
        if idle < 100 {
            tokio::time::sleep(Duration::from_secs(111 - idle)).await;
            assert!(!is_over(&mut client).await, "it may just be sending");
            assert!(ask(&mut client).await);
        }
        assert!(is_over(&mut client).await);
        drop(client);
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn http1_clients_are_sent_elsewhere_by_their_next_answer() {
    let drain = Drain::new();
    let mut clients: Vec<_> = (0..3).map(|_| connect_http1(Lifetime::default(), drain.draining())).collect();
    for (client, _) in &mut clients {
        assert!(!ask(client).await);
    }
    drain.part(Duration::from_secs(100));
    let [(told, _), (silent, _), (late, _)] = &mut clients[..] else { unreachable!() };
    assert!(ask(told).await && is_over(told).await);
    let (mut new, _) = connect_http1(Lifetime::default(), drain.draining());
    assert!(ask(&mut new).await, "who comes back comes in, and is told again");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(!is_over(silent).await && !is_over(late).await, "who does not ask cannot be told");
    let drained = tokio::spawn(drain.drain(Duration::from_secs(30)));
    tokio::time::sleep(LAST_CALL / 2).await;
    assert!(ask(late).await);
    assert!(!is_over(silent).await);
    tokio::time::sleep(LAST_CALL).await;
    assert!(is_over(silent).await);
    assert!(drained.await.unwrap(), "although nobody has closed");
}

#[tokio::test(start_paused = true)]
async fn little_time_for_the_end_is_enough_for_idle_http1_connections() {
    let drain = Drain::new();
    let (mut client, _) = connect_http1(Lifetime::default(), drain.draining());
    assert!(!ask(&mut client).await);
    assert!(drain.drain(Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn http2_clients_are_sent_elsewhere_before_the_end() {
    let drain = Drain::new();
    let (mut client, mut served) = connect(drain.draining());
    client.write_all(&[PREFACE_AND_SETTINGS, CALL].concat()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    drain.part(Duration::from_secs(100));
    until_told(&mut client).await;
    assert!(start.elapsed() <= Duration::from_secs(100) + NEXT_CALL);
    client.write_all(PING).await.unwrap(); // it is there
    assert!(timeout(50 * SILENCE, &mut served).await.is_err(), "the call was to go on");
}

/// Unread data would make closing a reset, which overtakes the rest of the last answer.
#[tokio::test(start_paused = true)]
async fn what_http2_clients_still_send_is_read_before_the_connection_is_closed() {
    for protocol_error in [false, true] {
        let drain = Drain::new();
        let (mut client, served) = connect(drain.draining());
        client.write_all(PREFACE_AND_SETTINGS).await.unwrap();
        let drained = (!protocol_error).then(|| tokio::spawn(drain.drain(100 * SILENCE)));
        if protocol_error {
            client.write_all(&[0xff; 100]).await.unwrap();
        } else {
            let ping = until(PING_FRAME, &mut client).await;
            client.write_all(&[b"\0\0\x08\x06\x01\0\0\0\0", &ping[..]].concat()).await.unwrap();
        }
        while client.read_u8().await.is_ok() {} // to the end of what the server has to say
        let more = vec![0; 1 << 20];
        client.write_all(&more).await.unwrap();
        drop(client);
        served.await.unwrap();
        if let Some(drained) = drained {
            assert!(drained.await.unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn http2_clients_are_told_while_they_wait_for_an_answer() {
    for calls in [true, false] {
        let drain = Drain::new();
        let (mut client, _) = connect(drain.draining());
        client.write_all(PREFACE_AND_SETTINGS).await.unwrap();
        drain.part(Duration::ZERO); // its turn is now
        tokio::time::sleep(NEXT_CALL / 2).await;
        let start = Instant::now();
        if calls {
            client.write_all(CALL).await.unwrap();
        }
        until_told(&mut client).await;
        let expected = if calls { Duration::ZERO } else { NEXT_CALL - NEXT_CALL / 2 };
        assert_eq!(start.elapsed().as_millis().abs_diff(expected.as_millis()) / 10, 0, "{calls}");
    }
}

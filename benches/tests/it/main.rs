//! The load generator and the echo server against each other, in one process and over real sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use nereid_benches::cell::{self, Plan, Subject};
use nereid_benches::echo;
use nereid_benches::load::{Client, Endpoint, Load, Transport};
use nereid_benches::model::{ModelFacts, Sample, TensorFacts};

const IN_FLIGHT: [usize; 3] = [1, 3, 16];

fn load(transport: Transport, in_flight: usize) -> Load {
    Load { transport, in_flight, grpc_connections: 2, distinct: false }
}

/// A model whose request of `batch` rows has `batch` × `row` floats.
fn sample(row: i64, batch: usize) -> Sample {
    let facts = ModelFacts {
        name: "mnist_mlp".into(),
        input: TensorFacts { name: "input".into(), row: vec![row] },
        output: TensorFacts { name: "output".into(), row: vec![10] },
    };
    Sample { facts, batch, regions: None, expected: Vec::new() }
}

#[test]
fn every_request_in_flight_is_answered() {
    // The larger one does not fit into a socket's buffers, nor into an HTTP/2 window.
    for sample in [sample(784, 1), sample(150_528, 8)] {
        let endpoint = echo::start(&sample, 2).unwrap();
        for transport in Transport::ALL {
            for in_flight in IN_FLIGHT {
                let mut client = Client::connect(&endpoint, load(transport, in_flight), &sample).unwrap();
                let once = client.run(Duration::ZERO).unwrap();
                assert_eq!(once.requests(), in_flight as u64, "{transport:?}: without time, one each");
                let measured = client.run(Duration::from_millis(20)).unwrap();
                assert!(measured.requests() >= in_flight as u64);
                assert!(measured.elapsed >= Duration::from_millis(20));
                assert!(measured.server_cpu > Duration::ZERO);
                assert!(measured.latencies.quantile(0.99) >= measured.latencies.quantile(0.5));
            }
        }
    }
}

#[test]
fn a_wrong_answer_ends_the_bench() {
    let served = sample(784, 1);
    let endpoint = echo::start(&served, 1).unwrap();
    let other_rows = Sample { batch: 2, ..served.clone() };
    let other_values = Sample { expected: vec![0.0, 0.5], ..served.clone() };
    let mut other_output = served;
    other_output.facts.output.name = "logits".into();
    for transport in Transport::ALL {
        for (sample, expected) in [
            (&other_rows, "wanted"),
            (&other_output, "wanted"),
            (&other_values, "output element 1 is 0, bare Run gave 0.5"),
        ] {
            let error = Client::connect(&endpoint, load(transport, 1), sample).unwrap_err().to_string();
            assert!(error.contains(expected), "{transport:?}: {error}");
        }
    }
}

#[test]
fn a_server_that_is_not_there_or_speaks_something_else_is_an_error() {
    let sample = sample(784, 1);
    let echo = echo::start(&sample, 1).unwrap();
    let swapped = Endpoint { http: echo.grpc, grpc: echo.http, ..echo };
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let absent = Endpoint { http: closed, grpc: closed, ..echo };
    for transport in Transport::ALL {
        assert!(Client::connect(&swapped, load(transport, 2), &sample).is_err(), "{transport:?}");
        let error = Client::connect(&absent, load(transport, 2), &sample).unwrap_err().to_string();
        assert!(error.contains(&format!("cannot connect to {closed}")), "{error}");
    }
}

#[test]
fn a_cell_has_all_its_rounds() {
    let sample = sample(784, 1);
    let (server, floor) = (echo::start(&sample, 1).unwrap(), echo::start(&sample, 1).unwrap());
    let subject = Subject { sample: &sample, server, floor };
    let plan = Plan { rounds: 3, load: Duration::from_millis(5), bare_run: Duration::ZERO, pin: true };
    let before = std::thread::available_parallelism().unwrap();
    let rounds = cell::measure(subject, load(Transport::Http, 4), plan, &mut []).unwrap();
    assert_eq!(rounds.len(), 3);
    assert!(rounds.iter().all(|round| round.server.cpu_us() > 0.0 && round.floor.cpu_us() > 0.0));
    assert_eq!(std::thread::available_parallelism().unwrap(), before, "only the load generator is pinned");
}

#[test]
fn an_answer_in_pieces_is_one_answer() {
    let sample = sample(784, 1);
    let json = sample.http_answer_json();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nInference-Header-Content-Length: {}\r\n\r\n",
        json.len() + sample.output_bytes(),
        json.len()
    );
    let pieces = [head.into_bytes(), json.into_bytes(), vec![0; sample.output_bytes()]];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let http = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, pieces) = (stream.unwrap(), pieces.clone());
            std::thread::spawn(move || answer_in_pieces(stream, &pieces));
        }
    });
    let endpoint = Endpoint { http, grpc: http, pid: std::process::id() };
    let mut client = Client::connect(&endpoint, load(Transport::Http, 16), &sample).unwrap();
    for _ in 0..300 {
        assert_eq!(client.run(Duration::ZERO).unwrap().requests(), 16);
    }
}

/// Answers one request after the other.
fn answer_in_pieces(mut stream: TcpStream, pieces: &[Vec<u8>]) {
    stream.set_nodelay(true).expect("a socket");
    let mut request = vec![0; 1 << 16];
    let mut filled = 0;
    loop {
        match stream.read(&mut request[filled..]) {
            Ok(0) | Err(_) => return,
            Ok(n) => filled += n,
        }
        let text = String::from_utf8_lossy(&request[..filled]);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let (_, length) = head.split_once("\r\nContent-Length: ").expect("a length");
        let whole = head.len() + 4 + length.parse::<usize>().expect("a number");
        if filled < whole {
            continue;
        }
        filled = 0;
        for piece in pieces {
            if stream.write_all(piece).is_err() {
                return;
            }
        }
    }
}

//! Spans of records made by hand, and batches that go to a collector of this file: a real connection, a real thread.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nereid_core::{Error, Timestamp, testing};
use prost::Message;

use super::batches::Queue;
use super::message::{ExportRequest, ExportResponse, KeyValue, PartialSuccess, Span, Value};
use super::spans::{self, WallClock};
use super::*;
use crate::trace::TraceContext;
use crate::trace::context::Origin;
use crate::trace::live::{Live, Shared};
use crate::trace::record::{Event, Item, Record, Traced};
use crate::trace::settings::{Layer, TraceOptions, Values};

const LIMIT: Duration = Duration::from_secs(60);
const CLOCK: WallClock = WallClock { origin_ns: 1_000_000 };

const COMPUTE: [Event; 4] =
    [Event::ComputeStart, Event::ComputeInputEnd, Event::ComputeOutputStart, Event::ComputeEnd];

fn record(context: Option<Arc<TraceContext>>, requests: Vec<Traced>) -> Record {
    let shared = Shared { sink: None, next_trace: Arc::new(AtomicU64::new(1)) };
    let live = Live::new(0, Layer::default(), Values::default(), &TraceOptions::default(), &shared);
    Record { live: Arc::new(live), origin: Origin::new(context), requests, end: at(100) }
}

fn at(ns: u64) -> Timestamp {
    Timestamp::from_ns(ns)
}

/// A request to `model` with moments from `start` on, one per nanosecond.
fn traced(id: u64, parent_id: Option<u64>, model: &str, start: u64, events: &[Event]) -> Traced {
    let mut traced = Traced::new(id, parent_id);
    let config = nereid_core::ModelConfig { name: model.into(), ..testing::identity_config(8) };
    traced.items.push(Item::Model { config: config.into(), version: 3, request_id: String::new() });
    let moments = events.iter().zip(start..).map(|(event, ns)| Item::Moment(*event, at(ns)));
    traced.items.extend(moments);
    traced
}

fn with(mut traced: Traced, items: impl IntoIterator<Item = Item>) -> Traced {
    traced.items.extend(items);
    traced
}

/// `name(events) < name of the parent`, of every span.
fn tree(spans: &[Span]) -> Vec<String> {
    let names: HashMap<&[u8], &str> = spans.iter().map(|span| (&span.span_id[..], &*span.name)).collect();
    assert_eq!(names.len(), spans.len(), "ids differ");
    let line = |span: &Span| {
        let events: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
        let parent = names.get(&span.parent_span_id[..]).copied().unwrap_or("-");
        format!("{}({}) < {parent}", span.name, events.join(" "))
    };
    spans.iter().map(line).collect()
}

fn attributes(span: &Span) -> Vec<String> {
    let text =
        |KeyValue { key, value }: &KeyValue| match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::Text(text)) => format!("{key}={text:?}"),
            Some(Value::Int(number)) => format!("{key}={number}"),
            None => format!("{key}?"),
        };
    span.attributes.iter().map(text).collect()
}

/// `REQUEST_START … REQUEST_END` of a model that computes.
fn whole() -> Vec<Event> {
    [&[Event::RequestStart, Event::QueueStart][..], &COMPUTE, &[Event::RequestEnd]].concat()
}

#[test]
fn the_tree_of_an_ensemble() {
    let frontend = [Event::HttpRecvStart, Event::HttpRecvEnd];
    let frontend = frontend.iter().zip(1..).map(|(event, ns)| Item::Moment(*event, at(ns)));
    let sent = [Event::InferResponseComplete, Event::HttpSendStart, Event::HttpSendEnd];
    let sent = sent.iter().zip(90..).map(|(event, ns)| Item::Moment(*event, at(ns)));
    let mut client = traced(5, None, "e", 10, &[Event::RequestStart, Event::QueueStart, Event::RequestEnd]);
    client.items.splice(0..0, frontend);
    let inner = traced(7, Some(5), "inner", 30, &[Event::RequestStart, Event::QueueStart, Event::RequestEnd]);
    let requests = vec![
        with(client, sent),
        traced(6, Some(5), "a", 20, &whole()),
        inner,
        traced(9, Some(7), "b", 40, &whole()),
    ];
    let record = record(None, requests);
    let spans = spans::of(&record, CLOCK);
    assert_eq!(
        tree(&spans),
        [
            "InferRequest(HTTP_RECV_START HTTP_RECV_END INFER_RESPONSE_COMPLETE HTTP_SEND_START HTTP_SEND_END) < -",
            "e(REQUEST_START QUEUE_START REQUEST_END) < InferRequest",
            "a(REQUEST_START QUEUE_START REQUEST_END) < e",
            "compute(COMPUTE_START COMPUTE_INPUT_END COMPUTE_OUTPUT_START COMPUTE_END) < a",
            "inner(REQUEST_START QUEUE_START REQUEST_END) < e",
            "b(REQUEST_START QUEUE_START REQUEST_END) < inner",
            "compute(COMPUTE_START COMPUTE_INPUT_END COMPUTE_OUTPUT_START COMPUTE_END) < b",
        ]
    );
    assert_eq!(spans::count(&record), spans.len());
    let times: Vec<_> = spans
        .iter()
        .map(|s| (s.start_time_unix_nano - 1_000_000, s.end_time_unix_nano - 1_000_000))
        .collect();
    assert_eq!(times, [(1, 100), (10, 12), (20, 26), (22, 25), (30, 32), (40, 46), (42, 45)]);
    assert_eq!(
        attributes(&spans[2]),
        [
            r#"triton.model_name="a""#,
            "triton.model_version=3",
            "triton.trace_id=6",
            "triton.trace_parent_id=5"
        ]
    );
    assert_eq!((attributes(&spans[0]), attributes(&spans[3])), (vec![], vec![]));
    for span in &spans {
        assert_eq!((span.kind, span.trace_id.len(), span.span_id.len(), span.flags), (2, 16, 8, 0x101));
        assert_eq!((&span.trace_id, &span.status), (&spans[0].trace_id, &None));
    }
}

#[test]
fn in_the_trace_of_a_client() {
    let context = TraceContext {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        span_id: 0xb7ad_6b71_6920_3331,
        sampled: true,
        state: "a=1".to_owned(),
    };
    let spans = spans::of(&record(Some(context.into()), vec![traced(1, None, "m", 10, &whole())]), CLOCK);
    assert_eq!(spans[0].parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(spans.iter().map(|span| span.flags).collect::<Vec<_>>(), [0x301, 0x101, 0x101]);
    for span in &spans {
        assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
        assert_eq!(span.trace_state, "a=1");
    }
}

#[test]
fn requests_that_end_early_or_fail() {
    // Refused before it got to the model.
    let spans = spans::of(&record(None, vec![Traced::new(1, None)]), CLOCK);
    assert_eq!(tree(&spans), ["InferRequest() < -"]);
    assert_eq!((spans[0].start_time_unix_nano, spans[0].end_time_unix_nano), (1_000_100, 1_000_100));
    // Nobody waited for it any more.
    let left = traced(1, None, "m", 10, &[Event::RequestStart, Event::QueueStart]);
    let spans = spans::of(&record(None, vec![left]), CLOCK);
    assert_eq!(tree(&spans), ["InferRequest() < -", "m(REQUEST_START QUEUE_START) < InferRequest"]);
    assert_eq!(spans[1].end_time_unix_nano, 1_000_100);
    // Failed, with texts that are too long.
    let mut failed = traced(1, None, "m", 10, &[Event::RequestStart, Event::QueueStart, Event::RequestEnd]);
    let Item::Model { request_id, .. } = &mut failed.items[0] else { panic!() };
    *request_id = "é".repeat(5000);
    let failed = with(failed, [Item::Failed(Error::internal("x".repeat(5000)))]);
    let spans = spans::of(&record(None, vec![failed]), CLOCK);
    let status = spans[1].status.as_ref().unwrap();
    assert_eq!((status.code, status.message.len()), (2, 4096));
    assert_eq!(attributes(&spans[1])[4], format!("triton.request_id={:?}", "é".repeat(2048)));
    assert_eq!(spans[0].status, None);
}

#[test]
fn the_queue_takes_what_fits_and_one_trace_of_any_size() {
    let queue = Queue::new(5);
    assert!(queue.admit(3) && !queue.admit(3) && queue.admit(2) && !queue.admit(1));
    assert_eq!((queue.take_dropped(), queue.take_dropped()), (4, 0));
    queue.release(5);
    assert!(queue.admit(70) && !queue.admit(1));
}

/// A collector: answers each request with the next of `answers`, and the last of them ever after.
struct Collector {
    url: String,
    received: mpsc::Receiver<ExportRequest>,
}

impl Collector {
    fn new(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, received) = mpsc::channel();
        thread::spawn(move || {
            let mut answers = answers.iter().copied().chain(std::iter::repeat(*answers.last().unwrap()));
            for stream in listener.incoming() {
                // Ends when the connection does.
                let _ = answer(&stream.unwrap(), &mut answers, &sender);
            }
        });
        Self { url, received }
    }

    fn next(&self) -> ExportRequest {
        self.received.recv_timeout(LIMIT).unwrap()
    }

    fn next_names(&self) -> Vec<String> {
        let request = self.next();
        request.resource_spans[0].scope_spans[0].spans.iter().map(|span| span.name.clone()).collect()
    }

    fn exporter(&self, settings: &[(&str, &str)]) -> Exporter {
        let url = ("url".to_owned(), self.url.clone());
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).chain([url]);
        let options = OtlpOptions::new(&settings.collect::<Vec<_>>(), &patient, &mut Vec::new());
        Exporter::start(options.unwrap()).unwrap()
    }
}

/// Hours for one delivery: what a test waits for does not end by a time-out.
fn patient(variable: &str) -> Option<String> {
    (variable == "OTEL_EXPORTER_OTLP_TIMEOUT").then(|| "7200000".to_owned())
}

/// Answers the requests of one connection: `200`, or another status with headers; `close` closes instead.
fn answer(
    stream: &TcpStream,
    answers: &mut dyn Iterator<Item = &'static str>,
    sender: &mpsc::Sender<ExportRequest>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        sender.send(ExportRequest::decode(&body[..]).unwrap()).map_err(std::io::Error::other)?;
        let partial = PartialSuccess { rejected_spans: 1, error_message: "no\n room".to_owned() };
        let body = match answers.next().unwrap() {
            "close" => return Ok(()),
            "partial" => ("200 OK", ExportResponse { partial_success: Some(partial) }.encode_to_vec()),
            status => (status, Vec::new()),
        };
        write!(&mut &*stream, "HTTP/1.1 {}\r\nContent-Length: {}\r\n\r\n", body.0, body.1.len())?;
        (&mut &*stream).write_all(&body.1)?;
    }
}

fn submit(exporter: &Exporter, names: &[&str]) {
    for name in names {
        let request = traced(1, None, name, 10, &[Event::RequestStart, Event::RequestEnd]);
        exporter.submit(Box::new(record(None, vec![request])));
    }
}

#[test]
fn batches_go_when_they_are_full_and_at_the_end() {
    let collector = Collector::new(&["200 OK"]);
    let exporter =
        collector.exporter(&[("bsp_max_export_batch_size", "3"), ("bsp_schedule_delay", "3600000")]);
    submit(&exporter, &["a", "b"]);
    assert_eq!(collector.next_names(), ["InferRequest", "a", "InferRequest"], "a full one goes at once");
    exporter.finish(LIMIT);
    assert_eq!(collector.next_names(), ["b"]);
    assert!(collector.received.try_recv().is_err());
    submit(&exporter, &["late"]);
    exporter.finish(LIMIT); // ended; nobody is waited for
}

#[test]
fn what_waits_goes_after_the_delay() {
    let collector = Collector::new(&["200 OK"]);
    let exporter = collector.exporter(&[("bsp_schedule_delay", "1"), ("resource", "a=b")]);
    submit(&exporter, &["a"]);
    let request = collector.next();
    let attributes: Vec<_> = request.resource_spans[0].resource.as_ref().unwrap().attributes.clone();
    assert!(attributes.contains(&KeyValue::text("a", "b")));
    assert!(attributes.contains(&KeyValue::text("service.name", "triton-inference-server")));
    assert_eq!(request.resource_spans[0].scope_spans[0].scope.as_ref().unwrap().name, "triton-server");
    submit(&exporter, &["b"]);
    assert_eq!(collector.next_names(), ["InferRequest", "b"]);
}

#[test]
fn a_collector_that_says_later_is_asked_again() {
    let collector =
        Collector::new(&["503 Busy\r\nRetry-After: 0", "429 Too Many\r\nRetry-After: 0", "200 OK"]);
    let exporter = collector.exporter(&[("bsp_schedule_delay", "0")]);
    submit(&exporter, &["a"]);
    let names = [collector.next_names(), collector.next_names(), collector.next_names()];
    assert!(names.iter().all(|names| names == &["InferRequest", "a"]));
    exporter.finish(LIMIT);
    assert!(collector.received.try_recv().is_err(), "delivered once");
}

#[test]
fn a_collector_that_refuses_is_not_asked_again() {
    let collector = Collector::new(&["400 Bad", "500 Bad", "partial", "200 OK"]);
    let exporter = collector.exporter(&[("bsp_schedule_delay", "0")]);
    for name in ["a", "b", "c", "d"] {
        submit(&exporter, &[name]);
        assert_eq!(collector.next_names(), ["InferRequest", name]);
    }
    exporter.finish(LIMIT);
    assert!(collector.received.try_recv().is_err());
}

#[test]
fn a_connection_that_was_closed_is_replaced() {
    let collector = Collector::new(&["200 OK", "close", "200 OK"]);
    let exporter = collector.exporter(&[("bsp_schedule_delay", "0")]);
    submit(&exporter, &["a"]);
    assert_eq!(collector.next_names(), ["InferRequest", "a"]);
    submit(&exporter, &["b"]); // closed without an answer, hence sent again
    assert_eq!(collector.next_names(), ["InferRequest", "b"]);
    assert_eq!(collector.next_names(), ["InferRequest", "b"]);
    exporter.finish(LIMIT);
}

#[test]
fn the_end_does_not_wait_for_a_pause() {
    let collector = Collector::new(&["503 Busy\r\nRetry-After: 3600", "200 OK"]); // an hour
    let exporter = collector.exporter(&[("bsp_schedule_delay", "0")]);
    submit(&exporter, &["a"]);
    collector.next();
    exporter.finish(LIMIT);
    assert_eq!(collector.next_names(), ["InferRequest", "a"]);
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (_sender, received) = mpsc::channel();
    let collector = Collector { url, received };
    let exporter = collector.exporter(&[("bsp_max_queue_size", "4"), ("bsp_schedule_delay", "0")]);
    submit(&exporter, &["a"; 100]);
    exporter.finish(LIMIT);
    submit(&exporter, &["a"; 100]);
}

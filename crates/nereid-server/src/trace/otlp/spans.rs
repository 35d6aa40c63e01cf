//! From a finished record to spans, in Triton's tree (`tracer.cc`): `InferRequest` for the client's request, in it one named
//! for the model, in that `compute`, and for an ensemble the spans of its models. Pure.

use std::collections::HashMap;

use nereid_core::Timestamp;

use super::message::{self, KeyValue, Span, Status};
use crate::trace::context::random_id;
use crate::trace::record::{Event, Item, Record, Traced};

const ROOT: &str = "InferRequest";
const COMPUTE: &str = "compute";
/// All spans are those of a server, as in Triton.
const KIND_SERVER: i32 = 2;
const STATUS_ERROR: i32 = 2;
/// The span is kept.
const SAMPLED: u32 = 1;
/// Whether the parent span is another program's is known, and it is.
const REMOTE_KNOWN: u32 = 1 << 8;
const REMOTE: u32 = 1 << 9;
/// Longest text of a client's, or about one, that spans keep.
const MAX_TEXT_BYTES: usize = 4096;

/// From the program's moments to nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallClock {
    /// When the moments began.
    pub(super) origin_ns: u64,
}

impl WallClock {
    fn ns(self, moment: Timestamp) -> u64 {
        self.origin_ns.saturating_add(moment.as_ns())
    }
}

/// How many spans `record` makes.
pub(super) fn count(record: &Record) -> usize {
    let has = |request: &Traced, wanted: fn(&Item) -> bool| usize::from(request.items.iter().any(wanted));
    let of = |request: &Traced| {
        has(request, |item| matches!(item, Item::Model { .. }))
            + has(request, |item| matches!(item, Item::Moment(Event::ComputeStart, _)))
    };
    1 + record.requests.iter().map(of).sum::<usize>()
}

/// The spans of `record`; parents come before their children.
pub(super) fn of(record: &Record, clock: WallClock) -> Vec<Span> {
    let context = record.origin.context.as_deref();
    let span =
        |name: &str, parent: u64, remote: u32, moments: &[(Event, Timestamp)], end: Option<Timestamp>| {
            let (first, last) = (moments.first(), moments.last());
            let start = first.map_or(record.end, |(_, moment)| *moment);
            let end = end.or(last.map(|(_, moment)| *moment)).unwrap_or(record.end).max(start);
            let event = |(event, moment): &(Event, Timestamp)| message::Event {
                time_unix_nano: clock.ns(*moment),
                name: event.name().to_owned(),
            };
            Span {
                trace_id: record.origin.trace_id.to_be_bytes().to_vec(),
                span_id: random_id().to_be_bytes().to_vec(),
                trace_state: context.map_or_else(String::new, |context| context.state.clone()),
                parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
                name: name.to_owned(),
                kind: KIND_SERVER,
                start_time_unix_nano: clock.ns(start),
                end_time_unix_nano: clock.ns(end),
                events: moments.iter().map(event).collect(),
                flags: SAMPLED | REMOTE_KNOWN | remote,
                ..Span::default()
            }
        };
    let id = |span: &Span| span.span_id.as_slice().try_into().map_or(0, u64::from_be_bytes);
    let parts: Vec<Parts> = record.requests.iter().map(Parts::of).collect();
    let of_frontend = parts.first().map_or(&[][..], |parts| &parts.frontend);
    let (parent, remote) = context.map_or((0, 0), |context| (context.span_id, REMOTE));
    let root = span(ROOT, parent, remote, of_frontend, Some(record.end));
    let root_id = id(&root);
    let mut spans = vec![root];
    // The model's span of each request by its number, for the requests that were made on its behalf.
    let mut span_ids = HashMap::new();
    for (request, parts) in record.requests.iter().zip(&parts) {
        let Some(Item::Model { config, version, request_id }) = parts.model else { continue };
        let parent = request.parent_id.and_then(|id| span_ids.get(&id).copied()).unwrap_or(root_id);
        // One that has not ended, because nobody waited for it any more, ends with the whole.
        let end = parts.ended.is_none().then_some(record.end);
        let mut of_model = span(&config.name, parent, 0, &parts.request, end);
        of_model.attributes = vec![
            KeyValue::text("triton.model_name", &*config.name),
            KeyValue::int("triton.model_version", *version),
            KeyValue::int("triton.trace_id", request.id),
            KeyValue::int("triton.trace_parent_id", request.parent_id.unwrap_or(0)),
        ];
        if !request_id.is_empty() {
            of_model.attributes.push(KeyValue::text("triton.request_id", cut(request_id)));
        }
        of_model.status = parts.failed.map(|message| Status { message: cut(message), code: STATUS_ERROR });
        let model_id = id(&of_model);
        span_ids.insert(request.id, model_id);
        spans.push(of_model);
        if !parts.compute.is_empty() {
            spans.push(span(COMPUTE, model_id, 0, &parts.compute, None));
        }
    }
    spans
}

/// What was collected about one request, by the span that it belongs to.
#[derive(Default)]
struct Parts<'a> {
    model: Option<&'a Item>,
    failed: Option<&'a str>,
    ended: Option<Timestamp>,
    frontend: Vec<(Event, Timestamp)>,
    request: Vec<(Event, Timestamp)>,
    compute: Vec<(Event, Timestamp)>,
}

impl<'a> Parts<'a> {
    fn of(request: &'a Traced) -> Self {
        let mut parts = Self::default();
        for item in &request.items {
            match item {
                Item::Moment(event, moment) => parts.moment(*event, *moment),
                Item::Model { .. } => parts.model = Some(item),
                Item::Failed(error) => parts.failed = Some(error.message()),
                Item::Tensor(_) => {}
            }
        }
        parts
    }

    fn moment(&mut self, event: Event, moment: Timestamp) {
        let to = match event {
            Event::RequestStart | Event::QueueStart => &mut self.request,
            Event::RequestEnd => {
                self.ended = Some(moment);
                &mut self.request
            }
            Event::ComputeStart | Event::ComputeInputEnd | Event::ComputeOutputStart | Event::ComputeEnd => {
                &mut self.compute
            }
            Event::HttpRecvStart
            | Event::HttpRecvEnd
            | Event::HttpSendStart
            | Event::HttpSendEnd
            | Event::GrpcWaitreadStart
            | Event::GrpcWaitreadEnd
            | Event::GrpcSendStart
            | Event::GrpcSendEnd
            | Event::InferResponseComplete => &mut self.frontend,
        };
        to.push((event, moment));
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}

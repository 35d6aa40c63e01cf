//! The members of a line, in order. What is not known is left out.

use super::request::{Line, Told};
use crate::logging::{LogControl, Members};
use crate::serve::Protocol;

/// What every line is called.
const MESSAGE: &str = "access";
/// The status of a request for whose answer nobody waited: over HTTP none was sent, and this is what proxies log; over
/// gRPC CANCELLED.
const GIVEN_UP: (u16, u16) = (499, 1);
const GIVEN_UP_ERROR: &str = "nobody waits for the answer any more";

/// Appends `line` to `text`, in the form of `log`.
pub(super) fn write(text: &mut String, line: &Line, log: &LogControl) {
    let Line { caller, told, received, over, time } = line;
    let Told { id, model, version, bytes_in, bytes_out, rows, timing, status, error } = told;
    let mut members = log.record(text, *time, MESSAGE);
    let (protocol, status_name, given_up) = match caller.protocol {
        Protocol::Http1 => ("http", "status", GIVEN_UP.0),
        Protocol::Http2 => ("grpc", "grpc_status", GIVEN_UP.1),
    };
    members.string("protocol", protocol);
    members.string("call", caller.call);
    texts(&mut members, [("id", id), ("model", model)]);
    numbers(&mut members, [("version", *version)]);
    members.plain(status_name, status.unwrap_or(given_up));
    numbers(&mut members, [("bytes_in", *bytes_in), ("bytes_out", *bytes_out), ("rows", *rows)]);
    if let Some(timing) = timing {
        let phases = [
            ("queue_us", timing.compute_start, timing.queue_start),
            ("compute_input_us", timing.inputs_ready, timing.compute_start),
            ("compute_infer_us", timing.compute_done, timing.inputs_ready),
            ("compute_output_us", timing.compute_end, timing.compute_done),
        ];
        for (name, end, start) in phases {
            members.plain(name, end.ns_since(start) / 1000);
        }
    }
    members.plain("total_us", over.ns_since(*received) / 1000);
    if let Some(timing) = timing {
        members.plain("cache_hit", timing.cache_hit);
    }
    match status {
        None => members.string("error", GIVEN_UP_ERROR),
        Some(_) => texts(&mut members, [("error", error)]),
    }
    if let Some(trace) = &caller.trace {
        members.string("trace_id", &trace.id());
    }
    if let Some(client) = caller.client {
        members.string("client", &client.to_string());
    }
    members.end();
}

fn texts<const N: usize>(members: &mut Members<'_>, all: [(&str, &String); N]) {
    for (name, text) in all {
        if !text.is_empty() {
            members.string(name, text);
        }
    }
}

fn numbers<const N: usize>(members: &mut Members<'_>, all: [(&str, Option<u64>); N]) {
    for (name, number) in all {
        if let Some(number) = number {
            members.plain(name, number);
        }
    }
}

//! An inference request as a client could have sent it: JSON, and every tensor in binary behind it.

use std::collections::HashSet;
use std::fmt::Write;

use bytes::Bytes;
use nereid_protocol::rest::{
    CorrelationId, Encoding, Input, InputData, Output, Parameter, Request, SharedMemory,
};

/// A body and how much of it is JSON.
#[derive(Debug)]
pub struct Rewritten {
    pub body: Bytes,
    pub header_length: usize,
}

/// Writes `request`; `None` where two names differ only in bytes that are not UTF-8, which the request has lost.
pub fn rewrite(request: &Request) -> Option<Rewritten> {
    let names: HashSet<&str> = request.parameters.iter().map(|(name, _)| name.as_str()).collect();
    if names.len() < request.parameters.len() {
        return None;
    }
    let mut json = format!("{{\"id\":{},\"parameters\":{{", text(&request.id));
    let sequence_id = match &request.sequence_id {
        CorrelationId::Number(id) => id.to_string(),
        CorrelationId::Text(id) => text(id),
    };
    let _ = write!(
        json,
        "\"sequence_id\":{sequence_id},\"sequence_start\":{},\"sequence_end\":{},\"priority\":{},\"timeout\":{},\
         \"binary_data_output\":{}",
        request.sequence_start,
        request.sequence_end,
        request.priority,
        request.timeout_us,
        request.default_encoding == Encoding::Binary,
    );
    for (name, value) in &request.parameters {
        let _ = write!(json, ",{}:{}", text(name), parameter(value));
    }
    let mut binary = Vec::new();
    let inputs: Vec<String> = request.inputs.iter().map(|i| input(i, &mut binary)).collect();
    let outputs: Vec<String> = request.outputs.iter().map(output).collect();
    let _ = write!(json, "}},\"inputs\":[{}],\"outputs\":[{}]}}", inputs.join(","), outputs.join(","));
    let header_length = json.len();
    Some(Rewritten { body: [json.as_bytes(), &binary].concat().into(), header_length })
}

fn input(input: &Input, binary: &mut Vec<u8>) -> String {
    let datatype = input.datatype.map_or("none", |d| d.name());
    let shape: Vec<String> = input.shape.iter().map(|dim| dim.cast_unsigned().to_string()).collect();
    let parameters = match &input.data {
        InputData::Bytes(data) => {
            binary.extend_from_slice(data);
            format!("\"binary_data_size\":{}", data.len())
        }
        InputData::SharedMemory(piece) => shared_memory(piece),
    };
    format!(
        "{{\"name\":{},\"datatype\":\"{datatype}\",\"shape\":[{}],\"parameters\":{{{parameters}}}}}",
        text(&input.name),
        shape.join(",")
    )
}

fn output(output: &Output) -> String {
    let parameters = match &output.shared_memory {
        Some(piece) => shared_memory(piece),
        None => format!(
            "\"binary_data\":{},\"classification\":{}",
            output.encoding == Encoding::Binary,
            output.classification
        ),
    };
    format!("{{\"name\":{},\"parameters\":{{{parameters}}}}}", text(&output.name))
}

fn shared_memory(piece: &SharedMemory) -> String {
    format!(
        "\"shared_memory_region\":{},\"shared_memory_offset\":{},\"shared_memory_byte_size\":{}",
        text(&piece.region),
        piece.offset,
        piece.byte_size
    )
}

fn parameter(value: &Parameter) -> String {
    match value {
        Parameter::Bool(value) => value.to_string(),
        Parameter::Int(value) => value.to_string(),
        Parameter::Text(value) => text(value),
        Parameter::Double(value) if value.is_infinite() && *value < 0.0 => "-Infinity".to_owned(),
        Parameter::Double(value) if value.is_infinite() => "Infinity".to_owned(),
        Parameter::Double(value) => format!("{value:?}"), // also NaN; always with a point or an exponent
    }
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

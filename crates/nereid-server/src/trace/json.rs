//! A trace as JSON, in the form of Triton's trace files: a few objects without the brackets around them. Other than in
//! Triton, names and ids are escaped, so that the file is JSON whatever clients send.

use std::io::Write;

use nereid_core::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::record::{Item, Record, Traced};
use super::tensor::{self, Tensor};

/// From the program's moments to the nanoseconds that Triton writes: those of `std::chrono::steady_clock`, which on
/// Linux is `CLOCK_MONOTONIC`, the time since the machine was started. Tools on the same machine can compare them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// How far the origin of [`Timestamp`] lies behind that of the monotonic clock.
    origin_ns: u64,
}

impl Clock {
    /// Compares the clocks.
    pub(super) fn new() -> Self {
        Self { origin_ns: monotonic_ns().saturating_sub(Timestamp::now().as_ns()) }
    }

    /// `moment` on the monotonic clock.
    pub(super) fn ns(self, moment: Timestamp) -> u64 {
        self.origin_ns.saturating_add(moment.as_ns())
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Appends the objects of `record`, with commas between them; nothing when it has collected nothing.
pub(super) fn write(out: &mut Vec<u8>, record: &Record, clock: Clock) {
    let start = out.len();
    for request in &record.requests {
        self::request(out, start, request, clock);
    }
}

fn request(out: &mut Vec<u8>, start: usize, request: &Traced, clock: Clock) {
    let id = request.id;
    for item in &request.items {
        if matches!(item, Item::Failed(_)) {
            continue; // Triton's form has no place for it
        }
        if out.len() > start {
            out.push(b',');
        }
        let written = match item {
            Item::Moment(event, moment) => write!(
                out,
                r#"{{"id":{id},"timestamps":[{{"name":"{}","ns":{}}}]}}"#,
                event.name(),
                clock.ns(*moment)
            ),
            Item::Model { config, version, request_id } => {
                model(out, request, &config.name, *version, request_id)
            }
            Item::Tensor(tensor) => self::tensor(out, id, tensor),
            Item::Failed(_) => Ok(()),
        };
        debug_assert!(written.is_ok(), "writing to memory");
    }
}

fn model(
    out: &mut Vec<u8>,
    request: &Traced,
    name: &str,
    version: u64,
    request_id: &str,
) -> std::io::Result<()> {
    let Traced { id, parent_id, .. } = request;
    write!(out, r#"{{"id":{id},"model_name":""#)?;
    string_inside(out, name);
    write!(out, r#"","model_version":{version}"#)?;
    if !request_id.is_empty() {
        out.extend_from_slice(br#","request_id":""#);
        string_inside(out, request_id);
        out.push(b'"');
    }
    if let Some(parent_id) = parent_id {
        write!(out, r#","parent_id":{parent_id}"#)?;
    }
    out.push(b'}');
    Ok(())
}

fn tensor(out: &mut Vec<u8>, id: u64, tensor: &Tensor) -> std::io::Result<()> {
    write!(out, r#"{{"id":{id},"activity":"{}","tensor":{{"name":""#, tensor.activity)?;
    string_inside(out, &tensor.name);
    out.extend_from_slice(br#"","data":""#);
    tensor::elements(out, tensor);
    out.extend_from_slice(br#"","shape":""#);
    for (i, dim) in tensor.shape.iter().enumerate() {
        write!(out, "{}{dim}", if i > 0 { "," } else { "" })?;
    }
    write!(out, r#"","dtype":"{}"}}}}"#, tensor.datatype)
}

/// Appends `text` as it stands between the quotes of a JSON string.
pub(super) fn string_inside(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok(), "writing to memory");
    out.pop();
    out.remove(start);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_on_the_monotonic_clock() {
        let start = monotonic_ns();
        let clock = Clock::new();
        let now = Timestamp::now();
        let ns = clock.ns(now);
        assert!(start <= ns && ns <= monotonic_ns());
        assert_eq!(clock.ns(now.plus_us(7)) - ns, 7000);
    }
}

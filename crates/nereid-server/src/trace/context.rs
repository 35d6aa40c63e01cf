//! W3C trace context: what a client says of the trace that its request belongs to (`traceparent`, `tracestate`), and
//! where in which trace a request of ours stands. Rules are those of the recommendation; what breaks them is passed over.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use http::HeaderMap;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Length of version 00; later ones may go on.
const PARENT_BYTES: usize = 55;
const MAX_MEMBERS: usize = 32;
const MAX_KEY_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 256;

/// The trace that a client's request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) trace_id: u128,
    /// The client's span.
    pub(super) span_id: u64,
    /// The client says that it keeps its own spans.
    pub(super) sampled: bool,
    /// What vendors add, to be handed on.
    pub(super) state: String,
}

/// Where a traced request stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// 0 where traces have no such id.
    pub(super) trace_id: u128,
    pub(super) context: Option<Arc<TraceContext>>,
}

impl TraceContext {
    /// What `headers`, or metadata of a call, say.
    pub fn of(headers: &HeaderMap) -> Option<Arc<Self>> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?.as_bytes().trim_ascii();
        if parents.next().is_some() {
            return None;
        }
        let (trace_id, span_id, sampled) = traceparent(parent)?;
        let states = headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok());
        let state = states.collect::<Option<Vec<_>>>().and_then(|values| tracestate(&values.join(",")));
        Some(Arc::new(Self { trace_id, span_id, sampled, state: state.unwrap_or_default() }))
    }

    /// The trace's id as it stands in `traceparent`.
    pub(crate) fn id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

impl Origin {
    /// In the trace of `context`, or in a new one.
    pub(super) fn new(context: Option<Arc<TraceContext>>) -> Self {
        let new = || u128::from(random_id()) << 64 | u128::from(random_id());
        Self { trace_id: context.as_ref().map_or_else(new, |context| context.trace_id), context }
    }
}

/// A number that nobody guesses or has drawn before; never 0.
pub(super) fn random_id() -> u64 {
    // The standard library seeds its hash maps from the system; each of their hashers is keyed anew.
    RandomState::new().hash_one(()).max(1)
}

fn traceparent(text: &[u8]) -> Option<(u128, u64, bool)> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii() && text.len() >= PARENT_BYTES)?;
    let (text, more) = text.split_at(PARENT_BYTES);
    let mut fields = text.split('-');
    let version = hex(fields.next()?, 2)?;
    let (trace_id, span_id) = (hex(fields.next()?, 32)?, hex(fields.next()?, 16)?);
    let flags = hex(fields.next()?, 2)?;
    let known = match version {
        0 => more.is_empty(),
        0xff => false,
        _ => more.is_empty() || more.starts_with('-'),
    };
    (known && trace_id != 0 && span_id != 0).then_some((trace_id, span_id as u64, flags & 1 == 1))
}

/// Small letters only.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let are_digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == digits && are_digits { u128::from_str_radix(text, 16).ok() } else { None }
}

/// The list without blanks around its members, if it is right.
fn tracestate(text: &str) -> Option<String> {
    let members = text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|m| !m.is_empty());
    let members: Vec<_> = members.collect();
    (members.len() <= MAX_MEMBERS && members.iter().all(|member| is_member(member)))
        .then(|| members.join(","))
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let is_key = |key: &str| {
        key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    let is_value = value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    let (tenant, system) = key.split_once('@').unwrap_or((key, "x"));
    is_key(tenant)
        && is_key(system)
        && key.len() <= MAX_KEY_BYTES
        && is_value
        && (1..=MAX_VALUE_BYTES).contains(&value.len())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn of(parents: &[&str], states: &[&str]) -> Option<Arc<TraceContext>> {
        let mut headers = HeaderMap::new();
        for (name, values) in [(TRACEPARENT, parents), (TRACESTATE, states)] {
            for value in values {
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        TraceContext::of(&headers)
    }

    #[track_caller]
    fn check(parent: &str, expected: Option<bool>) {
        let context = of(&[parent], &[]);
        assert_eq!(context.as_ref().map(|context| context.sampled), expected, "{parent}");
        if let Some(context) = context {
            assert_eq!(format!("{} {:016x}", context.id(), context.span_id), format!("{TRACE} {SPAN}"));
        }
    }

    #[test]
    fn parents() {
        check(&format!("00-{TRACE}-{SPAN}-01"), Some(true));
        check(&format!("00-{TRACE}-{SPAN}-00"), Some(false));
        check(&format!("00-{TRACE}-{SPAN}-ff"), Some(true)); // bits that have no meaning yet
        check(&format!("00-{TRACE}-{SPAN}-02"), Some(false));
        check(&format!(" \t00-{TRACE}-{SPAN}-01 "), Some(true));
        check(&format!("cc-{TRACE}-{SPAN}-01"), Some(true)); // a later version
        check(&format!("cc-{TRACE}-{SPAN}-01-what-comes"), Some(true));
        check(&format!("cc-{TRACE}-{SPAN}-01.what"), None);
        check(&format!("00-{TRACE}-{SPAN}-01-what-comes"), None);
        check(&format!("00-{TRACE}-{SPAN}-01-"), None);
        check(&format!("ff-{TRACE}-{SPAN}-01"), None);
        check(&format!("0-{TRACE}-{SPAN}-010"), None);
        check(&format!("00-{}-{SPAN}-01", "0".repeat(32)), None);
        check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(&format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None);
        check(&format!("00-{TRACE}-{}-01", SPAN.to_uppercase()), None);
        check(&format!("00-{}-{SPAN}-01", TRACE.replace('0', "+")), None);
        check(&format!("00-{TRACE}-{SPAN}-0x"), None);
        check(&format!("00-{TRACE}-{SPAN}-1"), None);
        check(&format!("00-{TRACE}{SPAN}--01x"), None);
        check(&format!("00_{TRACE}_{SPAN}_01"), None);
        check(&format!("00-{TRACE}-{}é-01", &SPAN[2..]), None);
        check("", None);
        check("00", None);
        check(&"-".repeat(55), None);
        check(&"0".repeat(100_000), None);
    }

    #[test]
    fn one_parent_only() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        assert!(of(&[], &["a=1"]).is_none());
        assert!(of(&[&parent, &parent], &[]).is_none());
    }

    #[test]
    fn states() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let many = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        let (most, too_many) = (many(MAX_MEMBERS), many(MAX_MEMBERS + 1));
        for (states, expected) in [
            (&[][..], ""),
            (&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            (&["a=1", "b=2"], "a=1,b=2"),
            (&[" a=1 ,\t, b=x y ,"], "a=1,b=x y"),
            (&["0a@b-c=!~", "a_-*/@s=1"], "0a@b-c=!~,a_-*/@s=1"),
            (&[&most], &most),
            (&[&too_many], ""),
            (&["a=1", "B=2"], ""),
            (&["a"], ""),
            (&["=1"], ""),
            (&["a="], ""),
            (&["a=b=c"], ""),
            (&["@a=1"], ""),
            (&["a@=1"], ""),
            (&["a@b@c=1"], ""),
            (&["a=\u{e9}"], ""),
            (&[&format!("a={}", "v".repeat(256))], &format!("a={}", "v".repeat(256))),
            (&[&format!("a={}", "v".repeat(257))], ""),
            (&[&format!("{}=v", "k".repeat(257))], ""),
        ] {
            let context = of(&[&parent], states).unwrap();
            assert_eq!(context.state, expected, "{states:?}");
        }
    }

    #[test]
    fn ids_differ() {
        let ids: std::collections::HashSet<u64> = (0..1000).map(|_| random_id()).collect();
        assert_eq!((ids.len(), ids.contains(&0)), (1000, false));
        let context = of(&[&format!("00-{TRACE}-{SPAN}-01")], &[]);
        assert_eq!(format!("{:x}", Origin::new(context).trace_id), TRACE[1..]);
        assert_ne!(Origin::new(None).trace_id, Origin::new(None).trace_id);
    }
}

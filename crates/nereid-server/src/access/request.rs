//! What is known of one request. Whoever has a part in it tells; when the last of them lets go, the request is over and
//! its line is handed to the writer. So every way in which a request ends is covered.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use nereid_core::{InferRequest, InferResponse, Timestamp, Timing};
use nereid_repository::ModelVersion;
use parking_lot::Mutex;
use tonic::Code;

use super::writer::Writer;
use crate::serve::Protocol;
use crate::trace::TraceContext;

/// Most bytes of an id, a name or an error that are kept; they may be as long as the client likes.
const MAX_TEXT_BYTES: usize = 1024;

/// The line of a request, or nothing for one that is not logged; then every method is a test of an `Option`. Clones share
/// it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access(Option<Arc<Open>>);

/// Who called what.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(super) protocol: Protocol,
    /// The last part of the path, or the rpc.
    pub(super) call: &'static str,
    pub(super) client: Option<SocketAddr>,
    /// The client's.
    pub(super) trace: Option<Arc<TraceContext>>,
}

/// What a line says.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) caller: Caller,
    pub(super) told: Told,
    pub(super) received: Timestamp,
    pub(super) over: Timestamp,
    /// When it was over, for people.
    pub(super) time: SystemTime,
}

/// What the request turned out to be, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) model: String,
    /// That which serves.
    pub(super) version: Option<u64>,
    pub(super) bytes_in: Option<u64>,
    pub(super) bytes_out: Option<u64>,
    /// Its part of a batch.
    pub(super) rows: Option<u64>,
    /// If the model answered.
    pub(super) timing: Option<Timing>,
    /// HTTP's or gRPC's; `None` when nobody waited for the answer.
    pub(super) status: Option<u16>,
    pub(super) error: String,
}

#[derive(Debug)]
struct Open {
    caller: Caller,
    received: Timestamp,
    told: Mutex<Told>,
    writer: Writer,
}

impl Access {
    pub(super) fn begin(caller: Caller, writer: Writer) -> Self {
        let (received, told) = (Timestamp::now(), Mutex::default());
        Self(Some(Arc::new(Open { caller, received, told, writer })))
    }

    /// Whether the request is logged.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        if let Some(open) = &self.0 {
            what(&mut open.told.lock());
        }
    }

    /// The model that the client names.
    pub(crate) fn model(&self, name: &str) {
        self.tell(|told| told.model = cut(name));
    }

    /// The request's id, which may be empty.
    pub(crate) fn id(&self, id: &str) {
        self.tell(|told| told.id = cut(id));
    }

    /// The size of the request as it was received.
    pub(crate) fn received(&self, bytes: impl FnOnce() -> usize) {
        self.tell(|told| told.bytes_in = Some(bytes() as u64));
    }

    /// The size of the answer.
    pub(crate) fn sent(&self, bytes: impl FnOnce() -> usize) {
        self.tell(|told| told.bytes_out = Some(bytes() as u64));
    }

    /// `request` is made to `model`.
    pub(crate) fn request(&self, model: &ModelVersion, request: &InferRequest) {
        self.tell(|told| {
            told.id = cut(&request.id);
            told.version = Some(model.version);
            let batches = model.config.max_batch_size > 0;
            let rows = request.inputs.first().filter(|_| batches).and_then(|input| input.shape.first());
            told.rows = rows.map_or(Some(1), |rows| u64::try_from(*rows).ok());
        });
    }

    /// The model has answered.
    pub(crate) fn answered(&self, response: &InferResponse) {
        self.tell(|told| told.timing = Some(response.timing));
    }

    /// What the client is told, `error` being empty for success.
    pub(super) fn http(&self, status: u16) {
        self.tell(|told| told.status = Some(status));
    }

    /// The same over gRPC.
    pub(crate) fn grpc(&self, code: Code, error: &str) {
        self.tell(|told| (told.status, told.error) = (Some(code as u16), cut(error)));
    }

    /// What went wrong, unless it is known already.
    pub(super) fn error(&self, error: &str) {
        self.tell(|told| {
            if told.error.is_empty() {
                told.error = cut(error);
            }
        });
    }
}

impl Caller {
    /// One whose request for `call` came over gRPC at a time when nobody looked at where from.
    pub(crate) fn unknown(call: &'static str) -> Self {
        Self { protocol: Protocol::Http2, call, client: None, trace: None }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Self { caller, received, told, writer } = self;
        let told = mem::take(told.get_mut());
        let (over, time) = (Timestamp::now(), SystemTime::now());
        writer.submit(Line { caller: caller.clone(), told, received: *received, over, time });
    }
}

/// As much of `text` as is kept.
fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let mut cut = text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        let fits = "ä".repeat(MAX_TEXT_BYTES / 2);
        assert_eq!(cut(&fits), fits);
        assert_eq!(cut(&format!("{fits}x")), format!("{fits}…"));
        assert_eq!(cut(&format!("x{fits}")), format!("x{}…", "ä".repeat(MAX_TEXT_BYTES / 2 - 1)));
    }
}

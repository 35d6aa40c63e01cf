//! The thread that turns finished traces into text and writes them: off the event loops, and never waited for by a
//! request. When it falls behind, traces are dropped rather than kept in memory without end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;
use std::{io, mem, thread};

use super::file::TraceFile;
use super::json::{self, Clock};
use super::record::Record;
use super::settings::Values;

/// Most bytes of traces that may wait for the thread. One alone with more loses its tensors: as text they are
/// several times as large, and nobody reads it.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// Text that is written even if the settings would collect more: memory is worth more than the number of files.
const MAX_STREAM_BYTES: usize = 16 << 20;
/// Text that is worth a call of the system.
const CHUNK_BYTES: usize = 64 << 10;

/// The way to the thread. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    sender: Sender<Message>,
    backlog: Arc<Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Trace(Box<Record>),
    /// Nothing more comes under the settings of this id.
    Retired(u64),
    /// Write what is there, tell, and end.
    Finish(Sender<()>),
}

impl Writer {
    /// Starts the thread for files beginning with `path`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start(path: PathBuf) -> io::Result<Self> {
        let (sender, messages) = mpsc::channel();
        let backlog = Arc::<Backlog>::default();
        let work = Work {
            file: TraceFile::new(path),
            clock: Clock::new(),
            streams: HashMap::new(),
            backlog: backlog.clone(),
        };
        thread::Builder::new().name("trace-writer".to_owned()).spawn(move || work.run(&messages))?;
        Ok(Self { sender, backlog })
    }

    /// Hands over a finished trace.
    pub(super) fn submit(&self, mut record: Box<Record>) {
        if record.bytes() > MAX_WAITING_BYTES {
            tracing::warn!(
                "trace {}: no tensors, they have more than {MAX_WAITING_BYTES} bytes",
                record.id()
            );
            record.drop_tensors();
        }
        let bytes = record.bytes();
        let waiting = self.backlog.bytes.fetch_add(bytes, Relaxed);
        if waiting.saturating_add(bytes) > MAX_WAITING_BYTES {
            self.backlog.bytes.fetch_sub(bytes, Relaxed);
            self.backlog.dropped.fetch_add(1, Relaxed);
            record.live.dropped.fetch_add(1, Relaxed);
            return;
        }
        drop(self.sender.send(Message::Trace(record))); // fails only when the server ends
    }

    /// Writes what was collected under the settings `id`.
    pub(super) fn retire(&self, id: u64) {
        drop(self.sender.send(Message::Retired(id)));
    }

    /// Writes everything and closes the files, for at most `limit`. What is submitted later is lost.
    pub(super) fn finish(&self, limit: Duration) {
        let (done, wait) = mpsc::channel();
        if self.sender.send(Message::Finish(done)).is_ok() && wait.recv_timeout(limit).is_err() {
            tracing::error!("not all traces were written in time");
        }
    }
}

/// What the thread has.
struct Work {
    file: TraceFile,
    clock: Clock,
    /// By the id of their settings.
    streams: HashMap<u64, Stream>,
    backlog: Arc<Backlog>,
}

/// What was collected under some settings and not yet written.
#[derive(Debug)]
struct Stream {
    text: Vec<u8>,
    /// Traces in `text`.
    held: u32,
    /// Traces that have come, or were dropped.
    collected: i32,
    /// As they were when these settings came into use.
    values: Values,
}

/// Where text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Plain,
    Indexed,
}

impl Work {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            for message in std::iter::once(first).chain(messages.try_iter()) {
                match message {
                    Message::Trace(record) => self.trace(*record),
                    Message::Retired(id) => self.retired(id),
                    Message::Finish(done) => {
                        self.finish();
                        let _ = done.send(()); // fails only when nobody waits any more
                        return;
                    }
                }
            }
            self.idle();
        }
        self.finish();
    }

    fn trace(&mut self, record: Record) {
        self.backlog.bytes.fetch_sub(record.bytes(), Relaxed);
        let stream = self.streams.entry(record.live.id).or_insert_with(|| Stream::new(record.live.values));
        stream.collected = stream.collected.saturating_add(record.live.dropped.swap(0, Relaxed));
        stream.push(|text| json::write(text, &record, self.clock), record.is_empty());
        let due = stream.due();
        save(&mut self.file, stream, due);
        // Letting go of the record may retire its settings: the message comes next.
    }

    fn retired(&mut self, id: u64) {
        if let Some(mut stream) = self.streams.remove(&id) {
            let to = stream.rest();
            save(&mut self.file, &mut stream, Some(to));
        }
    }

    /// Nothing is waiting: text that goes to the plain file anyway need not wait either.
    fn idle(&mut self) {
        for stream in self.streams.values_mut().filter(|stream| stream.is_plain()) {
            save(&mut self.file, stream, Some(To::Plain));
        }
        let dropped = self.backlog.dropped.swap(0, Relaxed);
        if dropped > 0 {
            tracing::warn!("{dropped} traces were dropped: more came than could be written");
        }
    }

    fn finish(&mut self) {
        let mut rest: Vec<_> = mem::take(&mut self.streams).into_iter().collect();
        rest.sort_unstable_by_key(|(id, _)| *id);
        for (_, mut stream) in rest {
            let to = stream.rest();
            save(&mut self.file, &mut stream, Some(to));
        }
        self.file.close();
    }
}

fn save(file: &mut TraceFile, stream: &mut Stream, to: Option<To>) {
    let Some(to) = to.filter(|_| !stream.text.is_empty()) else { return };
    match to {
        To::Plain => file.save_plain(&stream.text),
        To::Indexed => file.save_indexed(&stream.text),
    }
    stream.text.clear();
    stream.text.shrink_to(CHUNK_BYTES);
    stream.held = 0;
}

impl Stream {
    fn new(values: Values) -> Self {
        Self { text: Vec::new(), held: 0, collected: 0, values }
    }

    /// Counts a trace; `write` appends it unless it is `empty`.
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>), empty: bool) {
        self.collected = self.collected.saturating_add(1);
        if empty {
            return;
        }
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        write(&mut self.text);
        self.held += 1;
    }

    /// Where the text goes now, if it is time: Triton writes a file with an index once `log_frequency` traces are
    /// collected, and once the last of `count` is.
    fn due(&self) -> Option<To> {
        let Values { count, log_frequency, .. } = self.values;
        let last = count > 0 && self.collected >= count;
        if last || (log_frequency != 0 && self.held >= log_frequency) {
            return Some(To::Indexed);
        }
        match self.is_plain() {
            true => (self.text.len() >= CHUNK_BYTES).then_some(To::Plain),
            false => (self.text.len() >= MAX_STREAM_BYTES).then_some(To::Indexed),
        }
    }

    /// Whether everything goes to the plain file. Triton writes it at the end; the content is the same.
    fn is_plain(&self) -> bool {
        self.values.log_frequency == 0 && self.values.count <= 0
    }

    /// Where the text goes when no more is coming.
    fn rest(&self) -> To {
        if self.values.log_frequency == 0 { To::Plain } else { To::Indexed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens after each of some traces: `.` is kept, `P` and `I` are written.
    #[track_caller]
    fn check(count: i32, log_frequency: u32, trace_bytes: usize, expected: &str) {
        let mut stream = Stream::new(Values { count, log_frequency, ..Values::default() });
        let steps = expected.chars().map(|_| {
            stream.push(|text| text.resize(text.len() + trace_bytes, b'x'), trace_bytes == 0);
            match stream.due() {
                None => '.',
                Some(to) => {
                    (stream.held, stream.text) = (0, Vec::new());
                    if to == To::Plain { 'P' } else { 'I' }
                }
            }
        });
        assert_eq!(steps.collect::<String>(), expected, "count {count}, log_frequency {log_frequency}");
    }

    #[test]
    fn when_and_where_to_write() {
        check(-1, 0, 10, "....");
        check(-1, 0, CHUNK_BYTES / 2, ".P.P");
        check(-1, 2, 10, ".I.I.");
        check(-1, 1, 10, "III");
        check(3, 0, 10, "..I");
        check(5, 2, 10, ".I.II");
        check(4, 2, 10, ".I.I");
        check(3, 0, 0, "..I"); // traces without content count
        check(100, 0, MAX_STREAM_BYTES / 2, ".I.I");
        check(-1, 100, MAX_STREAM_BYTES, "II");
    }

    #[test]
    fn the_rest() {
        for (count, log_frequency, expected) in [(-1, 0, To::Plain), (9, 0, To::Plain), (9, 3, To::Indexed)] {
            assert_eq!(Stream::new(Values { count, log_frequency, ..Values::default() }).rest(), expected);
        }
    }
}

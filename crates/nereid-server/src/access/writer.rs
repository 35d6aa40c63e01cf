//! The thread that makes text of lines and writes it. When the log takes it too slowly, lines are dropped and counted
//! rather than kept without end: a request never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;
use std::{io, iter, thread};

use super::line;
use super::request::Line;
use crate::logging::LogControl;

/// Most lines that may wait for the thread.
const MAX_WAITING: usize = 8192;
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
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(Box<Line>),
    /// Write what is there, tell, and end.
    Finish(Sender<()>),
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses it.
    pub(super) fn start(log: LogControl) -> io::Result<Self> {
        let (sender, messages) = mpsc::channel();
        let backlog = Arc::<Backlog>::default();
        let work = Work { log, backlog: backlog.clone(), text: String::new() };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || work.run(&messages))?;
        Ok(Self { sender, backlog })
    }

    /// Hands over a line.
    pub(super) fn submit(&self, line: Line) {
        if self.backlog.waiting.fetch_add(1, Relaxed) >= MAX_WAITING {
            self.backlog.waiting.fetch_sub(1, Relaxed);
            self.backlog.dropped.fetch_add(1, Relaxed);
            return;
        }
        drop(self.sender.send(Message::Line(Box::new(line)))); // fails only when the server ends
    }

    /// Writes everything, for at most `limit`. What is submitted later is lost.
    pub(super) fn finish(&self, limit: Duration) {
        let (done, wait) = mpsc::channel();
        if self.sender.send(Message::Finish(done)).is_ok() && wait.recv_timeout(limit).is_err() {
            tracing::error!("the access log was not written in time");
        }
    }
}

struct Work {
    log: LogControl,
    backlog: Arc<Backlog>,
    /// Not yet written.
    text: String,
}

impl Work {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            for message in iter::once(first).chain(messages.try_iter()) {
                match message {
                    Message::Line(line) => self.add(&line),
                    Message::Finish(done) => {
                        self.write();
                        let _ = done.send(()); // fails only when nobody waits any more
                        return;
                    }
                }
            }
            self.write();
        }
    }

    fn add(&mut self, line: &Line) {
        self.backlog.waiting.fetch_sub(1, Relaxed);
        line::write(&mut self.text, line, &self.log);
        if self.text.len() >= CHUNK_BYTES {
            self.write();
        }
    }

    fn write(&mut self) {
        self.log.write_access(&self.text);
        self.text.clear();
        self.text.shrink_to(2 * CHUNK_BYTES);
        let dropped = self.backlog.dropped.swap(0, Relaxed);
        if dropped > 0 {
            tracing::warn!("{dropped} lines of the access log were dropped: more came than could be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::request::{Access, Caller};
    use super::*;
    use crate::logging::{LogFormat, LogOptions};

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let options =
            LogOptions { file: Some(file.clone()), format: LogFormat::Json, ..LogOptions::default() };
        let log = LogControl::new(&options, true).unwrap();
        let (sender, messages) = mpsc::channel();
        let backlog = Arc::<Backlog>::default();
        let writer = Writer { sender, backlog: backlog.clone() };
        let log_one = |id: usize| {
            let access = Access::begin(Caller::unknown("ModelInfer"), writer.clone());
            access.id(&id.to_string());
            access.grpc(tonic::Code::Ok, "");
        };
        (0..MAX_WAITING + 5).for_each(log_one);
        assert_eq!(backlog.waiting.load(Relaxed), MAX_WAITING);
        // When some were written, there is room for more.
        let mut work = Work { log: log.clone(), backlog: backlog.clone(), text: String::new() };
        for message in messages.try_iter().take(2) {
            let Message::Line(line) = message else { panic!("{message:?}") };
            work.add(&line);
        }
        (MAX_WAITING + 5..MAX_WAITING + 7).for_each(log_one);
        let (done, wait) = mpsc::channel();
        writer.sender.send(Message::Finish(done)).unwrap();
        with_default(tracing_subscriber::registry().with(log.layer()), || work.run(&messages));
        assert_eq!(wait.recv(), Ok(()));
        log_one(0); // too late, and no harm
        let text = fs::read_to_string(file).unwrap();
        let records: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: Vec<usize> =
            records.iter().filter_map(|record| record["id"].as_str()?.parse().ok()).collect();
        let expected: Vec<_> = (0..MAX_WAITING).chain(MAX_WAITING + 5..MAX_WAITING + 7).collect();
        assert_eq!(ids, expected);
        let warnings: Vec<_> = records.iter().filter(|record| record["level"] == "WARNING").collect();
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(
            warning["message"],
            "5 lines of the access log were dropped: more came than could be written"
        );
    }
}

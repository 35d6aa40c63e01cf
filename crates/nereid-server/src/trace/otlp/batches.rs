//! The thread that gathers spans and has them sent: off the event loops, and never waited for by a request. A batch goes
//! when it is full or its first span has waited long enough. What does not fit into the queue is dropped and counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc as blocking;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use nereid_core::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::delivery::Delivery;
use super::message::Span;
use super::options::OtlpOptions;
use super::spans::{self, WallClock};
use crate::trace::record::Record;

/// The way to the thread. Clones share it.
#[derive(Debug, Clone)]
pub(in crate::trace) struct Exporter {
    sender: mpsc::UnboundedSender<Message>,
    queue: Arc<Queue>,
}

/// Counts spans on their way.
#[derive(Debug)]
pub(super) struct Queue {
    most: usize,
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Trace(Box<Record>),
    /// Send what is there, tell, and end.
    Finish(blocking::Sender<()>),
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses it, or certificates cannot be read.
    pub(in crate::trace) fn start(options: OtlpOptions) -> io::Result<Self> {
        let (sender, messages) = mpsc::unbounded_channel();
        let queue = Arc::new(Queue::new(options.max_queue_size));
        let (finishing, finish) = watch::channel(false);
        let gathering = Gathering {
            most: options.max_export_batch_size,
            delay: options.schedule_delay,
            pending: VecDeque::new(),
            due: None,
            finishing,
        };
        let delivery = Delivery::new(options, queue.clone(), finish)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let run = move || {
            runtime.block_on(async {
                // One waits to be sent while another is.
                let (batches, to_send) = mpsc::channel(1);
                let (done, ()) = tokio::join!(gathering.run(messages, batches), delivery.run(to_send));
                if let Some(done) = done {
                    let _ = done.send(()); // fails only when nobody waits any more
                }
            });
        };
        thread::Builder::new().name("trace-exporter".to_owned()).spawn(run)?;
        Ok(Self { sender, queue })
    }

    /// Hands over a finished trace.
    pub(in crate::trace) fn submit(&self, record: Box<Record>) {
        if self.queue.admit(spans::count(&record)) {
            drop(self.sender.send(Message::Trace(record))); // fails only when the server ends
        }
    }

    /// Sends everything, for at most `limit`. What is submitted later is lost.
    pub(in crate::trace) fn finish(&self, limit: Duration) {
        let (done, wait) = blocking::channel();
        if self.sender.send(Message::Finish(done)).is_ok() && wait.recv_timeout(limit).is_err() {
            let spans = self.queue.waiting.load(Relaxed);
            tracing::error!("{spans} spans of traces were not delivered in time");
        }
    }
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self { most, waiting: AtomicUsize::new(0), dropped: AtomicU64::new(0) }
    }

    /// Counts `spans` in if there is room. There is for a single trace, whatever its size.
    pub(super) fn admit(&self, spans: usize) -> bool {
        let waiting = self.waiting.fetch_add(spans, Relaxed);
        let fits = waiting == 0 || waiting.saturating_add(spans) <= self.most;
        if !fits {
            self.release(spans);
            self.dropped.fetch_add(spans as u64, Relaxed);
        }
        fits
    }

    /// Spans have been sent, or given up.
    pub(super) fn release(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Relaxed);
    }

    /// How many were not admitted since this was asked last.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }
}

/// Spans that wait for others.
struct Gathering {
    most: usize,
    delay: Duration,
    pending: VecDeque<Span>,
    /// When the first of them has waited long enough.
    due: Option<Instant>,
    finishing: watch::Sender<bool>,
}

impl Gathering {
    /// Until it is told to finish; gives back whom to tell.
    async fn run(
        mut self,
        mut messages: mpsc::UnboundedReceiver<Message>,
        batches: mpsc::Sender<Vec<Span>>,
    ) -> Option<blocking::Sender<()>> {
        loop {
            let is_due = self.pending.len() >= self.most || self.due.is_some_and(|due| due <= Instant::now());
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Trace(record)) => self.add(&record),
                    Some(Message::Finish(done)) => {
                        self.finish(&batches).await;
                        return Some(done);
                    }
                    None => {
                        self.finish(&batches).await;
                        return None;
                    }
                },
                permit = batches.reserve(), if is_due => match permit {
                    Ok(permit) => permit.send(self.batch()),
                    Err(_) => return None, // nobody sends any more, which cannot be before this ends
                },
                () = sleep_until(self.due.unwrap_or_else(Instant::now)), if !is_due && self.due.is_some() => {}
            }
        }
    }

    fn add(&mut self, record: &Record) {
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let clock = WallClock { origin_ns: now_ns.saturating_sub(Timestamp::now().as_ns()) };
        self.pending.extend(spans::of(record, clock));
        self.due.get_or_insert_with(|| Instant::now() + self.delay);
    }

    fn batch(&mut self) -> Vec<Span> {
        let batch = self.pending.drain(..self.most.min(self.pending.len())).collect();
        self.due = (!self.pending.is_empty()).then(|| Instant::now() + self.delay);
        batch
    }

    /// Hands on everything. Nobody tries for long any more.
    async fn finish(&mut self, batches: &mpsc::Sender<Vec<Span>>) {
        self.finishing.send_replace(true);
        while !self.pending.is_empty() {
            let batch = self.batch();
            if batches.send(batch).await.is_err() {
                return;
            }
        }
    }
}

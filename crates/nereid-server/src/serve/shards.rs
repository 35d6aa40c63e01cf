//! Event loops: one single-threaded runtime per core. A connection stays on its loop for life, so that
//! a request crosses no thread between its socket and a small model.

use std::convert::Infallible;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::connection::{self, ServeOptions};
use super::{Draining, HttpService};

/// The event loops of a process. They end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Shards(Arc<[Shard]>);

#[derive(Debug)]
struct Shard {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    /// Dropping it ends the loop.
    _stop: oneshot::Sender<Infallible>,
}

impl Shards {
    /// Starts `count` event loops, at least one.
    ///
    /// # Errors
    /// The system refuses a thread or an event queue.
    pub fn start(count: usize) -> io::Result<Self> {
        (0..count.max(1)).map(Shard::start).collect::<io::Result<Arc<[_]>>>().map(Self)
    }

    /// Serves a connection on the loop that has the fewest.
    pub(super) fn spawn(
        &self,
        stream: TcpStream,
        service: impl HttpService,
        options: ServeOptions,
        draining: Draining,
    ) {
        let Some(shard) = self.0.iter().min_by_key(|shard| shard.connections.load(Relaxed)) else { return };
        let open = Open::new(&shard.connections);
        let loops = self.clone(); // a loop must not end before its connections: requests in flight live there
        shard.handle.spawn(async move {
            connection::serve(stream, service, options, draining).await;
            drop(open);
            drop(loops);
        });
    }
}

impl Shard {
    fn start(index: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = heartbeat() => {}
                }
            });
        })?;
        Ok(Self { handle, connections: Arc::default(), _stop: stop })
    }
}

/// A timer that is always running and always due before the time-outs of connections. Without one, a loop
/// whose last timer was taken off is woken, at the price of a system call, whenever a connection sets its own.
async fn heartbeat() {
    loop {
        tokio::time::sleep(connection::HEAD_TIMEOUT / 2).await;
    }
}

/// Counts a connection as long as it is open.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

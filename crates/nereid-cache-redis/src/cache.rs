//! [`RedisCache`]: a queue of looks and insertions, and threads that take them to Redis. Whoever asks never waits.
//!
//! While Redis does not answer, looks find nothing at once and insertions are dropped; the thread that noticed tries
//! again from time to time.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use nereid_core::cache::{CacheKey, Found, SharedCache};
use nereid_core::{Error, InferResponse, Result, Timestamp};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::client::Client;
use crate::codec;
use crate::health::Health;
use crate::settings::Settings;

/// Looks that may wait for a thread.
const MAX_LOOKS: usize = 4096;
/// Bytes of insertions that may wait for a thread; what is more is not stored.
const MAX_INSERTION_BYTES: usize = 64 << 20;

/// A response cache in Redis.
pub struct RedisCache {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    /// Something to do, or the end.
    work: Condvar,
    /// The end, for the thread that waits until it tries again.
    stop: Condvar,
}

#[derive(Default)]
struct State {
    looks: VecDeque<Look>,
    insertions: VecDeque<(CacheKey, Vec<u8>)>,
    insertion_bytes: usize,
    health: Health,
    /// The log has that Redis answers, but not with what it should; once per connection to Redis is enough.
    complained: bool,
    stopping: bool,
}

struct Look {
    key: CacheKey,
    found: Found,
    since: Timestamp,
}

enum Job {
    Look(Look),
    Insert(CacheKey, Vec<u8>),
}

impl RedisCache {
    /// Connects, and starts the threads. Waits for Redis.
    ///
    /// # Errors
    /// Redis cannot be reached or does not want us, or the system refuses a thread.
    pub fn connect(settings: Settings) -> Result<Self> {
        let failed = |why: String| Error::internal(format!("Failed to initialize RedisCache: {why}"));
        let mut first = Client::new(settings.clone());
        first.connect().map_err(failed)?;
        let mut clients = vec![first];
        clients.extend((1..settings.pool_size).map(|_| Client::new(settings.clone())));
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::default(),
            work: Condvar::new(),
            stop: Condvar::new(),
        });
        let cache = Self { shared };
        for client in clients {
            let shared = cache.shared.clone();
            let started =
                thread::Builder::new().name("redis-cache".into()).spawn(move || shared.serve(client));
            started.map_err(|e| failed(format!("cannot start a thread: {e}")))?;
        }
        Ok(cache)
    }
}

impl SharedCache for RedisCache {
    fn look_up(&self, key: CacheKey, found: Found) -> Result<(), Found> {
        let mut state = self.shared.state.lock();
        if !state.health.is_up() || state.looks.len() >= MAX_LOOKS || state.stopping {
            return Err(found);
        }
        state.looks.push_back(Look { key, found, since: Timestamp::now() });
        self.shared.work.notify_one();
        Ok(())
    }

    fn insert(&self, key: CacheKey, response: &InferResponse) {
        let room = |state: &State, bytes: usize| {
            state.health.is_up() && !state.stopping && state.insertion_bytes + bytes <= MAX_INSERTION_BYTES
        };
        let data = response.outputs.iter().map(|output| output.data.len()).fold(0, usize::saturating_add);
        if data > MAX_INSERTION_BYTES || !room(&self.shared.state.lock(), data) {
            return;
        }
        let Some(value) = codec::encode(response) else { return };
        let mut state = self.shared.state.lock();
        if room(&state, value.len()) {
            state.insertion_bytes += value.len();
            state.insertions.push_back((key, value));
            self.shared.work.notify_one();
        }
    }
}

impl Shared {
    /// The life of a thread.
    fn serve(&self, mut client: Client) {
        let mut state = self.state.lock();
        loop {
            let Some(job) = state.next() else {
                if state.stopping {
                    return;
                }
                self.work.wait(&mut state);
                continue;
            };
            drop(state);
            let failed = match job {
                Job::Look(look) => self.look(look, &mut client).err(),
                Job::Insert(key, value) => self.store(key, &value, &mut client).err(),
            };
            state = self.state.lock();
            if let Some(why) = failed {
                state = self.wait_out(state, &why, &mut client);
            }
        }
    }

    /// # Errors
    /// Redis does not answer; the look found nothing.
    fn look(&self, look: Look, client: &mut Client) -> Result<(), String> {
        let Look { key, found, since } = look;
        if Timestamp::now().since(since) > self.settings.wait_timeout {
            tell(found, None);
            return Ok(());
        }
        let got = client.get(key);
        let (bytes, failed) = match got {
            Ok(bytes) => (bytes, None),
            Err(why) => (None, Some(why)),
        };
        tell(found, bytes);
        failed.map_or(Ok(()), |why| self.complain(why, client))
    }

    /// # Errors
    /// Redis does not answer.
    fn store(&self, key: CacheKey, value: &[u8], client: &mut Client) -> Result<(), String> {
        let stored = client.set(key, value);
        self.state.lock().insertion_bytes -= value.len();
        stored.or_else(|why| self.complain(why, client))
    }

    /// # Errors
    /// `why`, if it was no answer. An answer that is a refusal is no reason to do without Redis.
    fn complain(&self, why: String, client: &Client) -> Result<(), String> {
        if !client.is_connected() {
            return Err(why);
        }
        if !std::mem::replace(&mut self.state.lock().complained, true) {
            tracing::warn!("Redis, the response cache, refuses: {why}");
        }
        Ok(())
    }

    /// Redis does not answer: nobody waits for it any more, and this thread tries again until it does. Another thread
    /// that comes to the same end meanwhile goes back to waiting for work, of which there is none.
    fn wait_out<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        why: &str,
        client: &mut Client,
    ) -> MutexGuard<'a, State> {
        if !state.health.is_up() || !state.health.failed(Timestamp::now()) {
            return state;
        }
        tracing::error!("the response cache in Redis is gone, requests run without it: {why}");
        loop {
            let looks = state.give_up();
            MutexGuard::unlocked(&mut state, || looks.into_iter().for_each(|look| tell(look.found, None)));
            let next = state.health.next_attempt();
            while !state.stopping && next.is_some_and(|next| Timestamp::now() < next) {
                let rest = next.map_or(Duration::ZERO, |next| next.since(Timestamp::now()));
                self.stop.wait_for(&mut state, rest);
            }
            if state.stopping {
                return state;
            }
            let connected = MutexGuard::unlocked(&mut state, || client.connect());
            let now = Timestamp::now();
            match connected {
                Ok(()) => {
                    let outage_ns = state.health.recovered(now).unwrap_or(0);
                    state.complained = false;
                    tracing::info!("the response cache in Redis is back after {} ms", outage_ns / 1_000_000);
                    return state;
                }
                Err(_) => state.health.failed(now),
            };
        }
    }
}

impl State {
    /// What is to be done next; looks first, because requests wait for them.
    fn next(&mut self) -> Option<Job> {
        let look = self.looks.pop_front().map(Job::Look);
        look.or_else(|| self.insertions.pop_front().map(|(key, value)| Job::Insert(key, value)))
    }

    /// Drops insertions; the looks are to be told that there is nothing.
    fn give_up(&mut self) -> VecDeque<Look> {
        let dropped: usize = self.insertions.drain(..).map(|(_, value)| value.len()).sum();
        self.insertion_bytes -= dropped;
        std::mem::take(&mut self.looks)
    }
}

/// Tells whoever asked. What they do with it must not end the thread.
fn tell(found: Found, bytes: Option<Bytes>) {
    let told = catch_unwind(AssertUnwindSafe(|| found(bytes.and_then(codec::decode))));
    if told.is_err() {
        tracing::error!("a panic while a request went on after its look into Redis");
    }
}

impl Drop for RedisCache {
    /// Ends the threads: what waits is told, as far as Redis answers.
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.work.notify_all();
        self.shared.stop.notify_all();
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisCache").field(&self.shared.settings).finish()
    }
}

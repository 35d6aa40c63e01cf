//! Whether requests are logged, and the way to whoever writes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Extensions;
use nereid_core::{Error, Result};
use parking_lot::Mutex;

use super::around::Logged;
use super::request::{Access, Caller};
use super::writer::Writer;
use crate::logging::LogControl;
use crate::serve::{HttpService, Protocol};

/// The access log. Clones share it.
#[derive(Debug, Clone)]
pub struct AccessLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    on: AtomicBool,
    log: LogControl,
    /// From the first time that the access log is switched on.
    writer: OnceLock<Writer>,
    /// Held while it is switched.
    switching: Mutex<()>,
}

impl AccessLog {
    /// An access log that is off and would write to `log`.
    pub fn new(log: LogControl) -> Self {
        let (writer, switching) = (OnceLock::new(), Mutex::new(()));
        Self(Arc::new(Shared { on: AtomicBool::new(false), log, writer, switching }))
    }

    /// From now on requests are logged, or not.
    ///
    /// # Errors
    /// Unavailable if the system refuses a thread.
    pub fn switch(&self, on: bool) -> Result<()> {
        let _switching = self.0.switching.lock();
        if on && self.0.writer.get().is_none() {
            let writer = Writer::start(self.0.log.clone())
                .map_err(|e| Error::unavailable(format!("cannot start to write the access log: {e}")))?;
            self.0.writer.get_or_init(|| writer);
        }
        self.0.on.store(on, Relaxed);
        Ok(())
    }

    /// Whether requests are logged.
    pub fn is_on(&self) -> bool {
        self.0.on.load(Relaxed)
    }

    /// Logs what `service` answers over `protocol`: gives what answers the requests of one connection.
    pub fn around<S: HttpService>(
        &self,
        service: S,
        protocol: Protocol,
    ) -> impl Fn(Option<SocketAddr>) -> Logged<S> + Clone + Send + use<S> {
        let log = self.clone();
        move |client| Logged::new(service.clone(), log.clone(), protocol, client)
    }

    /// The line of the request with these `extensions`, if it has one.
    pub(crate) fn of(&self, extensions: &Extensions) -> Access {
        match self.is_on() {
            true => extensions.get::<Access>().cloned().unwrap_or_default(),
            false => Access::default(),
        }
    }

    /// Begins the line of a request that came now from `caller`, if it is to have one.
    pub(crate) fn begin(&self, caller: &Caller) -> Access {
        match self.0.writer.get().filter(|_| self.is_on()) {
            Some(writer) => Access::begin(caller.clone(), writer.clone()),
            None => Access::default(),
        }
    }

    /// Writes what there is, for at most `limit`. Nothing is logged from now on.
    pub fn finish(&self, limit: Duration) {
        self.0.on.store(false, Relaxed);
        if let Some(writer) = self.0.writer.get() {
            writer.finish(limit);
        }
    }
}

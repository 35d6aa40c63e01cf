//! The settings of the running server and the choice of the requests that are traced.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use nereid_core::{Error, Result, Timestamp};
use parking_lot::Mutex;

use super::context::{Origin, TraceContext};
use super::live::{self, Live, Sample};
use super::otlp::Exporter;
use super::record::{Event, Trace};
use super::settings::{Layer, Mode, TraceOptions, Update, Values};
use super::sink::Sink;
use super::writer::Writer;

/// Settings and sampling of traces. Clones share them; the default traces nothing.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Arc<Shared>);

/// Settings as a client sees them.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The count is what is left of it.
    pub values: Values,
    pub file: &'a str,
    pub mode: Mode,
    pub others: &'a [(String, String)],
}

/// A request that may be traced: when it came, and the trace of its client.
#[derive(Debug)]
pub struct Arrived {
    at: Timestamp,
    context: Option<Arc<TraceContext>>,
}

#[derive(Debug)]
struct Shared {
    /// Some request may be traced.
    on: AtomicBool,
    table: ArcSwap<Table>,
    /// Held while settings change.
    changing: Mutex<()>,
    options: TraceOptions,
    lives: live::Shared,
    next_settings: AtomicU64,
}

/// All settings in use.
#[derive(Debug)]
struct Table {
    global: Arc<Live>,
    /// Those of models that have any of their own, by name. As in Triton they stay when a model is unloaded.
    models: HashMap<String, Arc<Live>>,
}

impl Tracer {
    /// Puts the settings of the command line to use.
    ///
    /// # Errors
    /// The system refuses a thread, or what TLS needs cannot be read.
    pub fn start(options: TraceOptions) -> std::io::Result<Self> {
        let sink = match options.mode {
            // The file never changes, so without one nothing will ever be written.
            Mode::Triton if options.file.is_empty() => None,
            Mode::Triton => Some(Sink::Files(Writer::start((&options.file).into())?)),
            Mode::OpenTelemetry => Some(Sink::Collector(Exporter::start(options.otlp.clone())?)),
        };
        Ok(Self(Arc::new(Shared::new(options, sink))))
    }

    /// What [`Self::sample`] wants to know of a request that comes now, if some request may be traced. `context` tells
    /// of the client's trace, and is asked only where it matters.
    pub fn arrived(&self, context: impl FnOnce() -> Option<Arc<TraceContext>>) -> Option<Arrived> {
        let Shared { on, options, .. } = &*self.0;
        on.load(Relaxed).then(|| Arrived {
            at: Timestamp::now(),
            context: if options.mode == Mode::OpenTelemetry { context() } else { None },
        })
    }

    /// Counts a request to `model` that has `arrived`, and begins its trace with `events` at that moment if it is the
    /// request's turn.
    pub fn sample(&self, model: &str, arrived: Option<Arrived>, events: &[Event]) -> Trace {
        let Some(Arrived { at, context }) = arrived else { return Trace::default() };
        let mut trace = self.0.sample(model, context);
        for event in events {
            trace.mark_at(*event, at);
        }
        trace
    }

    /// Whether requests to `model` may be traced with their tensors.
    pub(crate) fn traces_tensors(&self, model: &str) -> bool {
        let traces = |live: &Live| live.traces() && live.writes_tensors();
        self.0.on.load(Relaxed) && traces(self.0.table.load().of(model))
    }

    /// The settings of `model`, or with an empty name those of all models without their own.
    pub fn shown(&self, model: &str) -> Shown<'_> {
        let TraceOptions { file, mode, others, .. } = &self.0.options;
        Shown { values: self.0.table.load().of(model).now(), file, mode: *mode, others }
    }

    /// Changes the settings of `model`, or with an empty name those of all models, as far as they have none of their
    /// own. Requests that are being traced finish under the settings they began under.
    ///
    /// # Errors
    /// InvalidArg for settings that would trace and cannot.
    pub fn update(&self, model: &str, update: &Update) -> Result<()> {
        self.0.update(model, update)
    }

    /// Writes all traces and closes the files, for at most `limit`. Nothing is traced from now on.
    pub fn finish(&self, limit: Duration) {
        self.0.on.store(false, Relaxed);
        if let Some(sink) = &self.0.lives.sink {
            sink.finish(limit);
        }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new(TraceOptions::default(), None)
    }
}

impl Table {
    fn of(&self, model: &str) -> &Arc<Live> {
        self.models.get(model).unwrap_or(&self.global)
    }

    fn traces(&self) -> bool {
        self.global.traces() || self.models.values().any(|live| live.traces())
    }
}

impl Shared {
    fn new(options: TraceOptions, sink: Option<Sink>) -> Self {
        let lives = live::Shared { sink, next_trace: Arc::new(AtomicU64::new(1)) };
        let global = Live::new(0, Layer::default(), options.values, &options, &lives);
        let table = Table { global: Arc::new(global), models: HashMap::new() };
        Self {
            on: AtomicBool::new(table.traces()),
            table: ArcSwap::from_pointee(table),
            changing: Mutex::new(()),
            options,
            lives,
            next_settings: AtomicU64::new(1),
        }
    }

    fn sample(&self, model: &str, context: Option<Arc<TraceContext>>) -> Trace {
        let table = self.table.load();
        let live = table.of(model);
        let left_out = |context: &TraceContext| !context.sampled && self.options.otlp.parent_based;
        if context.as_deref().is_some_and(left_out) {
            return Trace::default();
        }
        let sample = live.sample(context.is_some());
        if sample == Sample::No {
            return Trace::default();
        }
        let trace = Trace::new(live.clone(), Origin::new(context));
        if sample == Sample::Last {
            drop(table);
            let _changing = self.changing.lock();
            self.on.store(self.table.load().traces(), Relaxed);
        }
        trace
    }

    fn update(&self, model: &str, update: &Update) -> Result<()> {
        let _changing = self.changing.lock();
        let table = self.table.load_full();
        let mut global = table.global.clone();
        let mut models = table.models.clone();
        let mut outcome = Ok(());
        if model.is_empty() {
            global = self.live(global.layer().updated(update), &self.options.values)?;
            for live in models.values_mut() {
                match self.live(live.layer(), &global.values) {
                    Ok(mirroring) => *live = mirroring,
                    Err(error) => outcome = Err(error),
                }
            }
        } else {
            let layer = models.get(model).map(|live| live.layer()).unwrap_or_default().updated(update);
            if layer.is_empty() {
                models.remove(model);
            } else {
                models.insert(model.to_owned(), self.live(layer, &global.now())?);
            }
        }
        let table = Table { global, models };
        self.on.store(table.traces(), Relaxed);
        self.table.store(Arc::new(table));
        outcome
    }

    /// Puts `layer` to use.
    fn live(&self, layer: Layer, below: &Values) -> Result<Arc<Live>> {
        let values = layer.over(below);
        if let Some(reason) = self.options.refusal(&values).filter(|_| !values.level.is_off()) {
            return Err(Error::invalid_arg(format!("Attempting to set invalid trace setting :{reason}")));
        }
        let id = self.next_settings.fetch_add(1, Relaxed);
        Ok(Arc::new(Live::new(id, layer, values, &self.options, &self.lives)))
    }
}

//! The page: collects what there is to show, and has it written.

use std::collections::BTreeMap;
use std::sync::Arc;

use nereid_scheduler::ResponseCache;

use super::families::{self, ServerValues};
use super::host::Host;
use super::limits::Limits;
use super::sample::{Sample, Serving};
use super::{GpuReadings, MetricsOptions, custom};
use crate::service::Service;

/// Everything that the page is made of.
#[derive(Debug)]
pub(crate) struct Page {
    service: Arc<Service>,
    options: MetricsOptions,
    host: Option<Host>,
    gpus: Option<GpuReadings>,
}

impl Page {
    /// The metrics of the models of `service`, and of `gpus`.
    pub(crate) fn new(service: Arc<Service>, options: MetricsOptions, gpus: Option<GpuReadings>) -> Self {
        let host = options.cpu.then(|| Host::new(options.interval));
        Self { service, options, host, gpus }
    }

    /// The page as it is now: one series per labels and family, zeros included. Its cost grows with the number of
    /// series; requests wait only for a copy of their model's counters. Waits for the driver of the GPUs, for a moment.
    pub(crate) fn render(&mut self) -> String {
        let repository = self.service.repository();
        let loaded = repository.loaded();
        let mut serving: BTreeMap<_, _> =
            loaded.iter().map(|model| (model.series(), Serving::of(model))).collect();
        drop(loaded);
        let series = repository.reporters().series().into_iter();
        let samples: Vec<_> = series
            .map(|series| {
                let serving = match series.id.gpu_uuid {
                    None => serving.remove(&series.id),
                    Some(_) => series.live.as_ref().map(|_| Serving::default()),
                };
                Sample::new(series, serving)
            })
            .collect();
        let host = self.host.as_mut().map(Host::values);
        let cache = repository.cache().and_then(ResponseCache::values);
        let gpus = self.gpus.as_ref().map(GpuReadings::values).unwrap_or_default();
        let pinned = self.service.gpus().pinned_memory();
        let models = repository.readiness();
        let ready = self.service.ready().unwrap_or(false);
        let limits = Limits::now(&self.service);
        let server = ServerValues { host, cache, gpus, pinned, models, ready, limits };
        let custom: Vec<_> = repository.backends().iter().flat_map(|backend| backend.counters()).collect();
        families::render(&samples, &server, &self.options) + &custom::render(&custom)
    }
}

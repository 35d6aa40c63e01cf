//! The spine: look up a ready model, validate, enqueue, await. Both frontends call it and nothing deeper.

use std::borrow::Borrow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use nereid_core::{
    Continuation, Error, InferRequest, InferResponse, Respond, Responder, Result, ValidRequest,
};
use nereid_repository::{ModelVersion, Repository};
use nereid_scheduler::{Lead, Queued, Ticket};
use tokio::sync::{Semaphore, oneshot};

use crate::access::AccessLog;
use crate::container::Container;
use crate::gpus::Gpus;
use crate::in_flight::{Budget, Limit};
use crate::logging::LogControl;
use crate::off_the_loop::off_the_loop;
use crate::shared_memory::SharedMemory;
use crate::trace::{Trace, Tracer};
use crate::verbose::Verbose;

/// Loads and unloads that run, or wait for others of the same model, at the same time. Each has a thread until its end,
/// of the 512 that there are per event loop for everything that takes long.
const MAX_CONTROLS: usize = 128;

/// What the frontends serve.
#[derive(Debug)]
pub struct Service {
    repository: Arc<Repository>,
    /// Name that the server gives itself (`--id`).
    id: String,
    shared_memory: SharedMemory,
    /// The server ends soon, and serves until then.
    leaving: AtomicBool,
    exiting: AtomicBool,
    controls: Arc<Semaphore>,
    log: LogControl,
    access: AccessLog,
    tracer: Tracer,
    gpus: Gpus,
    budget: Budget,
    container: Container,
}

/// What a server is told about itself.
#[derive(Debug, Clone, Default)]
pub struct ServiceOptions {
    /// Name that the server gives itself (`--id`).
    pub id: String,
    /// Clients may register shared memory (`--allow-client-shm`).
    pub allow_client_shm: bool,
}

impl Service {
    /// Serves the models of `repository`.
    pub fn new(repository: impl Into<Arc<Repository>>, options: ServiceOptions) -> Self {
        let ServiceOptions { id, allow_client_shm } = options;
        let shared_memory = SharedMemory::new(allow_client_shm);
        let (log, tracer) = (LogControl::detached(), Tracer::default());
        Self {
            repository: repository.into(),
            id,
            shared_memory,
            leaving: AtomicBool::new(false),
            exiting: AtomicBool::new(false),
            controls: Arc::new(Semaphore::new(MAX_CONTROLS)),
            access: AccessLog::new(log.clone()),
            log,
            tracer,
            gpus: Gpus::default(),
            budget: Budget::new(Limit::None),
            container: Container::default(),
        }
    }

    /// With the GPUs that models use.
    #[must_use]
    pub(crate) fn with_gpus(self, gpus: Gpus) -> Self {
        Self { gpus, ..self }
    }

    /// With a bound on the memory of requests in flight.
    #[must_use]
    pub(crate) fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// With what the process may use.
    #[must_use]
    pub(crate) fn with_container(self, container: Container) -> Self {
        Self { container, ..self }
    }

    /// What the process may use.
    pub(crate) fn container(&self) -> &Container {
        &self.container
    }

    /// What the memory of requests is taken from.
    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    /// The GPUs that models use.
    pub(crate) fn gpus(&self) -> &Gpus {
        &self.gpus
    }

    /// With the log that clients see and change, and with traces of requests.
    #[must_use]
    pub fn with_log_and_traces(self, log: LogControl, tracer: Tracer) -> Self {
        Self { access: AccessLog::new(log.clone()), log, tracer, ..self }
    }

    /// The log.
    pub fn log(&self) -> &LogControl {
        &self.log
    }

    /// The access log, off unless somebody has switched it on.
    pub fn access(&self) -> &AccessLog {
        &self.access
    }

    /// The traces.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// The models.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Name of the server.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The regions that clients have registered.
    pub(crate) fn shared_memory(&self) -> &SharedMemory {
        &self.shared_memory
    }

    /// From now on the server is not ready. It is live, since whoever asks for that would end it before its time.
    pub fn set_leaving(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// From now on the server is neither live nor ready. Loads that warm a model up fail: it would not serve any more.
    pub fn set_exiting(&self) {
        self.exiting.store(true, Ordering::Relaxed);
        self.repository.stop_warm_ups();
    }

    /// Whether the server runs.
    ///
    /// # Errors
    /// `Unavailable` when it is about to exit.
    pub fn live(&self) -> Result<bool> {
        stays(&self.exiting)
    }

    /// Whether the models are ready, as far as `--ready-when` asks.
    ///
    /// # Errors
    /// `Unavailable` when the server is about to exit, or to be.
    pub fn ready(&self) -> Result<bool> {
        Ok(stays(&self.leaving)? && self.live()? && self.repository.is_ready())
    }

    /// The ready version of a model; `None` means the highest.
    ///
    /// # Errors
    /// Triton's `Request for unknown model: …`.
    pub fn model(&self, name: &str, version: Option<u64>) -> Result<Arc<ModelVersion>> {
        self.repository.find(name, version)
    }

    /// The GPU on which requests to `model` may have tensors. `None`: the model does not take them there, or traces show
    /// them.
    pub(crate) fn device_memory(&self, model: &ModelVersion) -> Option<i32> {
        model.device_memory().filter(|_| !self.tracer.traces_tensors(&model.id.name))
    }

    /// Does what may wait for a disk or a model, hence not on an event loop.
    ///
    /// # Errors
    /// Those of `action`.
    pub async fn off_the_loop<T: Send + 'static>(
        self: Arc<Self>,
        action: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        off_the_loop(move || action(&self)).await
    }

    /// Loads or unloads models: as [`Self::off_the_loop`], but not more than [`MAX_CONTROLS`] at the same time. What
    /// has begun goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// Those of `action`.
    pub(crate) async fn control<T: Send + 'static>(
        self: Arc<Self>,
        action: impl FnOnce(&Repository) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.controls.clone().acquire_owned().await.expect("never closed");
        self.off_the_loop(move |service| {
            let result = service.budget.around(|| action(&service.repository));
            drop(turn);
            result
        })
        .await
    }

    /// Runs one request on `model` and tells `trace` what happens. Dropping the future cancels the request.
    ///
    /// # Errors
    /// The request does not fit the model, the queue refuses it, or the model fails.
    pub async fn infer(
        &self,
        model: &ModelVersion,
        request: InferRequest,
        trace: &mut Trace,
    ) -> Result<InferResponse> {
        let answer = self.start(model, request, trace)?.await;
        trace.ended(&answer);
        answer
    }

    /// Puts one request into the queue of `model`, at once: requests that are started in order wait in order. Whoever
    /// gets the answer tells `trace` that the request has ended.
    ///
    /// # Errors
    /// The request does not fit the model, or the queue refuses it; `trace` knows then.
    pub(crate) fn start<M>(&self, model: M, request: InferRequest, trace: &mut Trace) -> Result<Pending<M>>
    where
        M: Borrow<ModelVersion> + Unpin,
    {
        let verbose = Verbose::of(model.borrow(), &request);
        match queue(model.borrow(), request, trace) {
            Ok((ticket, receiver)) => Ok(Pending { model, open: Some((ticket, verbose)), receiver }),
            Err(error) => {
                let refused = Err(error.clone());
                trace.ended(&refused);
                verbose.answered(&refused);
                Err(error)
            }
        }
    }
}

fn stays(ends: &AtomicBool) -> Result<bool> {
    if ends.load(Ordering::Relaxed) { Err(Error::unavailable("Server exiting")) } else { Ok(true) }
}

type Receiver = oneshot::Receiver<Result<InferResponse>>;

fn queue(model: &ModelVersion, request: InferRequest, trace: &mut Trace) -> Result<(Ticket, Receiver)> {
    let mut request = ValidRequest::new(request, &model.config)?;
    trace.started(model, &mut request);
    let (sender, receiver) = oneshot::channel();
    let Queued { ticket, lead } = model.scheduler().enqueue(request, Responder::new(Waiting(sender)))?;
    if let Some(lead) = lead {
        // Not part of the answer's future: the batch is not one caller's alone to cancel.
        tokio::spawn(drive(lead));
    }
    Ok((ticket, receiver))
}

/// An answer to come. Dropping it before it has come cancels the request.
pub(crate) struct Pending<M: Borrow<ModelVersion>> {
    model: M,
    /// Until the answer is here.
    open: Option<(Ticket, Verbose)>,
    receiver: Receiver,
}

impl<M: Borrow<ModelVersion>> Pending<M> {
    /// The version that answers.
    pub(crate) fn model(&self) -> &ModelVersion {
        self.model.borrow()
    }
}

impl<M: Borrow<ModelVersion> + Unpin> Future for Pending<M> {
    type Output = Result<InferResponse>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.receiver).poll(context));
        let dropped = |_| Err(Error::internal("inference request was dropped unanswered").accepted());
        let answer = answer.unwrap_or_else(dropped);
        if let Some((_, verbose)) = self.open.take() {
            verbose.answered(&answer);
        }
        Poll::Ready(answer)
    }
}

impl<M: Borrow<ModelVersion>> Drop for Pending<M> {
    fn drop(&mut self) {
        if let Some((ticket, _)) = self.open.take() {
            self.model().scheduler().cancel(ticket);
        }
    }
}

/// Runs a fast model's batches on this thread, letting other requests arrive in between.
async fn drive(mut lead: Lead) {
    loop {
        tokio::task::yield_now().await;
        if !lead.run() {
            return;
        }
    }
}

/// A frontend that waits for its answer.
struct Waiting(oneshot::Sender<Result<InferResponse>>);

impl Respond for Waiting {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        drop(self.0.send(result)); // fails only when the client has gone
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Waker;

    use super::*;

    #[tokio::test]
    async fn loads_that_hang_leave_threads_for_others() {
        let repository = Repository::open(nereid_repository::Options::default(), Vec::new()).unwrap();
        let service = Arc::new(Service::new(repository, ServiceOptions::default()));
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(parking_lot::Mutex::new(ended));
        let hang = || {
            let (service, ended) = (service.clone(), ended.clone());
            Box::pin(service.control(move |_| Ok(ended.lock().recv().is_ok())))
        };
        let mut hanging: Vec<_> = (0..2 * MAX_CONTROLS).map(|_| hang()).collect();
        for control in &mut hanging {
            assert_eq!(control.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        }
        assert_eq!(service.controls.available_permits(), 0);
        assert_eq!(service.clone().off_the_loop(|_| Ok(7)).await, Ok(7));
        drop(hanging.drain(..MAX_CONTROLS)); // nobody waits for these; they run all the same
        drop(end);
        for control in hanging {
            assert_eq!(control.await, Ok(false));
        }
    }
}

//! The cache in front of a scheduler: requests that were answered before are answered at once, identical ones that come
//! at the same time run once, and what ran is stored. The shell around [`super::flights`]: it owns the lock and the
//! clock. No thread of its own.
//!
//! Nobody is answered, and no scheduler called, under the lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nereid_core::cache::{CacheKey, SharedCache};
use nereid_core::config::Scheduling;
use nereid_core::{
    Continuation, Continuations, Error, InferResponse, ModelConfig, Respond, Responder, Result, Sequence,
    Timestamp, Timing, ValidRequest,
};
use parking_lot::Mutex;

use super::flights::{Boarded, Cancelled, Failed, Flights, Landed, Moments, Passenger, Seat};
use super::response_cache::{Local, ResponseCache, Store, TooLarge};
use super::{key, plausible};
use crate::kind::Kind;
use crate::statistics::FailureReason;
use crate::ticket::{Place, Ticket};
use crate::{Lead, ModelIdentity, Queued, Statistics};

/// The model that is served.
pub(crate) struct Front {
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) identity: ModelIdentity,
}

/// The cache in front of one version's scheduler.
pub(crate) struct Cached {
    front: Front,
    kind: Arc<Kind>,
    cache: Arc<ResponseCache>,
    flights: Mutex<Flights>,
    /// Answers must keep the order of requests, which one from the cache would overtake.
    ordered: bool,
    /// The log has that responses do not fit.
    too_large: AtomicBool,
}

/// A key, and the identity that went into it.
#[derive(Clone, Copy)]
struct Key {
    key: CacheKey,
    identity: ModelIdentity,
}

/// Takes the answer of a flight's run.
struct Arrival {
    cached: Arc<Cached>,
    flight: u64,
    key: Key,
    look_up_ns: u64,
}

impl Cached {
    pub(crate) fn new(front: Front, kind: Arc<Kind>, cache: Arc<ResponseCache>) -> Self {
        let scheduling = &front.config.scheduling;
        let ordered =
            matches!(scheduling, Scheduling::DynamicBatching(batching) if batching.preserve_ordering);
        Self { front, kind, cache, flights: Mutex::default(), ordered, too_large: AtomicBool::new(false) }
    }

    /// See [`crate::Scheduler::enqueue`].
    pub(crate) fn enqueue(self: &Arc<Self>, request: ValidRequest, responder: Responder) -> Result<Queued> {
        let arrived = Timestamp::now();
        // A sequence is more than its requests, whichever model of an ensemble it is for.
        let identity = match request.sequence() == &Sequence::default() {
            true => self.kind.identity(self.front.identity),
            false => None,
        };
        let Some(identity) = identity else { return self.kind.enqueue(request, responder) };
        let key = key::of(&identity, &self.front.config, &request);
        let look_start = Timestamp::now();
        let asked = Asked { key: Key { key, identity }, request, responder, arrived, look_start };
        if self.ordered && self.kind.is_busy() {
            let key = asked.key;
            let (passenger, _) = asked.passenger();
            let seat = self.flights.lock().charter(key.key, passenger);
            return self.run(seat, key, 0);
        }
        match &self.cache.store {
            Store::Local(local) => self.enqueue_local(local, asked),
            Store::Shared(shared) => self.enqueue_shared(&shared.clone(), asked),
        }
    }

    fn enqueue_local(self: &Arc<Self>, local: &Local, asked: Asked) -> Result<Queued> {
        let key = asked.key;
        if let Some(stored) = local.get(&key.key) {
            let moments = asked.moments();
            let timing = self.hit(moments, moments.look_end);
            drop(asked.responder.respond(Ok(stored.recall(timing))));
            return Ok(Queued { ticket: Ticket(Place::Answered), lead: None });
        }
        let (passenger, look_up_ns) = asked.passenger();
        let boarded = self.flights.lock().board(key.key, passenger);
        match boarded {
            Boarded::Joined(seat) => Ok(waits(seat)),
            Boarded::First(seat) => {
                // Another's run may have ended between the two looks.
                if let Some(stored) = local.get(&key.key) {
                    self.answer_found(seat.flight, &stored.recall(Timing::default()), None);
                    return Ok(waits(seat));
                }
                self.run(seat, key, look_up_ns)
            }
        }
    }

    fn enqueue_shared(self: &Arc<Self>, shared: &Arc<dyn SharedCache>, asked: Asked) -> Result<Queued> {
        let key = asked.key;
        let (passenger, _) = asked.passenger();
        let boarded = self.flights.lock().board(key.key, passenger);
        let seat = match boarded {
            Boarded::Joined(seat) => return Ok(waits(seat)),
            Boarded::First(seat) => seat,
        };
        let look = Look { cached: self.clone(), flight: seat.flight, key, start: Timestamp::now() };
        match shared.look_up(key.key, Box::new(move |found| look.found(found))) {
            Ok(()) => Ok(waits(seat)),
            // The look is dropped when the run has begun already.
            Err(_look) => self.run(seat, key, 0),
        }
    }

    /// See [`crate::Scheduler::cancel`].
    pub(crate) fn cancel(&self, seat: Seat) {
        let cancelled = self.flights.lock().cancel(seat);
        match cancelled {
            Cancelled::Nothing => {}
            Cancelled::Stop(ticket) => self.kind.cancel(ticket),
            Cancelled::Left(passenger) => {
                self.fail(*passenger, FailureReason::Canceled, Error::cancelled());
            }
        }
    }

    /// Hands the first request of a flight to the scheduler, which may refuse it. Nobody knows of it yet but whoever
    /// calls.
    fn run(self: &Arc<Self>, seat: Seat, key: Key, look_up_ns: u64) -> Result<Queued> {
        let Some(request) = self.flights.lock().start(seat.flight) else { return Ok(waits(seat)) };
        self.cache.count_miss(look_up_ns);
        match self.hand_over(seat.flight, key, look_up_ns, request) {
            Ok(lead) => Ok(Queued { ticket: Ticket(Place::Flight(seat)), lead }),
            Err(error) => {
                let failed = self.flights.lock().fail(seat.flight);
                if let Some(first) = failed.first {
                    first.responder.forget();
                }
                self.run_again(key, failed.again);
                Err(error)
            }
        }
    }

    /// [`Self::run`] for requests that were accepted: there is an answer for each, whatever comes.
    fn run_accepted(self: &Arc<Self>, flight: u64, key: Key, look_up_ns: u64) {
        let Some(request) = self.flights.lock().start(flight) else { return };
        self.cache.count_miss(look_up_ns);
        self.hand_over_accepted(flight, key, look_up_ns, request);
    }

    fn hand_over_accepted(self: &Arc<Self>, flight: u64, key: Key, look_up_ns: u64, request: ValidRequest) {
        // A lead is left to the instances' threads.
        if let Err(error) = self.hand_over(flight, key, look_up_ns, request) {
            let Failed { first, again } = self.flights.lock().fail(flight);
            if let Some(first) = first {
                self.fail(first, FailureReason::Rejected, error);
            }
            self.run_again(key, again);
        }
    }

    fn run_again(self: &Arc<Self>, key: Key, again: Vec<(u64, ValidRequest)>) {
        for (flight, request) in again {
            self.cache.count_miss(0);
            self.hand_over_accepted(flight, key, 0, request);
        }
    }

    fn hand_over(
        self: &Arc<Self>,
        flight: u64,
        key: Key,
        look_up_ns: u64,
        request: ValidRequest,
    ) -> Result<Option<Lead>> {
        let arrival = Arrival { cached: self.clone(), flight, key, look_up_ns };
        let Queued { ticket, lead } = self.kind.enqueue(request, Responder::new(arrival))?;
        let abandoned = self.flights.lock().accepted(flight, ticket);
        if let Some(ticket) = abandoned {
            self.kind.cancel(ticket);
        }
        Ok(lead)
    }

    /// Answers everybody on a flight with what was in the cache, where the look ended at `look_end` if not before.
    fn answer_found(&self, flight: u64, response: &InferResponse, look_end: Option<Timestamp>) {
        let Landed { first, others } = self.flights.lock().land(flight);
        let passengers = first.into_iter().chain(others).map(|mut passenger| {
            passenger.moments.look_end = look_end.unwrap_or(passenger.moments.look_end);
            passenger
        });
        drop(self.answer_hits(passengers, response)); // what that makes possible is left to others
    }

    fn answer_hits(
        &self,
        passengers: impl Iterator<Item = Passenger>,
        response: &InferResponse,
    ) -> Continuations {
        let now = Timestamp::now();
        let mut later = Continuations::default();
        for Passenger { responder, moments, .. } in passengers {
            let timing = self.hit(moments, now);
            later.add(responder.respond(Ok(InferResponse { timing, ..response.clone() })));
        }
        later
    }

    /// Counts a request that is answered `now` without a run of its own.
    fn hit(&self, moments: Moments, now: Timestamp) -> Timing {
        let Moments { arrived, look_start, look_end } = moments;
        let look_up_ns = look_end.ns_since(look_start);
        self.cache.count_hit(look_up_ns);
        self.front.statistics.record_cache_hit(arrived, look_up_ns, now);
        Timing {
            queue_start: arrived,
            compute_start: now,
            inputs_ready: now,
            compute_done: now,
            compute_end: now,
            cache_hit: true,
        }
    }

    /// Takes what a run gave.
    fn arrived(self: &Arc<Self>, arrival: &Arrival, result: Result<InferResponse>) -> Option<Continuation> {
        let Arrival { flight, key, look_up_ns, .. } = *arrival;
        match result {
            Ok(response) => {
                // Before the flight ends, so that whoever comes later finds one or the other.
                self.store(key, look_up_ns, &response);
                let Landed { first, others } = self.flights.lock().land(flight);
                let mut later = self.answer_hits(others.into_iter(), &response);
                later.add(first.and_then(|first| first.responder.respond(Ok(response))));
                later.into_one()
            }
            Err(error) => {
                let Failed { first, again } = self.flights.lock().fail(flight);
                self.run_again(key, again);
                first?.responder.respond(Err(error))
            }
        }
    }

    fn store(&self, key: Key, look_up_ns: u64, response: &InferResponse) {
        let start = Timestamp::now();
        if self.kind.identity(self.front.identity) != Some(key.identity) {
            // A model of the ensemble has been loaded anew meanwhile: which one made this?
            return self.front.statistics.record_cache_miss(look_up_ns, start);
        }
        let inserted = self.cache.insert(key.key, response);
        let end = Timestamp::now();
        let insertion_ns = end.ns_since(start);
        self.cache.count_insertion(insertion_ns);
        self.front.statistics.record_cache_miss(look_up_ns + insertion_ns, end);
        if let Err(TooLarge { weight, capacity }) = inserted
            && !self.too_large.swap(true, Relaxed)
        {
            tracing::error!(
                "Failed to insert key [{:?}] of model '{}' into response cache: Requested byte_size: {weight} is \
                 greater than total cache size: {capacity}. Further ones are not reported.",
                key.key,
                self.front.config.name
            );
        }
    }

    fn fail(&self, passenger: Passenger, reason: FailureReason, error: Error) {
        let elapsed_ns = Timestamp::now().ns_since(passenger.moments.arrived);
        self.front.statistics.record_failure(reason, elapsed_ns);
        drop(passenger.responder.respond(Err(error)));
    }
}

/// A look into a cache elsewhere, for everybody on a flight. One that is dropped found nothing.
struct Look {
    cached: Arc<Cached>,
    flight: u64,
    key: Key,
    start: Timestamp,
}

impl Look {
    fn found(self, response: Option<InferResponse>) {
        let Self { cached, flight, .. } = &self;
        if let Some(response) = response
            && plausible::is_plausible(&response, &cached.front.config)
        {
            cached.answer_found(*flight, &response, Some(Timestamp::now()));
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let look_up_ns = Timestamp::now().ns_since(self.start);
        self.cached.run_accepted(self.flight, self.key, look_up_ns);
    }
}

/// A request with its key.
struct Asked {
    key: Key,
    request: ValidRequest,
    responder: Responder,
    arrived: Timestamp,
    look_start: Timestamp,
}

impl Asked {
    /// The look ends now.
    fn moments(&self) -> Moments {
        let Self { arrived, look_start, .. } = *self;
        Moments { arrived, look_start, look_end: Timestamp::now() }
    }

    /// The look ends now and found nothing; it took so many nanoseconds.
    fn passenger(self) -> (Passenger, u64) {
        let moments = self.moments();
        let look_up_ns = moments.look_end.ns_since(moments.look_start);
        (Passenger { request: Some(self.request), responder: self.responder, moments }, look_up_ns)
    }
}

impl Respond for Arrival {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        self.cached.arrived(&self, result)
    }
}

/// What whoever sent a request gets while it waits for an answer that is on its way.
fn waits(seat: Seat) -> Queued {
    Queued { ticket: Ticket(Place::Flight(seat)), lead: None }
}

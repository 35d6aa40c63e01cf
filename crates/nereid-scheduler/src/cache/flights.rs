//! Who waits for the answer of whose run, so that identical requests that come at the same time run once. Pure: says
//! what is to be done, and neither runs nor answers anything.
//!
//! A flight is a run of the model, or a look into a shared cache that may become one, and the requests that wait for its
//! answer. The first of them is the one that runs. Nobody fails because somebody else's run failed or was cancelled: the
//! others keep their requests until the answer is there, and each runs on its own if it is an error. Only who would wait
//! equally long for the model joins.

use std::collections::HashMap;

use nereid_core::cache::CacheKey;
use nereid_core::{Responder, Timestamp, ValidRequest};

use crate::Ticket;

/// A request that waits for an answer.
#[derive(Debug)]
pub(crate) struct Passenger {
    /// What it needs to run on its own; gone while it does.
    pub(crate) request: Option<ValidRequest>,
    pub(crate) responder: Responder,
    pub(crate) moments: Moments,
}

/// When a request came and looked for its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) arrived: Timestamp,
    /// It had its key.
    pub(crate) look_start: Timestamp,
    /// It knew whether there was an answer.
    pub(crate) look_end: Timestamp,
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) flight: u64,
    /// Unique among all requests; that of a flight's first request is the flight's number.
    pub(crate) passenger: u64,
}

/// All flights of one version of a model.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    /// Those that others may join.
    open: HashMap<Route, u64>,
    flights: HashMap<u64, Flight>,
    next: u64,
}

/// Requests on the same route may share a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    key: CacheKey,
    priority: u64,
    timeout_us: u64,
}

#[derive(Debug)]
struct Flight {
    route: Route,
    /// In the order in which they came, by number.
    passengers: Vec<(u64, Passenger)>,
    run: Run,
}

#[derive(Debug)]
enum Run {
    /// An answer is looked for elsewhere.
    Looking,
    /// The model runs, or is about to.
    Started {
        ticket: Option<Ticket>,
        /// Nobody waits any more; the last one stays to take the answer.
        abandoned: bool,
    },
}

/// How a request got on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boarded {
    /// It is the first: an answer must be got.
    First(Seat),
    /// It waits for another's.
    Joined(Seat),
}

/// What a cancellation asks for.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// Nothing: the request is answered or will be soon, as cancelled if the run has no ticket yet.
    Nothing,
    /// To tell this one, which waits no more.
    Left(Box<Passenger>),
    /// To cancel the run, whose answer will then reach the request.
    Stop(Ticket),
}

/// Who gets an answer.
#[derive(Debug, Default)]
pub(crate) struct Landed {
    /// Who takes the answer as its own run's. Where the one whose run it was has left, the next takes its place.
    pub(crate) first: Option<Passenger>,
    pub(crate) others: Vec<Passenger>,
}

/// What becomes of those on a flight whose run gave an error.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    /// Whose run it was.
    pub(crate) first: Option<Passenger>,
    /// Each of the others is on a flight of its own now, which has started.
    pub(crate) again: Vec<(u64, ValidRequest)>,
}

impl Passenger {
    fn route(&self, key: CacheKey) -> Route {
        let request = self.request.as_ref();
        Route {
            key,
            priority: request.map_or(0, ValidRequest::priority),
            timeout_us: request.map_or(0, ValidRequest::timeout_us),
        }
    }
}

impl Flights {
    /// Lets a request on that has its `request`. It joins whoever is on the way to the same answer.
    pub(crate) fn board(&mut self, key: CacheKey, passenger: Passenger) -> Boarded {
        let route = passenger.route(key);
        let number = self.number();
        let joined = self.open.get(&route).copied();
        if let Some((number_of, flight)) = joined.and_then(|f| Some((f, self.flights.get_mut(&f)?))) {
            flight.passengers.push((number, passenger));
            return Boarded::Joined(Seat { flight: number_of, passenger: number });
        }
        self.open.insert(route, number);
        Boarded::First(self.take_off(number, route, passenger))
    }

    /// A flight that nobody may join.
    pub(crate) fn charter(&mut self, key: CacheKey, passenger: Passenger) -> Seat {
        let number = self.number();
        self.take_off(number, passenger.route(key), passenger)
    }

    /// The model is to run: the request, for the scheduler. `None` if there is nobody any more.
    pub(crate) fn start(&mut self, flight: u64) -> Option<ValidRequest> {
        let flight = self.flights.get_mut(&flight)?;
        let request = flight.passengers.first_mut()?.1.request.take()?;
        flight.run = Run::Started { ticket: None, abandoned: false };
        Some(request)
    }

    /// The scheduler took the request. Gives the ticket back if nobody waits for it any more, so that it is to be
    /// cancelled.
    pub(crate) fn accepted(&mut self, flight: u64, ticket: Ticket) -> Option<Ticket> {
        let run = self.flights.get_mut(&flight).map(|flight| &mut flight.run);
        match run? {
            Run::Started { abandoned: true, .. } => return Some(ticket),
            Run::Started { ticket: place, .. } => *place = Some(ticket),
            Run::Looking => {}
        }
        None
    }

    /// There is an answer for everybody.
    pub(crate) fn land(&mut self, flight: u64) -> Landed {
        let Some(flight) = self.remove(flight) else { return Landed::default() };
        let mut passengers = flight.passengers.into_iter().map(|(_, passenger)| passenger);
        Landed { first: passengers.next(), others: passengers.collect() }
    }

    /// The run gave an error, or the scheduler refused it.
    pub(crate) fn fail(&mut self, flight: u64) -> Failed {
        let Some(flight) = self.remove(flight) else { return Failed::default() };
        let mut failed = Failed::default();
        let abandoned = matches!(flight.run, Run::Started { abandoned: true, .. });
        for (number, mut passenger) in flight.passengers {
            match passenger.request.take() {
                Some(request) if !abandoned => {
                    let run = Run::Started { ticket: None, abandoned: false };
                    let passengers = vec![(number, passenger)];
                    self.flights.insert(number, Flight { route: flight.route, passengers, run });
                    failed.again.push((number, request));
                }
                _ => failed.first = Some(passenger),
            }
        }
        failed
    }

    /// Nobody waits for the request at `seat` any more.
    pub(crate) fn cancel(&mut self, seat: Seat) -> Cancelled {
        let Seat { flight, passenger } = seat;
        // It may have changed to a flight of its own.
        let found = [flight, passenger].into_iter().find_map(|number| {
            let passengers = &self.flights.get(&number)?.passengers;
            Some((number, passengers.iter().position(|(other, _)| *other == passenger)?))
        });
        let Some((number, index)) = found else { return Cancelled::Nothing };
        let Some(flight) = self.flights.get_mut(&number) else { return Cancelled::Nothing };
        let is_last = flight.passengers.len() == 1;
        if is_last && let Run::Started { ticket, abandoned } = &mut flight.run {
            *abandoned = true;
            let (ticket, route) = (ticket.clone(), flight.route);
            self.close(number, route);
            return ticket.map_or(Cancelled::Nothing, Cancelled::Stop);
        }
        let (_, passenger) = flight.passengers.remove(index);
        if is_last {
            self.remove(number);
        }
        Cancelled::Left(Box::new(passenger))
    }

    /// Whether no flight is under way.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.flights.is_empty()
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn take_off(&mut self, number: u64, route: Route, passenger: Passenger) -> Seat {
        self.flights
            .insert(number, Flight { route, passengers: vec![(number, passenger)], run: Run::Looking });
        Seat { flight: number, passenger: number }
    }

    fn remove(&mut self, number: u64) -> Option<Flight> {
        let flight = self.flights.remove(&number)?;
        self.close(number, flight.route);
        Some(flight)
    }

    /// Nobody may join flight `number` any more.
    fn close(&mut self, number: u64, route: Route) {
        if self.open.get(&route) == Some(&number) {
            self.open.remove(&route);
        }
    }
}

#[cfg(test)]
#[path = "flights_tests.rs"]
mod tests;

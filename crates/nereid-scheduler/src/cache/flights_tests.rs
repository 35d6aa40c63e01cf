use nereid_core::InferRequest;
use nereid_core::testing::{identity_config, identity_request};

use super::*;
use crate::ticket::Place;

const KEY: CacheKey = CacheKey([1; 32]);
const OTHER: CacheKey = CacheKey([2; 32]);
const TICKET: Ticket = Ticket(Place::Answered);

/// A request that tells itself from others by when it came.
fn passenger(name: u64) -> Passenger {
    with(name, InferRequest::default())
}

fn with(name: u64, options: InferRequest) -> Passenger {
    let config = identity_config(8);
    let request = match (options.priority, options.timeout_us) {
        (0, 0) => identity_request(&config, 1, 0.0),
        _ => {
            let inputs = vec![nereid_core::InputTensor {
                name: "INPUT0".into(),
                datatype: nereid_core::DataType::Fp32,
                shape: nereid_core::Shape::from_slice(&[1, 1]),
                data: vec![0; 4].into(),
            }];
            ValidRequest::new(InferRequest { inputs, ..options }, &config).unwrap()
        }
    };
    let at = Timestamp::from_ns(name);
    let moments = Moments { arrived: at, look_start: at, look_end: at };
    Passenger { request: Some(request), responder: Responder::nobody(), moments }
}

fn name(passenger: &Passenger) -> u64 {
    passenger.moments.arrived.as_ns()
}

fn first(boarded: Boarded) -> Seat {
    match boarded {
        Boarded::First(seat) => seat,
        Boarded::Joined(seat) => panic!("joined {seat:?}"),
    }
}

fn joined(boarded: Boarded) -> Seat {
    match boarded {
        Boarded::Joined(seat) => seat,
        Boarded::First(seat) => panic!("first at {seat:?}"),
    }
}

/// A flight that runs, with passengers 0 to `count`.
fn running(count: u64) -> (Flights, Vec<Seat>) {
    let mut flights = Flights::default();
    let mut seats = vec![first(flights.board(KEY, passenger(0)))];
    assert!(flights.start(seats[0].flight).is_some());
    assert!(flights.accepted(seats[0].flight, TICKET).is_none());
    seats.extend((1..count).map(|i| joined(flights.board(KEY, passenger(i)))));
    (flights, seats)
}

fn names(landed: &Landed) -> (Option<u64>, Vec<u64>) {
    (landed.first.as_ref().map(name), landed.others.iter().map(name).collect())
}

fn left(cancelled: Cancelled) -> u64 {
    match cancelled {
        Cancelled::Left(passenger) => name(&passenger),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_runs_and_all_are_answered() {
    let (mut flights, seats) = running(3);
    let other = first(flights.board(OTHER, passenger(9)));
    assert_eq!(names(&flights.land(seats[0].flight)), (Some(0), vec![1, 2]));
    assert_eq!(names(&flights.land(seats[0].flight)), (None, vec![]), "once");
    first(flights.board(KEY, passenger(3))); // comes later, hence runs anew
    assert_eq!(names(&flights.land(other.flight)), (Some(9), vec![]));
}

#[test]
fn only_equals_join() {
    let mut flights = Flights::default();
    first(flights.board(KEY, passenger(0)));
    let more = |priority, timeout_us| InferRequest { priority, timeout_us, ..Default::default() };
    first(flights.board(KEY, with(1, more(1, 0))));
    first(flights.board(KEY, with(2, more(0, 5))));
    joined(flights.board(KEY, with(3, more(0, 5))));
    let seat = flights.charter(KEY, passenger(4));
    assert_eq!(names(&flights.land(seat.flight)), (Some(4), vec![]));
    joined(flights.board(KEY, passenger(5)));
}

#[test]
fn an_error_is_only_for_the_one_whose_run_it_was() {
    let (mut flights, seats) = running(3);
    let failed = flights.fail(seats[0].flight);
    assert_eq!(failed.first.as_ref().map(name), Some(0));
    let again: Vec<_> = failed.again.iter().map(|(flight, _)| *flight).collect();
    assert_eq!(again, [seats[1].passenger, seats[2].passenger]);
    let new = first(flights.board(KEY, passenger(3)));
    assert!(flights.accepted(again[0], TICKET).is_none());
    assert_eq!(names(&flights.land(again[0])), (Some(1), vec![]));
    let failed = flights.fail(again[1]);
    assert_eq!((failed.first.as_ref().map(name), failed.again.len()), (Some(2), 0));
    assert_eq!(names(&flights.land(new.flight)), (Some(3), vec![]));
    assert!(flights.is_empty());
}

#[test]
fn who_is_cancelled_leaves_and_the_run_goes_on() {
    let (mut flights, seats) = running(3);
    assert_eq!(left(flights.cancel(seats[1])), 1);
    assert!(matches!(flights.cancel(seats[1]), Cancelled::Nothing));
    assert_eq!(left(flights.cancel(seats[0])), 0);
    assert_eq!(
        left_of(&mut flights, seats[0].flight),
        (Some(2), vec![]),
        "the next takes the first one's place"
    );
    assert!(flights.is_empty());
}

fn left_of(flights: &mut Flights, flight: u64) -> (Option<u64>, Vec<u64>) {
    names(&flights.land(flight))
}

#[test]
fn whoever_took_the_first_ones_place_does_not_take_its_error() {
    let (mut flights, seats) = running(2);
    assert_eq!(left(flights.cancel(seats[0])), 0);
    let failed = flights.fail(seats[0].flight);
    assert!(failed.first.is_none());
    assert_eq!(failed.again.iter().map(|(flight, _)| *flight).collect::<Vec<_>>(), [seats[1].passenger]);
    assert_eq!(names(&flights.land(seats[1].passenger)), (Some(1), vec![]));
}

#[test]
fn the_last_one_stops_the_run_and_takes_its_answer() {
    let (mut flights, seats) = running(2);
    assert_eq!(left(flights.cancel(seats[0])), 0);
    assert!(matches!(flights.cancel(seats[1]), Cancelled::Stop(Ticket(Place::Answered))));
    let new = first(flights.board(KEY, passenger(2))); // does not join what is being stopped
    let failed = flights.fail(seats[0].flight);
    assert_eq!((failed.first.as_ref().map(name), failed.again.len()), (Some(1), 0));
    assert_eq!(names(&flights.land(new.flight)), (Some(2), vec![]));
    assert!(flights.is_empty());
}

#[test]
fn a_run_without_a_ticket_is_stopped_when_it_has_one() {
    let mut flights = Flights::default();
    let seat = first(flights.board(KEY, passenger(0)));
    assert!(flights.start(seat.flight).is_some());
    assert!(matches!(flights.cancel(seat), Cancelled::Nothing));
    assert!(flights.accepted(seat.flight, TICKET).is_some());
    assert_eq!(flights.fail(seat.flight).first.as_ref().map(name), Some(0));
    assert!(flights.is_empty());
    assert!(flights.accepted(seat.flight, TICKET).is_none(), "too late");
}

#[test]
fn who_runs_again_can_be_cancelled() {
    let (mut flights, seats) = running(3);
    let failed = flights.fail(seats[0].flight);
    assert_eq!(failed.again.len(), 2);
    assert!(flights.accepted(seats[1].passenger, TICKET).is_none());
    assert!(matches!(flights.cancel(seats[1]), Cancelled::Stop(Ticket(Place::Answered))));
    assert!(matches!(flights.cancel(seats[2]), Cancelled::Nothing));
    assert!(flights.accepted(seats[2].passenger, TICKET).is_some(), "cancelled before");
    for seat in &seats[1..] {
        assert!(flights.fail(seat.passenger).first.is_some());
    }
    assert!(flights.is_empty());
}

#[test]
fn while_an_answer_is_looked_for_anybody_may_leave() {
    let mut flights = Flights::default();
    let seats = [first(flights.board(KEY, passenger(0))), joined(flights.board(KEY, passenger(1)))];
    assert_eq!(left(flights.cancel(seats[0])), 0);
    assert!(flights.start(seats[0].flight).is_some(), "the other one's request runs");
    assert_eq!(names(&flights.land(seats[0].flight)), (Some(1), vec![]));
    let seat = first(flights.board(KEY, passenger(2)));
    assert_eq!(left(flights.cancel(seat)), 2);
    assert!(flights.is_empty());
    assert!(flights.start(seat.flight).is_none(), "nobody is left");
}

use nereid_core::config::{RateLimiterSpec, ResourceSpec};

use super::*;

/// An instance on the CPU of this priority that needs so many copies of each resource.
fn spec(priority: u32, resources: &[(&str, u32)]) -> InstanceSpec {
    let resource = |&(name, count): &(&str, u32)| ResourceSpec { name: name.into(), global: true, count };
    let resources = resources.iter().map(resource).collect();
    InstanceSpec { rate_limiter: RateLimiterSpec { resources, priority }, ..Default::default() }
}

fn ledger<const N: usize>(specs: [InstanceSpec; N]) -> (Ledger, [SlotId; N]) {
    let mut ledger = Ledger::default();
    let ids = specs.map(|spec| ledger.add(&spec).unwrap());
    (ledger, ids)
}

impl Ledger {
    /// Who goes when `id` asks.
    fn asks(&mut self, id: SlotId) -> Vec<SlotId> {
        assert_eq!(self.ask([id]).map(|(id, _)| id), Some(id));
        self.advance()
    }

    /// Who goes when `id` has run.
    fn ends(&mut self, id: SlotId) -> Vec<SlotId> {
        self.finish(id, true);
        self.advance()
    }

    /// Who goes when `id` has run and asks again in the same moment.
    fn goes_on(&mut self, id: SlotId) -> Vec<SlotId> {
        self.finish(id, true);
        self.asks(id)
    }
}

/// Runs of each of two instances that always ask again and never fit together.
fn share(priorities: [u32; 2], runs: usize) -> [usize; 2] {
    let (mut ledger, ids) = ledger(priorities.map(|priority| spec(priority, &[("R", 1)])));
    let mut running = ledger.asks(ids[0]);
    assert!(ledger.asks(ids[1]).is_empty());
    let mut counts = [0; 2];
    for _ in 0..runs {
        let [id] = running[..] else { panic!("{running:?} run at once") };
        counts[usize::from(id == ids[1])] += 1;
        running = ledger.goes_on(id);
    }
    counts
}

#[test]
fn runs_are_shared_by_priority() {
    for (priorities, expected) in [
        ([1, 1], [60, 60]),
        ([1, 2], [80, 40]),
        ([2, 1], [40, 80]),
        ([0, 1], [60, 60]), // 0 counts as 1
        ([1, 3], [90, 30]),
        ([2, 3], [72, 48]),
    ] {
        let counts = share(priorities, 120);
        assert!(counts[0].abs_diff(expected[0]) <= 1, "{priorities:?}: {counts:?}, not {expected:?}");
    }
}

#[test]
fn an_instance_waits_for_all_that_it_needs() {
    let (mut ledger, [both, first, second]) =
        ledger([spec(1, &[("R", 1), ("S", 1)]), spec(1, &[("R", 1)]), spec(1, &[("S", 1)])]);
    assert_eq!(ledger.asks(first), [first]);
    assert_eq!(ledger.asks(second), [second]);
    assert!(ledger.asks(both).is_empty());
    assert!(ledger.ends(second).is_empty());
    assert!(ledger.asks(second).is_empty(), "what the first in line waits for is kept for it");
    assert_eq!(ledger.ends(first), [both]);
    assert!(ledger.asks(first).is_empty());
    assert_eq!(ledger.ends(both), [second, first]);
}

#[test]
fn those_that_fit_together_run_together() {
    let (mut ledger, [a, b, c]) = ledger([spec(1, &[("R", 2)]), spec(1, &[("R", 2)]), spec(1, &[("R", 5)])]);
    assert_eq!(ledger.asks(a), [a]);
    assert_eq!(ledger.asks(b), [b]);
    assert!(ledger.asks(c).is_empty());
    assert!(ledger.ends(a).is_empty());
    assert_eq!(ledger.ends(b), [c]);
}

#[test]
fn small_needs_do_not_starve_a_large_one() {
    let (mut ledger, [a, b, large]) =
        ledger([spec(1, &[("R", 1)]), spec(1, &[("R", 1)]), spec(9, &[("R", 2)])]);
    let mut running = vec![ledger.asks(a)[0], ledger.asks(b)[0]];
    assert!(ledger.asks(large).is_empty());
    for _ in 0..4 {
        let next = running.remove(0);
        running.extend(ledger.goes_on(next));
        if running.contains(&large) {
            return;
        }
    }
    panic!("the large one never ran");
}

#[test]
fn who_needs_nothing_that_is_scarce_does_not_wait() {
    let (mut ledger, [a, b, other, free]) =
        ledger([spec(1, &[("R", 1)]), spec(1, &[("R", 1)]), spec(7, &[("S", 1)]), spec(1, &[])]);
    assert_eq!(ledger.asks(a), [a]);
    assert!(ledger.asks(b).is_empty());
    assert_eq!(ledger.goes_on(other), [other]);
    assert_eq!(ledger.asks(free), [free]);
}

#[test]
fn of_several_the_one_that_ran_least_is_chosen() {
    let (mut ledger, [often, seldom, same]) = ledger([spec(1, &[]), spec(3, &[]), spec(3, &[])]);
    let mut counts = [0; 3];
    for _ in 0..50 {
        let (id, _) = ledger.ask([often, seldom, same]).unwrap();
        assert_eq!(ledger.advance(), [id]);
        counts[[often, seldom, same].iter().position(|other| *other == id).unwrap()] += 1;
        assert!(ledger.ends(id).is_empty());
    }
    assert_eq!(counts, [30, 10, 10]);
    assert_eq!(ledger.ask([]), None);
}

#[test]
fn who_withdraws_or_is_forgotten_makes_way() {
    let (mut ledger, [a, large, b]) =
        ledger([spec(1, &[("R", 1)]), spec(1, &[("R", 2)]), spec(1, &[("R", 1)])]);
    assert_eq!(ledger.asks(a), [a]);
    let (_, ask) = ledger.ask([large]).unwrap();
    assert!(ledger.asks(b).is_empty());
    ledger.withdraw(large, ask);
    assert_eq!(ledger.advance(), [b]);
    assert!(ledger.asks(large).is_empty());
    ledger.remove(&[a, b]);
    assert_eq!(ledger.advance(), [large]);
    ledger.finish(a, true); // nothing that is gone counts
    ledger.remove(&[large]);
    assert!(ledger.advance().is_empty() && ledger.slots.is_empty() && ledger.waiting.is_empty());
    let key = (super::super::resources::Place::Global, "R".to_owned());
    assert_eq!(ledger.resources.count(&key), (0, 0));
}

#[test]
fn a_turn_that_was_not_used_does_not_count() {
    let (mut ledger, [a, b]) = ledger([spec(1, &[("R", 1)]), spec(1, &[("R", 1)])]);
    assert_eq!(ledger.asks(a), [a]);
    assert!(ledger.asks(b).is_empty());
    ledger.finish(a, false);
    assert!(ledger.ask([a]).is_some());
    assert_eq!(ledger.advance(), [b], "of equals, who waited longer");
    assert_eq!(ledger.ends(b), [a]);
}

#[test]
fn asking_again_before_the_word_has_come_is_not_lost() {
    let (mut ledger, [a, b]) = ledger([spec(1, &[("R", 1)]), spec(1, &[("R", 1)])]);
    let (_, first) = ledger.ask([a]).unwrap();
    assert_eq!(ledger.advance(), [a]);
    assert!(ledger.asks(a).is_empty());
    ledger.withdraw(a, first); // too late: it has asked again
    ledger.finish(a, false);
    assert_eq!(ledger.advance(), [a]);
    let (_, first) = ledger.ask([b]).unwrap();
    assert!(ledger.advance().is_empty());
    let (_, second) = ledger.ask([b]).unwrap();
    ledger.withdraw(b, first);
    assert_eq!(ledger.ends(a), [b]);
    let (_, third) = ledger.ask([b]).unwrap();
    ledger.withdraw(b, third);
    ledger.withdraw(b, second);
    assert!(ledger.ends(b).is_empty());
}

/// The same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// What must hold whenever everyone who may run was let in.
fn check(ledger: &Ledger) {
    let granted = || ledger.slots.values().filter(|slot| matches!(slot.state, State::Granted { .. }));
    for key in ledger.slots.values().flat_map(|slot| slot.needs.keys()) {
        let held: u64 = granted().filter_map(|slot| slot.needs.get(key)).sum();
        let (_, in_use) = ledger.resources.count(key);
        assert_eq!(held, in_use, "{key:?} of {ledger:#?}");
    }
    let waiting: Vec<_> = ledger.slots.iter().filter(|(_, slot)| slot.state == State::Waiting).collect();
    assert_eq!(waiting.len(), ledger.waiting.len());
    if let Some((id, first)) = waiting.iter().min_by_key(|(_, slot)| (slot.rank(), slot.ask)) {
        assert!(!ledger.resources.are_free(&first.needs), "{id} may run in {ledger:#?}");
    }
}

#[test]
fn whatever_happens_resources_add_up_and_the_first_in_line_runs_when_it_can() {
    const NAMES: [&str; 3] = ["R", "S", "T"];
    for seed in 0..50 {
        let mut numbers = Numbers(seed);
        let mut ledger = Ledger::default();
        let mut asks: BTreeMap<SlotId, Ask> = BTreeMap::new();
        for _ in 0..400 {
            let known: Vec<SlotId> = ledger.slots.keys().copied().collect();
            let any = known.get(numbers.below(known.len().max(1))).copied();
            match (numbers.below(8), any) {
                (0, _) if known.len() < 12 => {
                    let resources: Vec<_> = NAMES
                        .iter()
                        .map(|name| (*name, numbers.below(4) as u32))
                        .filter(|(_, n)| *n > 0)
                        .collect();
                    ledger.add(&spec(numbers.below(4) as u32, &resources)).unwrap();
                }
                (1, Some(id)) if numbers.below(4) == 0 => ledger.remove(&[id]),
                (2, Some(id)) => ledger.withdraw(id, asks.get(&id).copied().unwrap_or_default()),
                (3..=4, Some(id)) => ledger.finish(id, numbers.below(3) > 0),
                (_, Some(_)) => {
                    let idle: Vec<_> = known.into_iter().filter(|_| numbers.below(3) == 0).collect();
                    asks.extend(ledger.ask(idle));
                }
                (_, None) => {}
            }
            ledger.advance();
            check(&ledger);
        }
        assert!(ledger.slots.values().any(|slot| slot.executions > 0));
    }
}

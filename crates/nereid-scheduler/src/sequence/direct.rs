//! The direct strategy: which slots of an instance make its next batch, and when. Row `i` of every batch is slot `i`, so
//! that a model may keep the state of a sequence in its row. Pure; `now` is an argument.

use nereid_core::Timestamp;
use nereid_core::config::Direct;

use super::slot::Slot;

/// What to do with the slots of an instance now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing waits.
    Idle,
    /// Look again then, or when there is another request.
    Wait { until: Timestamp },
    /// Run the first `slots` slots. What fits the first request of slot `leader` goes with it.
    Run { leader: usize, slots: usize },
}

/// Decides at `now`. `rows` is how many slots an instance has.
pub(crate) fn decide(rule: Direct, slots: &[Slot], rows: usize, now: Timestamp) -> Decision {
    let mut ready = 0;
    let mut oldest: Option<(u64, Timestamp, usize)> = None;
    let mut highest = 0;
    for (number, slot) in slots.iter().enumerate() {
        let Some(front) = slot.queue.front() else { continue };
        ready += 1;
        highest = number;
        if oldest.is_none_or(|(serial, ..)| front.serial < serial) {
            oldest = Some((front.serial, front.enqueued, number));
        }
    }
    // Triton's leader is the lowest slot, behind which others of another shape wait for as long as it has requests.
    let Some((_, enqueued, leader)) = oldest else { return Decision::Idle };
    let run = Decision::Run { leader, slots: highest + 1 };
    if rule.max_queue_delay_us == 0 || rule.minimum_slot_utilization == 0.0 {
        return run;
    }
    let due = enqueued.plus_us(rule.max_queue_delay_us);
    let utilization = ready as f32 / rows.max(1) as f32;
    if now > due || utilization >= rule.minimum_slot_utilization {
        run
    } else {
        Decision::Wait { until: due.plus_us(1) }
    }
}

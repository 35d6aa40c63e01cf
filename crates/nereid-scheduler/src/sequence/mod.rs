//! The sequence batcher: requests of one sequence go to one instance, in their order, and take the model's state along.
//!
//! What happens is decided by pure state machines, each told the time: [`sequencer`] knows which sequence has which
//! [`slot`] of which instance, who waits for one in the [`backlog`], and whom to forget; [`batches`], with [`direct`] and
//! [`oldest`], says which requests make the next batch; [`injector`] says what the scheduler adds to them. `shared`, `turns`, `worker`,
//! `reaper` and `scheduler` are the shells that own the lock, the clock and the threads.

mod admission;
mod backlog;
mod batches;
#[cfg(test)]
mod bench;
mod direct;
mod hold;
mod injector;
mod oldest;
mod reaper;
mod scheduler;
mod sequencer;
mod shared;
mod slot;
mod turns;
mod worker;

pub(crate) use injector::Injector;
pub(crate) use scheduler::SequenceScheduler;

//! Doing the same to several things at a time.

use std::thread;

use parking_lot::Mutex;

/// Runs `run` on each of `tasks`, on at most `threads` threads, this one included. The results stand in the order of the tasks.
pub(crate) fn map<T: Send, R: Send>(threads: usize, tasks: Vec<T>, run: impl Fn(T) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = tasks.iter().map(|_| None).collect();
    let threads = threads.clamp(1, tasks.len().max(1));
    let left = Mutex::new(tasks.into_iter().zip(&mut results));
    let work = || {
        loop {
            let Some((task, result)) = left.lock().next() else { return };
            *result = Some(run(task));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without further threads this one does all the work.
            let _ = thread::Builder::new().name("model-load".into()).spawn_scoped(scope, work);
        }
        work();
    });
    drop(left);
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_keep_the_order_of_their_tasks() {
        for threads in [0, 1, 3, 100] {
            assert_eq!(
                map(threads, (0..20).collect(), |task| task * 2),
                (0..20).map(|task| task * 2).collect::<Vec<_>>()
            );
        }
        assert!(map(4, Vec::<u8>::new(), |task| task).is_empty());
    }

    #[test]
    fn tasks_run_at_the_same_time() {
        let all = Barrier::new(3);
        map(3, vec![(); 3], |()| all.wait().is_leader()); // would never end one by one
    }
}

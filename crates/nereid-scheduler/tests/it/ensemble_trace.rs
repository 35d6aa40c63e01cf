//! What the trace of a request to an ensemble is told of its steps.

use nereid_core::InferTrace;

use super::ensemble::{Fixture, Parts, chain, part};
use super::*;

/// Notes what it is told, and so do its children, in one list.
#[derive(Debug)]
struct Notes {
    model: String,
    list: Arc<Mutex<Vec<String>>>,
}

impl InferTrace for Notes {
    fn child(&self, model: &Arc<ModelConfig>, version: u64, request: &ValidRequest) -> Arc<dyn InferTrace> {
        let Self { model: parent, list } = self;
        let note = format!("{parent} starts {}:{version} for {}", model.name, request.id());
        list.lock().unwrap().push(note);
        Arc::new(Self { model: model.name.to_string(), list: list.clone() })
    }

    fn ended(&self, answer: &Result<InferResponse>) {
        let how = answer.as_ref().map_or_else(|error| error.message().to_owned(), |_| "well".to_owned());
        self.list.lock().unwrap().push(format!("{} ends: {how}", self.model));
    }
}

/// Sends one traced request; what was noted until nobody noted any more.
fn noted(fixture: Fixture) -> Vec<String> {
    let list = Arc::<Mutex<Vec<String>>>::default();
    let mut request = fixture.request(1.0, &[]);
    request.set_trace(Arc::new(Notes { model: "e".to_owned(), list: list.clone() }));
    drop(fixture.scheduler.enqueue(request, fixture.answers.responder(1.0)).unwrap());
    let _ = fixture.answers.next();
    fixture.ends();
    // The threads that answered let go of it on their way out, and all do.
    while Arc::strong_count(&list) > 1 {
        std::thread::yield_now();
    }
    let list = list.lock().unwrap();
    list.clone()
}

#[test]
fn each_step_is_told_when_it_starts_and_ends() {
    assert_eq!(
        noted(Fixture::chain(&["a", "b"])),
        ["e starts a:1 for 1", "a ends: well", "e starts b:1 for 1", "b ends: well"]
    );
}

#[test]
fn a_step_that_fails_or_is_refused_ends_too() {
    let parts = Arc::<Parts>::default();
    parts.free(&["a"]);
    let failing = TestInstance::with_hook(|_| Err(Error::internal("no such luck")));
    parts.add(part("b", 8), vec![Box::new(failing)]);
    let told = noted(Fixture::new(parts, chain(&["a", "b"])));
    assert_eq!(told[2..], ["e starts b:1 for 1", "b ends: no such luck"]);

    let parts = Arc::<Parts>::default();
    parts.free(&["a"]);
    parts.change("a", |scheduler| {
        scheduler.stop();
        scheduler
    });
    let told = noted(Fixture::new(parts, chain(&["a"])));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[1].starts_with("a ends: ") && told[1].ends_with("stopped accepting new inference requests"),
        "{told:?}"
    );
}

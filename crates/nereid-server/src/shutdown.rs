//! How a server ends so that no request is lost: first it says that it is not ready, and serves on while whoever balances
//! its load learns that; then it stops listening and answers what it has; then models go; metrics can be read until then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::run::Ended;
use crate::serve::Drain;
use crate::service::Service;

/// How long traces, and lines of the access log, that are still to be written may take at the end.
const LAST_TRACES: Duration = Duration::from_secs(5);
/// How long the last scrape may take.
const LAST_SCRAPE: Duration = Duration::from_secs(1);

/// What is to end, one after the other.
#[derive(Debug)]
pub(crate) struct Drains {
    /// Connections of the HTTP and the gRPC port.
    pub(crate) inference: Drain,
    /// Connections of the metrics port.
    pub(crate) metrics: Drain,
}

impl Drains {
    /// Nothing drains yet.
    pub(crate) fn new() -> Self {
        Self { inference: Drain::new(), metrics: Drain::new() }
    }
}

/// Serves on for `delay`, or until `again`, and tells everyone that it is not for long.
pub(crate) async fn leave(
    service: &Service,
    drains: &Drains,
    delay: Duration,
    again: impl Future<Output = ()>,
) {
    if delay.is_zero() {
        return;
    }
    tracing::info!(
        "Asked to exit: not ready from now on, and serving for {} more seconds (--shutdown-delay-secs).",
        delay.as_secs()
    );
    drains.inference.part(delay);
    service.set_leaving();
    tokio::select! {
        () = tokio::time::sleep(delay) => tracing::info!("The shutdown delay is over."),
        () = again => tracing::info!("Asked to exit again: the shutdown delay ends."),
    }
}

/// Takes no further connections, answers what is there, and unloads the models, within `timeout`.
pub(crate) async fn end(service: Arc<Service>, drains: Drains, timeout: Duration) -> Ended {
    tracing::info!("Waiting for in-flight requests to complete.");
    service.set_exiting();
    service.repository().stop_waiting();
    let start = Instant::now();
    let drained = drains.inference.drain(timeout).await;
    if drained {
        tracing::info!("All connections have ended, models are being unloaded.");
    }
    let rest = timeout.saturating_sub(start.elapsed());
    let left = tokio::task::spawn_blocking(move || {
        let left = service.repository().shutdown(rest);
        service.tracer().finish(LAST_TRACES);
        service.access().finish(LAST_TRACES);
        left
    })
    .await;
    if drained && matches!(left, Ok(0)) {
        tracing::info!("All models are stopped");
        drains.metrics.drain(LAST_SCRAPE.min(timeout.saturating_sub(start.elapsed()))).await;
        return Ended::Clean;
    }
    tracing::error!("Exit timeout expired. Exiting immediately.");
    Ended::TimedOut
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use nereid_repository::Repository;
    use tokio::time::sleep;

    use super::*;
    use crate::service::ServiceOptions;

    const SECOND: Duration = Duration::from_secs(1);

    fn service() -> Arc<Service> {
        let repository = Repository::open(nereid_repository::Options::default(), Vec::new()).unwrap();
        Arc::new(Service::new(repository, ServiceOptions::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn serves_on_for_the_delay_or_until_it_is_asked_again() {
        for (again, expected) in [(100 * SECOND, 5 * SECOND), (2 * SECOND, 2 * SECOND)] {
            let (service, drains) = (service(), Arc::new(Drains::new()));
            let connection = drains.inference.draining();
            assert_eq!((service.live(), service.ready()), (Ok(true), Ok(true)));
            let start = Instant::now();
            let leaving = tokio::spawn({
                let (service, drains) = (service.clone(), drains.clone());
                async move { leave(&service, &drains, 5 * SECOND, sleep(again)).await }
            });
            tokio::task::yield_now().await;
            assert_eq!(service.live(), Ok(true), "or the kubelet would kill it");
            assert_eq!(service.ready().unwrap_err().message(), "Server exiting");
            assert!(!connection.has_started());
            leaving.await.unwrap();
            assert_eq!(start.elapsed(), expected);
            assert!(!connection.has_started(), "that is for the end to say");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_delay_is_none() {
        let (service, drains) = (service(), Drains::new());
        let start = Instant::now();
        leave(&service, &drains, Duration::ZERO, pending()).await;
        assert_eq!((start.elapsed(), service.ready()), (Duration::ZERO, Ok(true)));
        assert_eq!(end(service, drains, Duration::ZERO).await, Ended::Clean, "nobody was there");
    }

    #[tokio::test(start_paused = true)]
    async fn metrics_end_last() {
        let (service, drains) = (service(), Drains::new());
        let (mut request, mut scraper) = (drains.inference.draining(), drains.metrics.draining());
        leave(&service, &drains, SECOND, ready(())).await;
        let ending = tokio::spawn(end(service.clone(), drains, 30 * SECOND));
        request.started().await;
        assert!(service.live().is_err() && service.ready().is_err());
        sleep(20 * SECOND).await;
        assert!(!ending.is_finished() && !scraper.has_started());
        request.ended();
        let start = Instant::now();
        scraper.started().await;
        assert_eq!(ending.await.unwrap(), Ended::Clean, "who reads metrics without end does not hold it");
        assert!(start.elapsed() >= LAST_SCRAPE);
        scraper.ended();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_end_is_given_up() {
        let (service, drains) = (service(), Drains::new());
        let request = drains.inference.draining();
        let start = Instant::now();
        assert_eq!(end(service, drains, 30 * SECOND).await, Ended::TimedOut);
        assert_eq!(start.elapsed(), 30 * SECOND);
        request.ended();
    }
}

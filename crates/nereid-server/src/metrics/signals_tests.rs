//! What autoscalers and alerts go by: how busy instances are, and which models are ready.

use nereid_repository::{ModelId, Readiness};
use nereid_scheduler::{Busy, Reporters, SeriesId};

use super::MetricsOptions;
use super::families::{self, ServerValues};
use super::sample::Sample;

#[test]
fn models_with_instances_show_how_busy_they_are() {
    let reporters = Reporters::default();
    let plain = |model: &str| SeriesId { model: model.into(), version: 1, ..Default::default() };
    let tagged = SeriesId { tags: [("team".to_owned(), "a".to_owned())].into(), ..plain("m") };
    let version = reporters.version(tagged, None, false);
    let (_on_gpu, _ensemble) =
        (reporters.of_gpu(&version, &"GPU-1".into()), reporters.version(plain("e"), None, false));
    let second = 1_000_000_000;
    let samples: Vec<_> = reporters
        .series()
        .into_iter()
        .map(|mut series| {
            if series.id.gpu_uuid.is_some() {
                series.live.as_mut().unwrap().busy = Busy {
                    instances: 2,
                    total_ns: 90_500_000_000,
                    recent_ns: 3 * second,
                    window_ns: 6 * second,
                };
            }
            Sample::new(series, None)
        })
        .collect();
    let page = families::render(&samples, &ServerValues::default(), &MetricsOptions::default());
    let page: Vec<_> =
        page.lines().filter(|line| line.contains("_instance") || line.contains("_busy")).collect();
    assert_eq!(
        page,
        [
            "# HELP nereid_instance_busy_seconds_total Time in which instances of the model ran batches, of all of them \
             together",
            "# TYPE nereid_instance_busy_seconds_total counter",
            "nereid_instance_busy_seconds_total{_team=\"a\",gpu_uuid=\"GPU-1\",model=\"m\",version=\"1\"} 90.5",
            "# HELP nereid_instances Number of instances of the model",
            "# TYPE nereid_instances gauge",
            "nereid_instances{_team=\"a\",gpu_uuid=\"GPU-1\",model=\"m\",version=\"1\"} 2",
            "# HELP nereid_model_busy_ratio Share of the present second and the five before in which instances of the \
             model ran batches [0.0 - 1.0]",
            "# TYPE nereid_model_busy_ratio gauge",
            "nereid_model_busy_ratio{_team=\"a\",gpu_uuid=\"GPU-1\",model=\"m\",version=\"1\"} 0.25",
        ],
        "and nothing of what has none there"
    );
}

#[test]
fn readiness_is_shown_of_all_that_should_serve() {
    let of = |namespace: &str, version, ready| Readiness {
        model: ModelId { namespace: namespace.into(), name: "m".into() },
        version,
        ready,
    };
    let models = vec![of("", Some(1), true), of("/a", Some(2), false), of("/b", None, false)];
    let server = ServerValues { models, ready: true, ..Default::default() };
    let page = families::render(&[], &server, &MetricsOptions::default());
    let page: Vec<_> =
        page.lines().filter(|line| line.starts_with("nereid") && line.contains("_ready")).collect();
    assert_eq!(
        page,
        [
            "nereid_model_ready{model=\"m\",version=\"1\"} 1",
            "nereid_model_ready{model=\"m\",namespace=\"/a\",version=\"2\"} 0",
            "nereid_model_ready{model=\"m\",namespace=\"/b\"} 0",
            "nereid_server_ready 1",
        ]
    );
}

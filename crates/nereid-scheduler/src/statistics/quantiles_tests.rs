//! Estimates against the exact ranks of the values that went in.

use super::*;

/// Triton's defaults (`metric_model_reporter.h`).
const WANTED: [Quantile; 5] = [
    Quantile { quantile: 0.5, error: 0.05 },
    Quantile { quantile: 0.9, error: 0.01 },
    Quantile { quantile: 0.95, error: 0.001 },
    Quantile { quantile: 0.99, error: 0.001 },
    Quantile { quantile: 0.999, error: 0.001 },
];

/// Numbers without a pattern, the same ones each time.
fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

fn sketch_of(values: &[u64], batch: usize, wanted: &[Quantile]) -> Sketch {
    let mut sketch = Sketch::default();
    for values in values.chunks(batch) {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        sketch.insert(&sorted, wanted);
    }
    sketch
}

/// By how much, as a share of all values, `estimate` is away from `quantile`. Equal values share their ranks.
fn rank_error(sorted: &[u64], quantile: f64, estimate: f64) -> f64 {
    let below = sorted.partition_point(|v| (*v as f64) < estimate) as f64;
    let up_to = sorted.partition_point(|v| (*v as f64) <= estimate) as f64;
    assert!(up_to > below, "{estimate} is none of the values");
    let rank = quantile * sorted.len() as f64;
    (below + 1.0 - rank).max(rank - up_to).max(0.0) / sorted.len() as f64
}

fn check(name: &str, values: Vec<u64>, batch: usize, wanted: &[Quantile]) -> Sketch {
    let sketch = sketch_of(&values, batch, wanted);
    let mut sorted = values;
    sorted.sort_unstable();
    for quantile in wanted {
        let error = rank_error(&sorted, quantile.quantile, sketch.get(quantile.quantile));
        let slack = 1.0 / sorted.len() as f64; // a rank is a whole number
        assert!(
            error <= quantile.error + slack,
            "{name}, {} values, batches of {batch}: {quantile:?} is off by {error}",
            sorted.len()
        );
    }
    assert_eq!(sketch.count, sorted.len() as u64);
    sketch
}

#[test]
fn estimates_are_within_their_error() {
    for count in [1, 2, 3, 10, 127, 1_000, 5_000, 50_000_u64] {
        let mut random = noise(count);
        let latencies: Vec<u64> = (0..count).map(|_| 50 + random() % 100 * (random() % 50)).collect();
        let mut tail = noise(7);
        let streams: [(&str, Vec<u64>); 7] = [
            ("latencies", latencies),
            ("ascending", (0..count).collect()),
            ("descending", (0..count).rev().collect()),
            ("equal", vec![7; count as usize]),
            (
                "two levels, then one",
                (0..count).map(|i| if i < count / 2 { i % 2 * 1000 } else { 5 }).collect(),
            ),
            ("outside in", (0..count).map(|i| if i % 2 == 0 { i } else { 10_000_000 - i }).collect()),
            ("long tail", (0..count).map(|_| 1 << (tail() % 1024).leading_zeros().min(63)).collect()),
        ];
        for (name, values) in streams {
            for batch in [1, 128] {
                if count <= 5_000 || batch > 1 {
                    let sketch = check(name, values.clone(), batch, &WANTED);
                    let kept = sketch.samples.len();
                    assert!(
                        kept < if name == "outside in" { 1_500 } else { 350 },
                        "{name}: {kept} of {count}"
                    );
                    assert_eq!(sketch.least_error, 0.0, "{name}: no error was given up");
                }
            }
        }
    }
}

#[test]
fn the_ends_are_exact() {
    let ends = [Quantile { quantile: 0.0, error: 0.0 }, Quantile { quantile: 1.0, error: 0.0 }];
    let sketch = sketch_of(&(0..50_000).map(|i| i * 7919 % 50_000).collect::<Vec<_>>(), 100, &ends);
    assert_eq!(ends.map(|end| sketch.get(end.quantile)), [0.0, 49_999.0]);
    assert!(sketch.samples.len() <= MAX_SAMPLES);
}

#[test]
fn nothing_seen_is_nan() {
    let mut sketch = Sketch::default();
    assert!(sketch.get(0.5).is_nan());
    sketch.insert(&[3], &WANTED);
    assert_eq!(WANTED.map(|wanted| sketch.get(wanted.quantile)), [3.0; 5]);
    sketch.clear();
    assert!(sketch.get(0.5).is_nan());
}

#[test]
fn memory_is_bounded_whatever_is_asked_for() {
    let exact = [0.5, 0.9, 0.999].map(|quantile| Quantile { quantile, error: 0.0 });
    let mut random = noise(1);
    let values: Vec<u64> = (0..300_000).map(|_| random()).collect();
    let sketch = sketch_of(&values, 128, &exact);
    assert!(sketch.samples.len() <= MAX_SAMPLES, "{}", sketch.samples.len());
    let mut sorted = values;
    sorted.sort_unstable();
    for quantile in exact {
        let error = rank_error(&sorted, quantile.quantile, sketch.get(quantile.quantile));
        assert!(error < 0.01, "{quantile:?} is off by {error}");
    }
}

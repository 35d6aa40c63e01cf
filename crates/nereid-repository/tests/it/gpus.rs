//! Instances on GPUs, as far as metrics tell them apart.

use std::sync::Arc;

use nereid_repository::{ControlMode, Options};
use nereid_scheduler::{Reporters, Series};

use crate::repo::{IDENTITY, Repo, head, load};
use crate::requests::infer;

const WARM_UP: &str = "model_warmup { name: \"w\" batch_size: 1 inputs { key: \"INPUT0\" value { data_type: TYPE_FP32 \
                       dims: 2 zero_data: true } } }\n";

#[test]
fn what_runs_on_gpus_is_a_series_of_each() {
    let repo = Repo::new();
    let on = |gpus: &str| {
        format!("{}instance_group [ {{ kind: KIND_GPU count: 2 gpus: [ {gpus} ] }} ]", head("m", 8))
    };
    repo.model("m", &(on("0, 1, 2") + WARM_UP), IDENTITY);
    let reporters = Arc::<Reporters>::default();
    let repository = repo.open_with(Options {
        control: ControlMode::Explicit,
        startup_models: vec!["m".to_owned()],
        gpus: vec![0, 1, 2],
        gpu_uuids: vec!["GPU-a".into(), "GPU-b".into()],
        reporters: reporters.clone(),
        ..repo.options()
    });
    let shown = || -> Vec<_> {
        let line = |series: Series| {
            let uuid = series.id.gpu_uuid.as_deref().unwrap_or("-").to_owned();
            (uuid, series.live.map(|live| live.counts.success.count))
        };
        reporters.series().into_iter().map(line).collect()
    };
    let three = |counts: [u64; 3]| {
        let uuids = ["-", "GPU-a", "GPU-b"].map(str::to_owned).into_iter();
        uuids.zip(counts.map(Some)).collect::<Vec<_>>()
    };
    // Every instance was warmed up once; the third GPU has no name.
    assert_eq!(shown(), three([2, 2, 2]));
    // Instances that are changed in place count on.
    repo.write("m/config.pbtxt", on("1") + WARM_UP);
    load(&repository, "m").unwrap();
    assert_eq!(shown(), three([2, 2, 4]));
    let model = repository.find("m", None).unwrap();
    assert!(infer(&model).recv().unwrap().is_ok());
    assert_eq!(shown(), three([2, 2, 5]));
    assert_eq!(model.scheduler().statistics().snapshot().success.count, 9);
}

//! Instance groups: defaults, checks, and the list of instances to create
//! (`NormalizeInstanceGroup`, `ValidateInstanceGroup`, `TritonModel::PrepareInstances`).

use nereid_core::config::{InstanceKind, InstanceSpec, RateLimiterSpec, ResourceSpec};
use nereid_core::{Error, Result};
use nereid_protocol::inference::model_instance_group::Kind;
use nereid_protocol::inference::model_rate_limiter::Resource;
use nereid_protocol::inference::{ModelConfig, ModelInstanceGroup, ModelRateLimiter};

use super::{ONNXRUNTIME, TENSORRT, is_ensemble};

/// Most instances that one version of a model may ask for; each costs threads and memory.
const MAX_INSTANCES: usize = 4096;

/// The GPUs that instances may use.
#[derive(Debug, Clone)]
pub(crate) struct Gpus {
    /// Their numbers, ascending.
    pub(crate) ids: Vec<i32>,
    /// For messages.
    pub(crate) min_compute_capability: f64,
}

/// Gives every group a name, a kind that is not AUTO, a count and, on GPUs, their numbers. AUTO is never a GPU where the
/// backend cannot use one.
pub(crate) fn normalize(config: &mut ModelConfig, gpus: &Gpus, backend_uses_gpus: bool) {
    if is_ensemble(config) {
        return;
    }
    if config.instance_group.is_empty() {
        let group = ModelInstanceGroup { name: config.name.clone(), ..Default::default() };
        config.instance_group.push(group);
    }
    let ModelConfig { name, backend, instance_group, .. } = config;
    for (index, group) in instance_group.iter_mut().enumerate() {
        if group.name.is_empty() {
            group.name = format!("{name}_{index}");
        }
        if group.kind() == Kind::Auto {
            let usable =
                backend_uses_gpus && !gpus.ids.is_empty() && group.gpus.iter().all(|id| gpus.has(*id));
            group.set_kind(if usable { Kind::Gpu } else { Kind::Cpu });
        }
        if group.count < 1 {
            group.count = if group.kind() == Kind::Cpu && backend == ONNXRUNTIME.1 { 2 } else { 1 };
        }
        if group.kind() == Kind::Gpu && group.gpus.is_empty() {
            group.gpus.extend(&gpus.ids);
        }
    }
}

/// Refuses groups that this machine or the model's platform cannot have.
///
/// # Errors
/// Triton's texts; and more than [`MAX_INSTANCES`] instances.
pub(crate) fn validate(config: &ModelConfig, gpus: &Gpus) -> Result<()> {
    for group in &config.instance_group {
        let subject = format!("instance group {} of model {}", group.name, config.name);
        check_kind(group, &subject, gpus)?;
        if !group.profile.is_empty() {
            check_profiles(config, group, &subject)?;
        }
        check_secondary_devices(config, group)?;
    }
    let wanted = config.instance_group.iter().try_fold(0_usize, |sum, group| {
        let devices = group.gpus.len().max(1);
        sum.checked_add(usize::try_from(group.count).ok()?.checked_mul(devices)?)
    });
    if wanted.is_none_or(|wanted| wanted > MAX_INSTANCES) {
        return Err(Error::invalid_arg(format!(
            "instance groups of model {} ask for more than {MAX_INSTANCES} instances",
            config.name
        )));
    }
    Ok(())
}

/// The instances that normalised, validated groups ask for, in Triton's order.
pub(crate) fn specs(config: &ModelConfig) -> Vec<InstanceSpec> {
    let mut specs = Vec::new();
    for group in &config.instance_group {
        for index in 0..group.count {
            let mut push = |kind, policy: String| {
                specs.push(InstanceSpec {
                    name: format!("{}_{index}", group.name),
                    kind,
                    passive: group.passive,
                    host_policy: if group.host_policy.is_empty() {
                        policy
                    } else {
                        group.host_policy.clone()
                    },
                    profiles: group.profile.clone(),
                    dla_core: group.secondary_devices.first().map(|device| device.device_id),
                    rate_limiter: group.rate_limiter.as_ref().map(rate_limiter).unwrap_or_default(),
                });
            };
            match group.kind() {
                Kind::Gpu => {
                    for &device in &group.gpus {
                        push(InstanceKind::Gpu { device }, format!("gpu_{device}"));
                    }
                }
                Kind::Model => push(InstanceKind::Model, "model".into()),
                Kind::Cpu | Kind::Auto => push(InstanceKind::Cpu, "cpu".into()),
            }
        }
    }
    specs
}

fn rate_limiter(limiter: &ModelRateLimiter) -> RateLimiterSpec {
    let resource = |resource: &Resource| ResourceSpec {
        name: resource.name.clone(),
        global: resource.global,
        count: resource.count,
    };
    RateLimiterSpec {
        resources: limiter.resources.iter().map(resource).collect(),
        priority: limiter.priority,
    }
}

impl Gpus {
    fn has(&self, id: i32) -> bool {
        self.ids.contains(&id)
    }
}

fn check_kind(group: &ModelInstanceGroup, subject: &str, gpus: &Gpus) -> Result<()> {
    let invalid = |what: String| Err(Error::invalid_arg(format!("{subject} {what}")));
    match group.kind() {
        Kind::Model if !group.gpus.is_empty() => {
            invalid("has kind KIND_MODEL but specifies one or more GPUs".into())
        }
        Kind::Cpu if !group.gpus.is_empty() => {
            invalid("has kind KIND_CPU but specifies one or more GPUs".into())
        }
        Kind::Gpu if group.gpus.is_empty() => invalid("has kind KIND_GPU but no GPUs are available".into()),
        Kind::Gpu => match group.gpus.iter().find(|id| !gpus.has(**id)) {
            None => Ok(()),
            Some(id) => invalid(format!(
                "specifies invalid or unsupported gpu id {id}. GPUs with at least the minimum required CUDA compute \
                 compatibility of {:.6} are: {}",
                gpus.min_compute_capability,
                gpus.ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
            )),
        },
        Kind::Auto => Err(Error::internal(format!("{subject} has unexpected kind KIND_AUTO"))),
        Kind::Cpu | Kind::Model => Ok(()),
    }
}

fn check_profiles(config: &ModelConfig, group: &ModelInstanceGroup, subject: &str) -> Result<()> {
    let platform = &config.platform;
    if platform != TENSORRT.0 {
        return Err(Error::invalid_arg(format!(
            "{subject} and platform {platform}specifies profile field which is only supported for TensorRT models"
        )));
    }
    for profile in &group.profile {
        if profile_number(profile)? < 0 {
            return Err(Error::invalid_arg(format!(
                "{subject} and platform {platform} specifies invalid profile {profile}. The field should contain the \
                 string representation of a non-negative integer."
            )));
        }
    }
    Ok(())
}

/// The number at the start of `profile`; like C++'s `stoi`, which Triton uses, blanks before it and anything behind it are
/// ignored.
fn profile_number(profile: &str) -> Result<i32> {
    if profile.is_empty() {
        return Err(Error::invalid_arg("profile name must not be empty"));
    }
    let text = profile.trim_start();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    let number = &text[..text.len() - digits.len() + count];
    number.parse().map_err(|_| Error::invalid_arg(format!("unable to parse '{profile}': stoi")))
}

/// Which part of a GPU runs an engine besides it: the backend takes one.
fn check_secondary_devices(config: &ModelConfig, group: &ModelInstanceGroup) -> Result<()> {
    if group.secondary_devices.len() <= 1 || config.platform != TENSORRT.0 {
        return Ok(());
    }
    Err(Error::invalid_arg(format!(
        "{}_0 of model {} must have either zero or or one secondary devices",
        group.name, config.name
    )))
}

#[cfg(test)]
mod tests {
    use nereid_protocol::inference::model_instance_group::SecondaryDevice;
    use nereid_protocol::inference::model_instance_group::secondary_device::SecondaryDeviceKind;

    use super::*;

    fn config(groups: Vec<ModelInstanceGroup>) -> ModelConfig {
        ModelConfig {
            name: "m".into(),
            platform: ONNXRUNTIME.0.into(),
            backend: ONNXRUNTIME.1.into(),
            instance_group: groups,
            ..Default::default()
        }
    }

    fn group(kind: Kind, count: i32, gpus: &[i32]) -> ModelInstanceGroup {
        ModelInstanceGroup { kind: kind as i32, count, gpus: gpus.to_vec(), ..Default::default() }
    }

    #[track_caller]
    fn names(groups: Vec<ModelInstanceGroup>, gpus: &[i32]) -> Vec<String> {
        let mut config = config(groups);
        let gpus = Gpus { ids: gpus.to_vec(), min_compute_capability: 6.0 };
        normalize(&mut config, &gpus, true);
        validate(&config, &gpus).unwrap();
        specs(&config).into_iter().map(|spec| format!("{}:{:?}", spec.name, spec.kind)).collect()
    }

    #[test]
    fn defaults_and_names() {
        let gpu = |name: &str, device: i32| format!("{name}:Gpu {{ device: {device} }}");
        assert_eq!(names(vec![], &[]), ["m_0:Cpu", "m_1:Cpu"]);
        assert_eq!(names(vec![], &[0, 1]), [gpu("m_0", 0), gpu("m_0", 1)]);
        assert_eq!(names(vec![], &[1, 3]), [gpu("m_0", 1), gpu("m_0", 3)]);
        assert_eq!(names(vec![group(Kind::Auto, 1, &[0])], &[0, 3]), [gpu("m_0_0", 0)]);
        assert_eq!(names(vec![group(Kind::Cpu, 3, &[])], &[0]), ["m_0_0:Cpu", "m_0_1:Cpu", "m_0_2:Cpu"]);
        assert_eq!(names(vec![group(Kind::Auto, 0, &[])], &[]), ["m_0_0:Cpu", "m_0_1:Cpu"]);
        assert_eq!(names(vec![group(Kind::Model, 0, &[])], &[0]), ["m_0_0:Model"]);
        assert_eq!(
            names(vec![group(Kind::Cpu, 1, &[]), group(Kind::Gpu, 2, &[1])], &[0, 1]),
            ["m_0_0:Cpu".to_owned(), gpu("m_1_0", 1), gpu("m_1_1", 1)]
        );
    }

    #[test]
    fn a_backend_without_gpus_is_not_given_one() {
        let mut config = config(vec![group(Kind::Auto, 1, &[]), group(Kind::Gpu, 1, &[])]);
        normalize(&mut config, &Gpus { ids: vec![0], min_compute_capability: 6.0 }, false);
        let kinds: Vec<_> = specs(&config).iter().map(|spec| spec.kind).collect();
        assert_eq!(kinds, [InstanceKind::Cpu, InstanceKind::Gpu { device: 0 }]);
    }

    #[test]
    fn host_policies_and_rates() {
        let mut config = config(vec![
            group(Kind::Cpu, 1, &[]),
            group(Kind::Gpu, 1, &[0, 1]),
            group(Kind::Model, 1, &[]),
            ModelInstanceGroup { host_policy: "mine".into(), passive: true, ..group(Kind::Gpu, 1, &[1]) },
        ]);
        let resource = Resource { name: "R".into(), global: true, count: 4 };
        let limiter = ModelRateLimiter { resources: vec![resource], priority: 2 };
        config.instance_group[1].rate_limiter = Some(limiter);
        let specs = specs(&config);
        let policies: Vec<_> = specs.iter().map(|spec| (&*spec.host_policy, spec.passive)).collect();
        assert_eq!(
            policies,
            [("cpu", false), ("gpu_0", false), ("gpu_1", false), ("model", false), ("mine", true)]
        );
        let resources = vec![ResourceSpec { name: "R".into(), global: true, count: 4 }];
        let limited = RateLimiterSpec { resources, priority: 2 };
        let free = RateLimiterSpec::default();
        let rates: Vec<_> = specs.iter().map(|spec| &spec.rate_limiter).collect();
        assert_eq!(rates, [&free, &limited, &limited, &free, &free]);
        assert_eq!(specs.iter().map(|spec| spec.kind.device()).collect::<Vec<_>>(), [0, 0, 1, 0, 1]);
    }

    #[test]
    fn refusals() {
        let check = |group: ModelInstanceGroup, gpus: &[i32], expected: &str| {
            let mut config = config(vec![group]);
            let gpus = Gpus { ids: gpus.to_vec(), min_compute_capability: 6.0 };
            normalize(&mut config, &gpus, true);
            assert_eq!(validate(&config, &gpus).unwrap_err().message(), expected);
        };
        let subject = "instance group m_0 of model m";
        check(
            group(Kind::Gpu, 1, &[]),
            &[],
            &format!("{subject} has kind KIND_GPU but no GPUs are available"),
        );
        check(
            group(Kind::Cpu, 1, &[0]),
            &[0],
            &format!("{subject} has kind KIND_CPU but specifies one or more GPUs"),
        );
        check(
            group(Kind::Auto, 1, &[3]),
            &[0],
            &format!("{subject} has kind KIND_CPU but specifies one or more GPUs"),
        );
        check(
            group(Kind::Model, 1, &[0]),
            &[0],
            &format!("{subject} has kind KIND_MODEL but specifies one or more GPUs"),
        );
        check(
            group(Kind::Gpu, 1, &[0, 2]),
            &[0, 1, 3],
            &format!(
                "{subject} specifies invalid or unsupported gpu id 2. GPUs with at least the minimum required CUDA \
                 compute compatibility of 6.000000 are: 0, 1, 3"
            ),
        );
        check(
            ModelInstanceGroup { profile: vec!["0".into()], ..group(Kind::Cpu, 1, &[]) },
            &[],
            &format!(
                "{subject} and platform onnxruntime_onnxspecifies profile field which is only supported for TensorRT \
                 models"
            ),
        );
        check(
            group(Kind::Cpu, i32::MAX, &[]),
            &[],
            "instance groups of model m ask for more than 4096 instances",
        );
    }

    #[test]
    fn groups_of_engines() {
        let check = |group: ModelInstanceGroup, expected: Result<(), &str>| {
            let (platform, backend) = (TENSORRT.0.into(), TENSORRT.1.into());
            let mut config = ModelConfig { platform, backend, ..config(vec![group]) };
            let gpus = Gpus { ids: vec![0], min_compute_capability: 6.0 };
            normalize(&mut config, &gpus, true);
            let got = validate(&config, &gpus).map_err(|e| e.with_code());
            assert_eq!(got, expected.map_err(|text| format!("Invalid argument: {text}")));
        };
        let profile = |profile: &str| ModelInstanceGroup {
            profile: vec!["0".into(), profile.into()],
            ..group(Kind::Gpu, 1, &[])
        };
        check(profile("1"), Ok(()));
        check(profile(" 2 "), Ok(()));
        check(profile("3rd"), Ok(()));
        check(
            profile("-1"),
            Err(
                "instance group m_0 of model m and platform tensorrt_plan specifies invalid profile -1. The field should \
                 contain the string representation of a non-negative integer.",
            ),
        );
        check(profile("best"), Err("unable to parse 'best': stoi"));
        check(profile("99999999999"), Err("unable to parse '99999999999': stoi"));
        check(profile(""), Err("profile name must not be empty"));
        let cores = |count| {
            let core = SecondaryDevice { kind: SecondaryDeviceKind::KindNvdla as i32, device_id: 1 };
            ModelInstanceGroup { secondary_devices: vec![core; count], ..group(Kind::Gpu, 1, &[]) }
        };
        check(cores(1), Ok(()));
        check(cores(2), Err("m_0_0 of model m must have either zero or or one secondary devices"));
    }
}

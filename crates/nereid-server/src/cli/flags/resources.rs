//! Flags of backends, repository agents, cache, rate limiter, memory and devices.

use super::super::options::BackendSettings;
use super::super::value::{self, Result};
use super::Value::{Boolean, Form, Integer, Number, Text};
use super::{Draft, Flag, is, not_yet, put, ready};

pub(super) const BACKEND: &[Flag] = &[
    ready(
        "backend-directory",
        Text,
        "",
        is::anything,
        "Taken and not used: the backends are part of this program.",
    ),
    ready(
        "backend-config",
        Form("string>,<string>=<string"),
        "default-max-batch-size=4",
        backend_config,
        "<backend>,<setting>=<value> for one backend, <setting>=<value> for all. May be given several times.",
    ),
];

pub(super) const REPOSITORY_AGENT: &[Flag] =
    &[not_yet("repoagent-directory", Text, "", is::anything, "Directory with repository agents.")];

pub(super) const CACHE: &[Flag] = &[
    ready(
        "cache-config",
        Form("string>,<string>=<string"),
        "",
        cache_config,
        "<cache>,<setting>=<value>. local,size=1048576: responses are cached in so many bytes of memory. redis,host=<name> \
         and redis,port=<number>: in a Redis server, which others may share. May be given several times, for one cache. \
         Models whose configs say response_cache { enable: true } use it.",
    ),
    ready(
        "cache-directory",
        Text,
        "",
        is::anything,
        "Taken and not used: the caches are part of this program.",
    ),
];

pub(super) const RATE_LIMITER: &[Flag] = &[
    ready(
        "rate-limit",
        Text,
        "off",
        |d, v| {
            let mode = value::choice(v, &["execution_count", "off"], "invalid argument for --rate-limit");
            put(&mut d.options.rate_limit.enabled, mode.map(|mode| mode == "execution_count"))
        },
        "execution_count: instances run by priority and by how often they ran, as resources allow. off: as soon as \
         they are free.",
    ),
    ready(
        "rate-limit-resource",
        Form("string>:<integer>:<integer"),
        "",
        rate_limit_resource,
        "<resource>:<count>:<device> or <resource>:<count>: how many copies of a resource there are. May be given several \
         times. Without this flag there are as many as any instance needs; with it, none of what is not listed.",
    ),
];

pub(super) const MEMORY_DEVICE: &[Flag] = &[
    ready(
        "pinned-memory-pool-byte-size",
        Integer,
        "268435456",
        |d, v| put(&mut d.options.gpus.pinned_pool_bytes, value::integer(v)),
        "Most bytes of page-locked host memory for copies to and from GPUs. It is taken as it is needed; copies that find \
         none left use other memory.",
    ),
    ready(
        "max-inflight-bytes",
        Integer,
        "",
        |d, v| put(&mut d.options.max_inflight_bytes, value::integer(v).map(Some)),
        "Most bytes of requests in flight, 0 for no limit: what would be more is refused with 503 or UNAVAILABLE. By \
         default a fifth of what models leave of the memory that the container may have, or the machine.",
    )
    .own(),
    ready(
        "cuda-memory-pool-byte-size",
        Form("integer>:<integer"),
        "",
        device_bytes,
        "<GPU>:<bytes>. Taken and not used: instances take the memory that they copy to when they are made.",
    ),
    not_yet(
        "cuda-virtual-address-size",
        Form("integer>:<integer"),
        "1073741824",
        device_bytes,
        "<GPU>:<bytes>: most bytes of an implicit state that grows. Once per GPU.",
    ),
    ready(
        "min-supported-compute-capability",
        Number,
        "7.5",
        |d, v| put(&mut d.options.gpus.min_compute_capability, value::number(v)),
        "GPUs below this compute capability are not used.",
    ),
    not_yet("buffer-manager-thread-count", Integer, "0", is::integer, "Threads that copy tensors."),
    ready(
        "host-policy",
        Form("string>,<string>=<string"),
        "",
        |d, v| {
            let (policy, setting, value) = value::full_setting(v, "host-policy", "policy name", ',')?;
            d.options.host_policies.set(policy, setting, value).map_err(|e| e.message().to_owned())?;
            if d.options.host_policies.bind_memory() {
                d.warn("'--host-policy <policy>,numa-node' binds no memory; it comes from the nodes of cpu-cores.");
            }
            Ok(())
        },
        "<policy>,cpu-cores=<first>-<last>: where the instances with this policy run. Without a name of its own an \
         instance has the policy cpu, gpu_<device> or model. numa-node is taken and binds no memory.",
    ),
    ready(
        "model-load-gpu-limit",
        Form("device_id>:<fraction"),
        "",
        model_load_gpu_limit,
        "No model is loaded on a GPU more of whose memory is in use than this fraction, or would be. Once per GPU.",
    ),
];

pub(super) const SHARED_MEMORY: &[Flag] = &[ready(
    "allow-client-shm",
    Boolean,
    "false",
    |d, v| put(&mut d.options.allow_client_shm, value::boolean(v)),
    "Let clients register shared memory regions, of the host and of GPUs, for inputs and outputs.",
)];

fn backend_config(draft: &mut Draft, text: &str) -> Result<()> {
    let (backend, key, setting) = value::named_setting(text, "backend-config", "backend name", "backend")?;
    if key == "default-max-batch-size" {
        // Triton finds out when it loads the first model.
        value::integer::<u32>(setting)?;
    }
    let settings: &mut BackendSettings = &mut draft.options.backends;
    settings.set(backend, key, setting);
    Ok(())
}

fn cache_config(draft: &mut Draft, text: &str) -> Result<()> {
    draft.cache_config = true;
    let missing = || {
        format!(
            "No cache specified. --cache-config option format is <cache name>,<setting>=<value>. Got {text}"
        )
    };
    let (name, key, setting) = value::named_setting(text, "cache-config", "cache name", "cache")
        .map_err(|reason| if text.find(',').is_none_or(|at| at == 0) { missing() } else { reason })?;
    if name.is_empty() {
        return Err(missing());
    }
    let settings = draft.options.caches.entry(name.to_owned()).or_default();
    settings.insert(key.to_owned(), setting.to_owned());
    Ok(())
}

fn rate_limit_resource(draft: &mut Draft, text: &str) -> Result<()> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut parts = rest.split(':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(count), device, None) if text.contains(':') => {
            let count = value::integer::<u32>(count)?;
            let device = device.map(value::integer::<i32>).transpose()?;
            let every_device = -1;
            let device = device.filter(|device| *device != every_device);
            draft.options.rate_limit.resources.add(name, u64::from(count), device);
            Ok(())
        }
        _ => Err(format!(
            "--rate-limit-resource option format is '<resource_name>:<count>:<device>' or \
             '<resource_name>:<count>'. Got {text}"
        )),
    }
}

fn model_load_gpu_limit(draft: &mut Draft, text: &str) -> Result<()> {
    let (device, fraction) = value::pair(text, ":")?;
    let (device, fraction) = (value::integer::<i32>(device)?, value::number(fraction)?);
    let refused = |reason: String| Err(format!("setting model load GPU limit: {reason}"));
    if device < 0 {
        return refused(format!("expects device ID >= 0, got {device}"));
    }
    if !(0.0..=1.0).contains(&fraction) {
        return refused(format!("expects limit fraction to be in range [0.0, 1.0], got {fraction:.6}"));
    }
    draft.options.gpus.load_limits.insert(device, fraction);
    Ok(())
}

fn device_bytes(draft: &mut Draft, text: &str) -> Result<()> {
    let (device, bytes) = value::pair(text, ":")?;
    is::integer(draft, device)?;
    value::integer::<u64>(bytes).map(drop)
}

//! `IBuilder`, `IBuilderConfig`, `IOptimizationProfile` and `IHostMemory`.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, OnceLock};

use super::behaviour::Behaviour;
use super::dims::{Dims, written};
use super::golden::{Class, Vtable};
use super::log::Log;
use super::network::{self, Network, TensorState};
use super::object::{Child, Implementation, Parent, Public, create, delete_now, text};
use super::plan::MAGIC;

pub struct Builder {
    log: Log,
    parts: Parent,
    /// Addresses of profiles, which go with the builder: nobody else may delete them.
    profiles: Mutex<Vec<usize>>,
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.parts.goes();
        for profile in self.profiles.lock().expect("nothing panics with it").drain(..) {
            delete_now(profile as *mut Public<Profile>);
        }
    }
}

pub struct Config {
    /// What it was told, as lines of a plan.
    told: Mutex<Vec<String>>,
    profiles: Mutex<Vec<usize>>,
    _builder: Child,
}

/// By input: dimensions or values, smallest, best, largest.
#[derive(Default)]
pub struct Profile {
    dimensions: Mutex<BTreeMap<String, [Vec<i64>; 3]>>,
    values: Mutex<BTreeMap<String, [Vec<i64>; 3]>>,
}

pub struct HostMemory(Vec<u8>);

pub fn new(logger: *mut c_void) -> *mut Public<Builder> {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("VBuilder")
            .method("createBuilderConfig()", create_config as *const ())
            .method("createNetworkV2(NetworkDefinitionCreationFlags)", create_network as *const ())
            .method("createOptimizationProfile()", create_profile as *const ())
            .method("setErrorRecorder(IErrorRecorder *)", set_error_recorder as *const ())
            .method("buildSerializedNetwork(INetworkDefinition &, IBuilderConfig &)", build as *const ())
            .finish()
    });
    create(
        vtable,
        Builder { log: Log::new(logger), parts: Parent::new("IBuilder"), profiles: Mutex::default() },
    )
}

extern "C" fn set_error_recorder(this: &Implementation<Builder>, recorder: *mut c_void) {
    this.state.log.set_recorder(recorder);
}

extern "C" fn create_config(this: &Implementation<Builder>) -> *mut Public<Config> {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("VBuilderConfig")
            .method("setFlag(BuilderFlag)", set_flag as *const ())
            .method("addOptimizationProfile(const IOptimizationProfile *)", add_profile as *const ())
            .method("setMemoryPoolLimit(MemoryPoolType, std::size_t)", set_pool_limit as *const ())
            .method("setBuilderOptimizationLevel(int32_t)", set_optimization_level as *const ())
            .finish()
    });
    let config =
        Config { told: Mutex::default(), profiles: Mutex::default(), _builder: this.state.parts.child() };
    create(vtable, config)
}

extern "C" fn create_network(this: &Implementation<Builder>, flags: u32) -> *mut Public<Network> {
    let network = network::new(this.state.parts.child());
    // SAFETY: made just now.
    let implementation = unsafe { (*network).implementation };
    // SAFETY: as above.
    let state = unsafe { &(*implementation).state };
    state.contents().lines.push(format!("built_network {flags}"));
    network
}

extern "C" fn create_profile(this: &Implementation<Builder>) -> *mut Public<Profile> {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("VOptimizationProfile")
            .method(
                "setDimensions(const char *, OptProfileSelector, const Dims &)",
                set_dimensions as *const (),
            )
            .method(
                "setShapeValues(const char *, OptProfileSelector, const int32_t *, int32_t)",
                set_narrow as *const (),
            )
            .method(
                "setShapeValuesV2(const char *, OptProfileSelector, const int64_t *, int32_t)",
                set_values as *const (),
            )
            .method("isValid()", is_valid as *const ())
            .finish()
    });
    let profile = create(vtable, Profile::default());
    this.state.profiles.lock().expect("nothing panics with it").push(profile as usize);
    profile
}

extern "C" fn set_dimensions(
    this: &Implementation<Profile>,
    name: *const c_char,
    selector: i32,
    dims: *const Dims,
) -> bool {
    // SAFETY: a C++ reference.
    let shape = unsafe { &*dims }.shape().to_vec();
    put(&this.state.dimensions, name, selector, shape)
}

extern "C" fn set_values(
    this: &Implementation<Profile>,
    name: *const c_char,
    selector: i32,
    start: *const i64,
    count: i32,
) -> bool {
    // SAFETY: the caller says that so many values are there.
    let values = unsafe { std::slice::from_raw_parts(start, count as usize) };
    put(&this.state.values, name, selector, values.to_vec())
}

extern "C" fn set_narrow(
    this: &Implementation<Profile>,
    name: *const c_char,
    selector: i32,
    start: *const i32,
    count: i32,
) -> bool {
    // SAFETY: the caller says that so many values are there.
    let values = unsafe { std::slice::from_raw_parts(start, count as usize) };
    put(&this.state.values, name, selector, values.iter().map(|value| i64::from(*value)).collect())
}

fn put(
    map: &Mutex<BTreeMap<String, [Vec<i64>; 3]>>,
    name: *const c_char,
    selector: i32,
    list: Vec<i64>,
) -> bool {
    let mut map = map.lock().expect("nothing panics with it");
    let place = map.entry(text(name).to_owned()).or_default();
    match usize::try_from(selector).ok().and_then(|selector| place.get_mut(selector)) {
        Some(place) => {
            *place = list;
            true
        }
        None => false,
    }
}

extern "C" fn is_valid(this: &Implementation<Profile>) -> bool {
    let dimensions = this.state.dimensions.lock().expect("nothing panics with it");
    let values = this.state.values.lock().expect("nothing panics with it");
    dimensions.values().chain(values.values()).all(|[min, opt, max]| {
        let ordered =
            |low: &[i64], high: &[i64]| low.len() == high.len() && low.iter().zip(high).all(|(a, b)| a <= b);
        ordered(min, opt) && ordered(opt, max)
    })
}

fn tell(config: &Config, line: String) {
    config.told.lock().expect("nothing panics with it").push(line);
}

extern "C" fn set_flag(this: &Implementation<Config>, flag: i32) {
    tell(&this.state, format!("built_flag {flag}"));
}

extern "C" fn set_pool_limit(this: &Implementation<Config>, pool: i32, bytes: usize) {
    tell(&this.state, format!("built_pool {pool} {bytes}"));
}

extern "C" fn set_optimization_level(this: &Implementation<Config>, level: i32) {
    tell(&this.state, format!("built_level {level}"));
}

extern "C" fn add_profile(this: &Implementation<Config>, profile: *mut Public<Profile>) -> i32 {
    let mut profiles = this.state.profiles.lock().expect("nothing panics with it");
    profiles.push(profile as usize);
    profiles.len() as i32 - 1
}

extern "C" fn build(
    this: &Implementation<Builder>,
    network: *mut Public<Network>,
    config: *mut Public<Config>,
) -> *mut Public<HostMemory> {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("VHostMemory")
            .method("data()", data as *const ())
            .method("size()", size as *const ())
            .finish()
    });
    // SAFETY: C++ references to objects of this library.
    let network = unsafe { &*network };
    // SAFETY: as above.
    let network = unsafe { &(*network.implementation).state };
    // SAFETY: as above.
    let config = unsafe { &*config };
    // SAFETY: as above.
    let config = unsafe { &(*config.implementation).state };
    match plan(network, config) {
        Ok(plan) => create(vtable, HostMemory(plan.into_bytes())),
        Err(what) => {
            let log = &this.state.log;
            log.error("IBuilder::buildSerializedNetwork", 4, "4: API Usage Error", &what);
            std::ptr::null_mut()
        }
    }
}

/// The text of the plan.
fn plan(network: &Network, config: &Config) -> Result<String, String> {
    let contents = network.contents();
    let version = Behaviour::get().version;
    let mut lines = vec![MAGIC.to_owned(), format!("version {}.{}.{}", version[0], version[1], version[2])];
    lines.extend(contents.lines.iter().cloned());
    lines.extend(config.told.lock().expect("nothing panics with it").iter().cloned());
    let profiles = config.profiles.lock().expect("nothing panics with it");
    for input in &contents.inputs {
        let state = input.state();
        let mut line = written_tensor("in", state);
        for profile in &*profiles {
            line += &profile_of(*profile, state)?;
        }
        if profiles.is_empty() && state.shape.contains(&-1) {
            return Err("Network has dynamic or shape inputs, but no optimization profile has been defined."
                .to_owned());
        }
        lines.push(line);
    }
    lines.extend(contents.outputs.iter().map(|output| written_tensor("out", output.state())));
    lines.push("end".to_owned());
    Ok(lines.join("\n") + "\n")
}

fn profile_of(profile: usize, tensor: &TensorState) -> Result<String, String> {
    let profile = profile as *const Public<Profile>;
    // SAFETY: profiles live as long as the builder.
    let profile = unsafe { &*profile };
    // SAFETY: as above.
    let profile = unsafe { &(*profile.implementation).state };
    let name = tensor.name.to_string_lossy().into_owned();
    let join =
        |list: &[i64], separator: &str| list.iter().map(i64::to_string).collect::<Vec<_>>().join(separator);
    if let Some(values) = profile.values.lock().expect("nothing panics with it").get(&name) {
        return Ok(format!(" values={}", values.each_ref().map(|list| join(list, ",")).join(":")));
    }
    if !tensor.shape.contains(&-1) {
        return Ok(String::new());
    }
    let dimensions = profile.dimensions.lock().expect("nothing panics with it");
    let Some(shapes) = dimensions.get(&name) else {
        return Err(format!("Dynamic dimensions required for input: {name}, but no shapes were provided."));
    };
    for shape in shapes {
        let fits = |(own, set): (&i64, &i64)| *own == -1 || own == set;
        if shape.len() != tensor.shape.len() || !tensor.shape.iter().zip(shape).all(fits) {
            return Err(format!(
                "Profile dimensions {} of {name} do not match the network's {}.",
                written(shape),
                written(&tensor.shape)
            ));
        }
    }
    Ok(shapes.iter().map(|shape| format!(" {}", join(shape, "x"))).collect())
}

fn written_tensor(key: &str, tensor: &TensorState) -> String {
    let TensorState { name, datatype, shape, attributes } = tensor;
    let shape = if shape.is_empty() {
        "scalar".to_owned()
    } else {
        shape.iter().map(i64::to_string).collect::<Vec<_>>().join("x")
    };
    let attributes = if attributes.is_empty() { String::new() } else { format!(" {attributes}") };
    format!("{key} {} {datatype} {shape}{attributes}", name.to_string_lossy())
}

extern "C" fn data(this: &Implementation<HostMemory>) -> *const u8 {
    this.state.0.as_ptr()
}

extern "C" fn size(this: &Implementation<HostMemory>) -> usize {
    this.state.0.len()
}

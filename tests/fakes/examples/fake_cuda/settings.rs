//! What the variables say, read once.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

#[derive(Debug)]
pub(crate) struct Settings {
    /// Numbers of the GPUs that this process sees, in its order.
    pub(crate) visible: Vec<usize>,
    pub(crate) memory: u64,
    pub(crate) used: u64,
    capabilities: Vec<(i32, i32)>,
    pub(crate) is_mig: bool,
    pub(crate) init_error: u32,
    /// File that gets a line for every copy.
    pub(crate) copies: Option<PathBuf>,
}

pub(crate) fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(Settings::read)
}

impl Settings {
    fn read() -> Self {
        let count = number("FAKE_CUDA_DEVICES", 1) as usize;
        let capabilities = env::var("FAKE_CUDA_CAPABILITY").unwrap_or_else(|_| "9.0".to_owned());
        let capability = |text: &str| {
            let (major, minor) = text.split_once('.').expect("a compute capability such as 9.0");
            let part = |text: &str| text.parse().expect("a number");
            (part(major), part(minor))
        };
        Self {
            visible: visible(count),
            memory: number("FAKE_CUDA_MEMORY", 1 << 30),
            used: number("FAKE_CUDA_USED", 0),
            capabilities: capabilities.split(',').map(capability).collect(),
            is_mig: number("FAKE_CUDA_MIG", 0) != 0,
            init_error: number("FAKE_CUDA_INIT_ERROR", 0) as u32,
            copies: env::var_os("FAKE_CUDA_COPIES").map(PathBuf::from),
        }
    }

    /// Of the GPU of this number of the machine.
    pub(crate) fn capability(&self, number: usize) -> (i32, i32) {
        self.capabilities[number.min(self.capabilities.len() - 1)]
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// `CUDA_VISIBLE_DEVICES`: numbers or the starts of UUIDs, up to the first that is none.
fn visible(count: usize) -> Vec<usize> {
    let Ok(list) = env::var("CUDA_VISIBLE_DEVICES") else { return (0..count).collect() };
    let find = |item: &str| {
        let item = item.trim();
        (0..count).find(|number| {
            item == number.to_string() || item.len() > 4 && crate::devices::spelled(*number).starts_with(item)
        })
    };
    list.split(',').map_while(find).collect()
}

//! Looks for the driver and its GPUs, once.

use std::sync::{Arc, OnceLock};

use super::Unavailable;
use super::describe::{count, describe};
use super::gpu::Gpu;
use super::library::Driver;
use crate::{Device, Result};

/// The GPUs that the driver shows to this process (`CUDA_VISIBLE_DEVICES`), by their number; at least one. They are looked
/// for once, without using them: a GPU makes its context when it is first called.
///
/// # Errors
/// There is no driver, or no GPU, or the driver does not work: with the reason.
pub fn devices() -> Result<&'static [Arc<dyn Device>], Unavailable> {
    static DEVICES: OnceLock<Result<Vec<Arc<dyn Device>>, Unavailable>> = OnceLock::new();
    DEVICES.get_or_init(probe).as_deref().map_err(Clone::clone)
}

fn probe() -> Result<Vec<Arc<dyn Device>>, Unavailable> {
    let driver = Arc::new(Driver::load()?);
    let broken = |error| Unavailable::new(format!("the NVIDIA driver does not work: {error}"));
    let count = count(&driver).map_err(broken)?;
    if count == 0 {
        return Err(Unavailable::new("there is no GPU: the NVIDIA driver shows none"));
    }
    let gpu = |ordinal| {
        let (device, info) = describe(&driver, ordinal).map_err(broken)?;
        Ok(Arc::new(Gpu::new(driver.clone(), device, info)) as Arc<dyn Device>)
    };
    (0..count).map(gpu).collect()
}

//! Which of the driver's GPUs the page is about: those that CUDA uses in this process. CUDA's own list says it where there
//! is one, else `CUDA_VISIBLE_DEVICES`. Pure.

use super::cuda::CudaGpu;

/// A GPU as the management library lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) uuid: String,
    pub(super) pci_bus_id: String,
    /// The uuids of its MIG devices, where the GPU is in MIG mode. CUDA uses no other part of it then.
    pub(super) instances: Option<Vec<String>>,
}

/// One of CUDA's GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    /// CUDA's number.
    pub(super) ordinal: usize,
    /// Which of those listed it is.
    pub(super) gpu: usize,
    /// Which of its MIG devices, where it has any.
    pub(super) instance: Option<usize>,
}

/// The `listed` ones that are in `cuda`, in CUDA's order. What the management library does not know is left out.
pub(super) fn by_cuda(listed: &[Listed], cuda: &[CudaGpu]) -> Vec<Chosen> {
    let find = |(ordinal, wanted): (usize, &CudaGpu)| {
        let (gpu, instance) = instance_of(listed, |uuid| *uuid == *wanted.uuid)
            .or_else(|| usable(listed, |gpu| gpu.uuid == wanted.uuid))
            .or_else(|| usable(listed, |gpu| same_slot(&gpu.pci_bus_id, &wanted.pci_bus_id)))?;
        Some(Chosen { ordinal, gpu, instance })
    };
    cuda.iter().enumerate().filter_map(find).collect()
}

/// The `listed` ones that `CUDA_VISIBLE_DEVICES` names, all of them where it is not set. As for CUDA, the list ends before
/// the first name that is wrong. A number is a place in the driver's order, that of `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
pub(super) fn by_environment(listed: &[Listed], visible: Option<&str>) -> Vec<Chosen> {
    let named = |name: &str| match name.parse::<usize>() {
        Ok(number) => usable(listed, |gpu| listed.get(number).is_some_and(|other| std::ptr::eq(gpu, other))),
        Err(_) if name.starts_with("MIG-") => instance_of(listed, |uuid| uuid == name),
        Err(_) if name.starts_with("GPU-") => {
            // As much of the uuid as tells it from the others is enough.
            let one = listed.iter().filter(|gpu| gpu.uuid.starts_with(name)).count() == 1;
            one.then(|| usable(listed, |gpu| gpu.uuid.starts_with(name))).flatten()
        }
        Err(_) => None,
    };
    let found: Vec<(usize, Option<usize>)> = match visible {
        Some(names) => names.split(',').map(str::trim).map_while(named).collect(),
        None => (0..listed.len()).filter_map(|number| named(&number.to_string())).collect(),
    };
    let chosen = |(ordinal, (gpu, instance))| Chosen { ordinal, gpu, instance };
    found.into_iter().enumerate().map(chosen).collect()
}

/// What CUDA uses of the first GPU that is `wanted`: all of it, or its first MIG device.
fn usable(listed: &[Listed], wanted: impl Fn(&Listed) -> bool) -> Option<(usize, Option<usize>)> {
    let gpu = listed.iter().position(wanted)?;
    match &listed[gpu].instances {
        None => Some((gpu, None)),
        Some(instances) => (!instances.is_empty()).then_some((gpu, Some(0))),
    }
}

fn instance_of(listed: &[Listed], wanted: impl Fn(&str) -> bool) -> Option<(usize, Option<usize>)> {
    listed.iter().enumerate().find_map(|(gpu, listed)| {
        let instance = listed.instances.as_ref()?.iter().position(|uuid| wanted(uuid))?;
        Some((gpu, Some(instance)))
    })
}

/// CUDA writes the domain with four digits, the management library with eight.
fn same_slot(a: &str, b: &str) -> bool {
    !a.is_empty() && a.trim_start_matches('0').eq_ignore_ascii_case(b.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Vec<Listed> {
        let gpu = |uuid: &str, bus: u32, instances: Option<&[&str]>| Listed {
            uuid: uuid.to_owned(),
            pci_bus_id: format!("00000000:{bus:02X}:00.0"),
            instances: instances.map(|uuids| uuids.iter().map(|uuid| (*uuid).to_owned()).collect()),
        };
        vec![
            gpu("GPU-a1", 0x1a, None),
            gpu("GPU-a2", 0x1b, None),
            gpu("GPU-m", 0x1c, Some(&["MIG-x", "MIG-y"])),
            gpu("GPU-e", 0x1d, Some(&[])),
        ]
    }

    fn places(chosen: &[Chosen]) -> Vec<(usize, usize, Option<usize>)> {
        chosen.iter().map(|chosen| (chosen.ordinal, chosen.gpu, chosen.instance)).collect()
    }

    #[test]
    fn what_cuda_lists() {
        let check = |cuda: &[(&str, &str)], expected: &[(usize, usize, Option<usize>)]| {
            let cuda: Vec<_> = cuda
                .iter()
                .map(|(uuid, bus)| CudaGpu { uuid: (*uuid).to_owned(), pci_bus_id: (*bus).to_owned() })
                .collect();
            assert_eq!(places(&by_cuda(&listed(), &cuda)), expected, "{cuda:?}");
        };
        check(&[], &[]);
        check(&[("GPU-a2", ""), ("GPU-a1", "")], &[(0, 1, None), (1, 0, None)]);
        check(&[("MIG-y", "0000:1c:00.0")], &[(0, 2, Some(1))]);
        check(&[("GPU-m", "0000:1c:00.0")], &[(0, 2, Some(0))]);
        check(&[("", "0000:1b:00.0"), ("", "0000:1B:00.1")], &[(0, 1, None)]);
        check(&[("GPU-nosuch", ""), ("GPU-e", "0000:1d:00.0"), ("GPU-a1", "")], &[(2, 0, None)]);
    }

    #[test]
    fn what_the_environment_names() {
        let check = |visible: Option<&str>, expected: &[(usize, usize, Option<usize>)]| {
            assert_eq!(places(&by_environment(&listed(), visible)), expected, "{visible:?}");
        };
        check(None, &[(0, 0, None), (1, 1, None), (2, 2, Some(0))]);
        check(Some(""), &[]);
        check(Some("-1"), &[]);
        check(Some("1"), &[(0, 1, None)]);
        check(Some(" 1 , 0"), &[(0, 1, None), (1, 0, None)]);
        check(Some("0,7,1"), &[(0, 0, None)]);
        check(Some("0,nonsense,1"), &[(0, 0, None)]);
        check(Some("3"), &[]);
        check(Some("GPU-a2"), &[(0, 1, None)]);
        check(Some("GPU-a"), &[]);
        check(Some("GPU-m"), &[(0, 2, Some(0))]);
        check(Some("MIG-y,MIG-x,GPU-a1"), &[(0, 2, Some(1)), (1, 2, Some(0)), (2, 0, None)]);
        check(Some("MIG-z,GPU-a1"), &[]);
    }
}

//! Asks the driver about one GPU, or a part of one. What a GPU does not tell is left out, and the log says so once.

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;

use super::GpuValues;

/// What a device is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything.
    Gpu,
    /// Of a GPU in MIG mode, what its MIG devices share; the rest is theirs, and would count twice.
    Shared,
    /// Of a MIG device, what is its own.
    Instance,
}

/// A device, and what is known of it.
pub(super) struct Source<'a> {
    device: &'a Device<'a>,
    part: Part,
    uuid: String,
    /// For the log: CUDA's number.
    ordinal: usize,
    quantities: [Quantity; Question::ALL],
    /// The reading before, and what has come together since the first.
    energy_mj: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
enum Question {
    Utilization,
    Memory,
    PowerUsage,
    PowerLimit,
    Energy,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, Default)]
struct Quantity {
    /// A failure is in the log.
    told: bool,
    /// It is not asked again.
    unsupported: bool,
}

impl Question {
    const ALL: usize = Self::Energy as usize + 1;

    fn as_str(self) -> &'static str {
        match self {
            Self::Utilization => "GPU utilization",
            Self::Memory => "memory usage",
            Self::PowerUsage => "power usage",
            Self::PowerLimit => "power limit",
            Self::Energy => "energy consumption",
        }
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(device: &'a Device<'a>, part: Part, uuid: String, ordinal: usize) -> Self {
        let quantities = [Quantity::default(); Question::ALL];
        Self { device, part, uuid, ordinal, quantities, energy_mj: None }
    }

    /// Asks for everything that this part has.
    pub(super) fn read(&mut self) -> GpuValues {
        let mut values = GpuValues { uuid: self.uuid.clone(), ..Default::default() };
        if self.part != Part::Shared {
            let rates = self.ask(Question::Utilization, Device::utilization_rates);
            values.utilization = rates.map(|rates| f64::from(rates.gpu) / 100.0);
            let memory = self.ask(Question::Memory, Device::memory_info);
            values.memory_total_bytes = memory.as_ref().map(|memory| memory.total);
            values.memory_used_bytes = memory.map(|memory| memory.used);
        }
        if self.part != Part::Instance {
            let watts = |milliwatts: u32| f64::from(milliwatts) / 1000.0;
            values.power_usage_watts = self.ask(Question::PowerUsage, Device::power_usage).map(watts);
            values.power_limit_watts =
                self.ask(Question::PowerLimit, Device::power_management_limit).map(watts);
            values.energy_joules = self.energy_joules();
        }
        values
    }

    /// The driver's counter begins when it is loaded, and again when it is loaded anew.
    fn energy_joules(&mut self) -> Option<f64> {
        let now = self.ask(Question::Energy, Device::total_energy_consumption)?;
        let (before, sum) = self.energy_mj.unwrap_or((now, 0));
        let sum = sum.saturating_add(now.saturating_sub(before));
        self.energy_mj = Some((now, sum));
        Some(sum as f64 / 1000.0)
    }

    fn ask<T>(
        &mut self,
        question: Question,
        query: impl FnOnce(&Device<'a>) -> Result<T, NvmlError>,
    ) -> Option<T> {
        let quantity = &mut self.quantities[question as usize];
        if quantity.unsupported {
            return None;
        }
        let error = match query(self.device) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        quantity.unsupported = matches!(
            error,
            NvmlError::NotSupported | NvmlError::FunctionNotFound | NvmlError::FailedToLoadSymbol(_)
        );
        let (what, ordinal, uuid) = (question.as_str(), self.ordinal, &self.uuid);
        match (std::mem::replace(&mut quantity.told, true), self.part) {
            (true, _) => {}
            // As a rule the driver does not tell it of a part.
            (false, Part::Instance) if quantity.unsupported => {
                tracing::info!("Unable to get {what} for GPU {ordinal} ({uuid}). Status:{error}");
            }
            (false, _) => tracing::warn!("Unable to get {what} for GPU {ordinal} ({uuid}). Status:{error}"),
        }
        None
    }
}

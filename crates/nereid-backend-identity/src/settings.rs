//! `parameters` of a config that this backend reads. The others of Triton's backend (`enable_custom_tracing` and what
//! belongs to it) have no effect.

use std::time::Duration;

use nereid_core::{Error, ModelConfig, Result};

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    execute_delay_ms: u64,
    /// Instance `n` takes `n` times this many delays, where that is more than one.
    delay_multiplier: u64,
    /// Before a version is loaded.
    pub(crate) creation_delay_sec: u64,
}

impl Settings {
    /// # Errors
    /// `InvalidArg`: a number is none.
    pub(crate) fn read(config: &ModelConfig) -> Result<Self> {
        let execute_delay_ms = number(config, "execute_delay_ms")?;
        // Read only where there is a delay to multiply, as in Triton.
        let delay_multiplier = match execute_delay_ms {
            0 => 0,
            _ => number(config, "instance_wise_delay_multiplier")?,
        };
        Ok(Self {
            execute_delay_ms,
            delay_multiplier,
            creation_delay_sec: number(config, "creation_delay_sec")?,
        })
    }

    /// How long each execution of the instance takes that was made as number `instance`, from 0.
    pub(crate) fn delay_of(&self, instance: u64) -> Duration {
        let times = self.delay_multiplier.saturating_mul(instance).max(1);
        Duration::from_millis(self.execute_delay_ms.saturating_mul(times))
    }
}

/// 0 where the config does not give it.
fn number(config: &ModelConfig, name: &str) -> Result<u64> {
    let Some(text) = config.parameters.get(name) else { return Ok(0) };
    // Triton's numbers are 32 bits wide.
    let number = text.trim().parse::<u32>().ok().filter(|number| i32::try_from(*number).is_ok());
    number.map(u64::from).ok_or_else(|| {
        Error::invalid_arg(format!(
            "parameter '{name}' of model '{}' must be a number from 0 to {}, got '{text:.100}'",
            config.name,
            i32::MAX
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<Settings, String> {
        let parameters = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = ModelConfig { name: "m".into(), parameters: parameters.collect(), ..Default::default() };
        Settings::read(&config).map_err(|e| e.with_code())
    }

    #[test]
    fn delays_of_instances() {
        let delays = |parameters: &[(&str, &str)]| {
            let settings = read(parameters).unwrap();
            [0, 1, 2].map(|instance| settings.delay_of(instance).as_millis())
        };
        let multiplier = ("instance_wise_delay_multiplier", "4");
        assert_eq!(delays(&[]), [0, 0, 0]);
        assert_eq!(delays(&[("execute_delay_ms", "100")]), [100, 100, 100]);
        assert_eq!(delays(&[("execute_delay_ms", " 100"), multiplier]), [100, 400, 800]);
        assert_eq!(delays(&[multiplier]), [0, 0, 0]);
        let most = [("execute_delay_ms", "2147483647"), ("instance_wise_delay_multiplier", "2147483647")];
        assert_eq!(read(&most).unwrap().delay_of(u64::MAX), Duration::from_millis(u64::MAX));
        assert_eq!(read(&[("creation_delay_sec", "3")]).unwrap().creation_delay_sec, 3);
    }

    #[test]
    fn what_is_no_number() {
        for (name, text) in [
            ("execute_delay_ms", ""),
            ("execute_delay_ms", "soon"),
            ("execute_delay_ms", "-1"),
            ("creation_delay_sec", "0.5"),
            ("creation_delay_sec", "2147483648"),
        ] {
            assert_eq!(
                read(&[(name, text)]).unwrap_err(),
                format!(
                    "Invalid argument: parameter '{name}' of model 'm' must be a number from 0 to 2147483647, got '{text}'"
                )
            );
        }
    }
}

//! `--trace-config` and the older `--trace-…` flags: collected one by one, settled when all are there. Rules and texts
//! are Triton's (`command_line_parser.cc`, `PostProcessTraceArgs`).

use crate::trace::{Level, Mode, NUMBERS, OtlpOptions, TraceOptions};

use super::value::{self, Result};

/// What the flags have said so far.
#[derive(Debug, Default)]
pub(super) struct TraceDraft {
    /// From the older flags.
    options: TraceOptions,
    /// The older flags that were given.
    older: Vec<&'static str>,
    /// `--trace-level=OFF` precedes everything.
    off: bool,
    /// `--trace-config`: mode, setting, value; an empty mode is for the settings of all modes.
    config: Vec<(Option<Mode>, String, String)>,
}

impl TraceDraft {
    /// `--trace-file`.
    pub(super) fn file(&mut self, text: &str) -> Result<()> {
        text.clone_into(&mut self.options.file);
        self.given("file", Ok(()))
    }

    /// `--trace-level`; several are added up.
    pub(super) fn level(&mut self, text: &str) -> Result<()> {
        let level = level(text)?;
        self.off |= level.is_off();
        self.options.values.level = self.options.values.level.and(level);
        self.given("level", Ok(()))
    }

    /// `--trace-rate`.
    pub(super) fn rate(&mut self, text: &str) -> Result<()> {
        let rate = value::integer::<i32>(text).map(|rate| self.options.values.rate = rate as u32);
        self.given("rate", rate)
    }

    /// `--trace-count`.
    pub(super) fn count(&mut self, text: &str) -> Result<()> {
        let count = value::integer(text).map(|count| self.options.values.count = count);
        self.given("count", count)
    }

    /// `--trace-log-frequency`.
    pub(super) fn log_frequency(&mut self, text: &str) -> Result<()> {
        let frequency = value::integer::<i32>(text);
        let frequency = frequency.map(|frequency| self.options.values.log_frequency = frequency as u32);
        self.given("log-frequency", frequency)
    }

    /// `--trace-config`.
    pub(super) fn config(&mut self, text: &str) -> Result<()> {
        let (name, key, setting) = value::named_setting(text, "trace-config", "trace mode", "trace mode")?;
        let mode = if name.is_empty() { None } else { Some(mode(name)?) };
        self.config.push((mode, key.to_owned(), setting.to_owned()));
        Ok(())
    }

    /// The settings, and what the user should know about them. `variable` knows the environment.
    ///
    /// # Errors
    /// The whole message for a value of `--trace-config` or a variable that makes no sense.
    pub(super) fn finish(
        mut self,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(TraceOptions, Vec<String>)> {
        let mut warnings = Vec::new();
        for (_, key, setting) in self.config.iter().filter(|(mode, ..)| mode.is_none()) {
            let values = &mut self.options.values;
            let overrides = |what: &str| {
                format!(
                    "Overriding deprecated '--trace-{key}' in favor of provided {what} in --trace-config!"
                )
            };
            let older = self.older.contains(&key.as_str());
            let taken = match key.as_str() {
                "rate" => {
                    warnings.extend(older.then(|| overrides("rate value")));
                    value::integer::<i32>(setting).map(|rate| values.rate = rate as u32)
                }
                "count" => {
                    warnings.extend(older.then(|| overrides("count")));
                    value::integer(setting).map(|count| values.count = count)
                }
                "level" => {
                    warnings.extend(older.then(|| overrides("level")));
                    level(setting).map(|level| values.level = values.level.and(level))
                }
                "mode" => mode(setting).map(|mode| self.options.mode = mode),
                _ => {
                    warnings.push(no_effect(key));
                    Ok(())
                }
            };
            taken.map_err(|reason| bad("", key, &reason))?;
        }
        match self.options.mode {
            Mode::Triton => self.triton(&mut warnings)?,
            Mode::OpenTelemetry => self.open_telemetry(variable, &mut warnings)?,
        }
        if self.off {
            self.options.values.level = Level::default();
        }
        Ok((self.options, warnings))
    }

    fn triton(&mut self, warnings: &mut Vec<String>) -> Result<()> {
        for (_, key, setting) in self.config.iter().filter(|(mode, ..)| *mode == Some(Mode::Triton)) {
            if self.older.contains(&key.as_str()) {
                warnings.push(format!(
                    "Overriding deprecated '--trace-{key}' in favor of provided {key} in --trace-config!"
                ));
            }
            match key.as_str() {
                "file" => setting.clone_into(&mut self.options.file),
                "log-frequency" => {
                    let frequency =
                        value::integer::<i32>(setting).map_err(|reason| bad("triton,", key, &reason))?;
                    self.options.values.log_frequency = frequency as u32;
                }
                _ => {
                    warnings.push(no_effect(&format!("triton,{key}")));
                    self.options.others.push((key.clone(), setting.clone()));
                }
            }
        }
        Ok(())
    }

    fn open_telemetry(
        &mut self,
        variable: &dyn Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        for older in self.older.iter().filter(|older| ["file", "log-frequency"].contains(older)) {
            warnings.push(format!(
                "'--trace-{older}' is deprecated and will be ignored with opentelemetry tracing mode."
            ));
        }
        for (_, key, setting) in self.config.iter().filter(|(mode, ..)| *mode == Some(Mode::OpenTelemetry)) {
            let setting = match NUMBERS.iter().any(|(name, ..)| name == key) {
                true => number(setting).map_err(|reason| bad("opentelemetry,", key, &reason))?,
                false => setting.clone(),
            };
            if !OtlpOptions::knows(key) {
                warnings.push(no_effect(&format!("opentelemetry,{key}")));
            }
            self.options.others.push((key.clone(), setting));
        }
        for (name, of_environment, default) in NUMBERS {
            if !self.options.others.iter().any(|(key, _)| key == name) {
                let given = variable(of_environment).unwrap_or_else(|| default.to_owned());
                let setting = number(&given).map_err(|reason| bad_option(of_environment, &reason))?;
                self.options.others.push((name.to_owned(), setting));
            }
        }
        if self.options.values.level.tensors {
            warnings.push("trace level TENSORS has no effect with opentelemetry tracing mode.".to_owned());
        }
        self.options.otlp = OtlpOptions::new(&self.options.others, variable, warnings)
            .map_err(|(option, reason)| bad_option(&option, &reason))?;
        Ok(())
    }

    fn given(&mut self, flag: &'static str, taken: Result<()>) -> Result<()> {
        self.older.push(flag);
        taken
    }
}

fn level(text: &str) -> Result<Level> {
    let (timestamps, tensors) = match text.to_ascii_lowercase().as_str() {
        "false" | "off" => (false, false),
        "true" | "on" | "min" | "max" | "timestamps" => (true, false),
        "tensors" => (false, true),
        other => return Err(format!("invalid value for trace level option: {other}")),
    };
    Ok(Level { timestamps, tensors })
}

fn mode(text: &str) -> Result<Mode> {
    match text.to_ascii_lowercase().as_str() {
        "triton" => Ok(Mode::Triton),
        "opentelemetry" => Ok(Mode::OpenTelemetry),
        other => Err(format!(
            "invalid value for trace mode option: {other}. Available options are \"triton\" and \"opentelemetry\""
        )),
    }
}

/// Triton passes over settings that it does not know; say so instead.
fn no_effect(key: &str) -> String {
    format!("'--trace-config {key}' is not supported and has no effect.")
}

/// A number as the settings show it.
fn number(text: &str) -> Result<String> {
    value::integer::<u32>(text).map(|number| number.to_string())
}

fn bad(mode: &str, key: &str, reason: &str) -> String {
    bad_option(&format!("--trace-config {mode}{key}"), reason)
}

fn bad_option(option: &str, reason: &str) -> String {
    format!("Bad option: \"{option}\".\n{reason}")
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;

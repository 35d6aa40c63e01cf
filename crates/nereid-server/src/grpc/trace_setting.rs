//! `TraceSetting` (`grpc_server.cc`, `RegisterTrace`). A setting without a value is cleared.

use std::collections::BTreeMap;

use nereid_core::{Error, Result};
use nereid_protocol::inference::trace_setting_response::SettingValue;
use nereid_protocol::inference::{TraceSettingRequest, TraceSettingResponse};

use crate::service::Service;
use crate::trace::{self, Change, Mode, Protocol, Shown, Update, Values};

/// Changes what `request` has and answers with all settings.
///
/// # Errors
/// The model is not there, the request names the file of traces, or a value makes no sense.
pub(super) fn answer(service: &Service, request: TraceSettingRequest) -> Result<TraceSettingResponse> {
    let model = &request.model_name;
    if !model.is_empty() {
        service.model(model, None)?;
    }
    if !request.settings.is_empty() {
        service.tracer().update(model, &update(&request)?)?;
    }
    Ok(shown(&service.tracer().shown(model)))
}

fn update(request: &TraceSettingRequest) -> Result<Update> {
    if request.settings.contains_key("trace_file") {
        return Err(trace::file_is_fixed());
    }
    let level = match values(request, "trace_level") {
        None => Change::Keep,
        Some([]) => Change::Clear,
        Some(names) => trace::level(names.iter().map(String::as_str))?,
    };
    Ok(Update {
        level,
        rate: number(request, "trace_rate", trace::rate)?,
        count: number(request, "trace_count", |text| trace::count(text, Protocol::Grpc))?,
        log_frequency: number(request, "log_frequency", trace::frequency)?,
    })
}

fn values<'a>(request: &'a TraceSettingRequest, name: &str) -> Option<&'a [String]> {
    request.settings.get(name).map(|setting| &setting.value[..])
}

fn number<T>(
    request: &TraceSettingRequest,
    name: &str,
    read: impl Fn(&str) -> Result<T>,
) -> Result<Change<T>> {
    match values(request, name) {
        None => Ok(Change::Keep),
        Some([]) => Ok(Change::Clear),
        Some([text]) => read(text).map(Change::Set),
        Some(_) => Err(Error::invalid_arg(format!("expect only 1 value for '{name}'"))),
    }
}

fn shown(shown: &Shown<'_>) -> TraceSettingResponse {
    let Shown { values: Values { level, rate, count, log_frequency }, file, mode, others } = shown;
    let level = level.names().into_iter().map(str::to_owned).collect();
    let mut settings = vec![
        ("trace_level", level),
        ("trace_rate", vec![rate.to_string()]),
        ("trace_count", vec![count.to_string()]),
        ("trace_mode", vec![mode.name().to_owned()]),
    ];
    if *mode == Mode::Triton {
        settings.push(("log_frequency", vec![log_frequency.to_string()]));
        settings.push(("trace_file", vec![(*file).to_owned()]));
    }
    settings.extend(others.iter().map(|(name, value)| (name.as_str(), vec![value.clone()])));
    let mut told = BTreeMap::<String, SettingValue>::new();
    for (name, values) in settings {
        told.entry(name.to_owned()).or_default().value.extend(values); // some may be given several times
    }
    TraceSettingResponse { settings: told }
}

#[cfg(test)]
mod tests {
    use nereid_core::ErrorCode;
    use nereid_protocol::inference::trace_setting_request::SettingValue;

    use super::*;
    use crate::trace::Level;

    fn of(name: &str, values: &[&str]) -> Result<Update> {
        let value = SettingValue { value: values.iter().map(|v| (*v).to_owned()).collect() };
        update(&TraceSettingRequest { settings: [(name.to_owned(), value)].into(), ..Default::default() })
    }

    #[test]
    fn messages() {
        let none = Update::default();
        let timestamps = Level { timestamps: true, tensors: false };
        for (name, values, expected) in [
            ("foo", &["1"][..], none),
            ("trace_level", &["TIMESTAMPS"], Update { level: Change::Set(timestamps), ..none }),
            ("trace_level", &[], Update { level: Change::Clear, ..none }),
            ("trace_rate", &["5"], Update { rate: Change::Set(5), ..none }),
            ("trace_count", &[], Update { count: Change::Clear, ..none }),
            ("log_frequency", &["10"], Update { log_frequency: Change::Set(10), ..none }),
        ] {
            assert_eq!(of(name, values).unwrap(), expected, "{name}");
        }
        for (name, values, code, expected) in [
            (
                "trace_file",
                &[][..],
                ErrorCode::Unsupported,
                "trace file location can not be updated through network protocol",
            ),
            ("trace_rate", &["1", "2"], ErrorCode::InvalidArg, "expect only 1 value for 'trace_rate'"),
            ("trace_rate", &["abc"], ErrorCode::InvalidArg, "Unable to parse 'trace_rate', got: abc"),
            (
                "trace_count",
                &["-2"],
                ErrorCode::InvalidArg,
                "Unable to parse 'trace_count'. Expecting value >= -1, got: -2",
            ),
            (
                "trace_level",
                &["OFF", "TENSORS"],
                ErrorCode::InvalidArg,
                "Expect only one trace level 'OFF' is specified",
            ),
        ] {
            let error = of(name, values).unwrap_err();
            assert_eq!((error.code(), error.message()), (code, expected), "{name}");
        }
    }
}

//! `LogSettings` (`grpc_server.cc`, `RegisterLogging`). A request that is refused changes nothing; in Triton it does
//! what stands before the mistake.
//!
//! `access_log`, which Triton does not have, switches the access log; it is shown while that is on.

use nereid_core::{Error, Result};
use nereid_protocol::inference::log_settings_request::setting_value::ParameterChoice as Asked;
use nereid_protocol::inference::log_settings_response::SettingValue;
use nereid_protocol::inference::log_settings_response::setting_value::ParameterChoice as Told;
use nereid_protocol::inference::{LogSettingsRequest, LogSettingsResponse};

use crate::logging::{self, LogChange, LogFormat, verbose_level};
use crate::service::Service;

/// Changes what `request` has and answers with all settings.
///
/// # Errors
/// The request names the log's file, or a value of the wrong type.
pub(super) fn answer(service: &Service, request: &LogSettingsRequest) -> Result<LogSettingsResponse> {
    if !request.settings.is_empty() {
        let change = change(request)?;
        if let Some(on) = boolean(request, "access_log")? {
            service.access().switch(on)?;
        }
        service.log().change(&change);
    }
    let options = service.log().options();
    let settings = [
        ("log_file", Told::StringParam(options.file_name())),
        ("log_info", Told::BoolParam(options.info)),
        ("log_warning", Told::BoolParam(options.warning)),
        ("log_error", Told::BoolParam(options.error)),
        ("log_verbose_level", Told::Uint32Param(options.verbose)),
        ("log_format", Told::StringParam(options.format.to_string())),
    ];
    let told = |(name, value): (&str, _)| (name.to_owned(), SettingValue { parameter_choice: Some(value) });
    let access = service.access().is_on().then_some(("access_log", Told::BoolParam(true)));
    Ok(LogSettingsResponse { settings: settings.into_iter().chain(access).map(told).collect() })
}

fn change(request: &LogSettingsRequest) -> Result<LogChange> {
    if request.settings.contains_key("log_file") {
        return Err(logging::file_is_fixed());
    }
    Ok(LogChange {
        info: boolean(request, "log_info")?,
        warning: boolean(request, "log_warning")?,
        error: boolean(request, "log_error")?,
        verbose: match value(request, "log_verbose_level") {
            None => None,
            Some(Some(Asked::Uint32Param(level))) => Some(verbose_level(u64::from(*level))),
            Some(_) => return Err(Error::invalid_arg("expect int32 for 'log_verbose_level'")),
        },
        format: match value(request, "log_format") {
            None => None,
            Some(Some(Asked::StringParam(name))) => Some(format(name)?),
            Some(_) => return Err(Error::invalid_arg("expect string for 'log_format'")),
        },
    })
}

/// The value of `name`, itself possibly empty, where the request has it.
fn value<'a>(request: &'a LogSettingsRequest, name: &str) -> Option<Option<&'a Asked>> {
    request.settings.get(name).map(|value| value.parameter_choice.as_ref())
}

fn boolean(request: &LogSettingsRequest, name: &str) -> Result<Option<bool>> {
    match value(request, name) {
        None => Ok(None),
        Some(Some(Asked::BoolParam(on))) => Ok(Some(*on)),
        Some(_) => Err(Error::invalid_arg(format!("expect boolean for '{name}'"))),
    }
}

fn format(name: &str) -> Result<LogFormat> {
    name.parse().map_err(|()| Error::invalid_arg(format!("invalid argument for log_format, got: {name}")))
}

#[cfg(test)]
mod tests {
    use nereid_core::ErrorCode;
    use nereid_protocol::inference::log_settings_request::SettingValue;

    use super::*;

    fn request(name: &str, value: Option<Asked>) -> LogSettingsRequest {
        let value = SettingValue { parameter_choice: value };
        LogSettingsRequest { settings: [(name.to_owned(), value)].into() }
    }

    #[test]
    fn messages() {
        let none = LogChange::default();
        let text = |text: &str| Some(Asked::StringParam(text.to_owned()));
        for (name, value, expected) in [
            ("foo", text("bar"), none),
            ("log_info", Some(Asked::BoolParam(false)), LogChange { info: Some(false), ..none }),
            ("log_warning", Some(Asked::BoolParam(true)), LogChange { warning: Some(true), ..none }),
            ("log_error", Some(Asked::BoolParam(true)), LogChange { error: Some(true), ..none }),
            ("log_verbose_level", Some(Asked::Uint32Param(2)), LogChange { verbose: Some(2), ..none }),
            ("log_verbose_level", Some(Asked::Uint32Param(u32::MAX)), LogChange { verbose: Some(0), ..none }),
            ("log_format", text("ISO8601"), LogChange { format: Some(LogFormat::Iso8601), ..none }),
            ("log_format", text("json"), LogChange { format: Some(LogFormat::Json), ..none }),
        ] {
            assert_eq!(change(&request(name, value)).unwrap(), expected, "{name}");
        }
        for (name, value, expected) in [
            ("log_info", text("yes"), "expect boolean for 'log_info'"),
            ("log_error", None, "expect boolean for 'log_error'"),
            ("log_verbose_level", Some(Asked::BoolParam(true)), "expect int32 for 'log_verbose_level'"),
            ("log_format", Some(Asked::Uint32Param(1)), "expect string for 'log_format'"),
            ("log_format", text("x\ny"), "invalid argument for log_format, got: x\ny"),
        ] {
            let error = change(&request(name, value)).unwrap_err();
            assert_eq!((error.code(), error.message()), (ErrorCode::InvalidArg, expected), "{name}");
        }
        let error = change(&request("log_file", None)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unsupported);
    }
}

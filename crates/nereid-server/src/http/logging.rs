//! `/v2/logging`: the settings of the log (`http_server.cc`, `HandleLogging`). A request that is refused changes
//! nothing; in Triton it does what stands before the mistake.
//!
//! `access_log`, which Triton does not have, switches the access log; it is shown while that is on.

use axum::extract::{Request, State};
use nereid_core::{Error, Result};
use nereid_protocol::rest::Json;
use serde::Serialize;

use super::json::{self, Answer};
use super::settings::member;
use super::{Http, settings};
use crate::logging::{self, LogChange, LogFormat, verbose_level};
use crate::service::Service;

pub(super) async fn get(State(http): State<Http>) -> Answer {
    show(&http.service)
}

pub(super) async fn set(State(http): State<Http>, request: Request) -> Answer {
    let settings = settings::read(&http, request).await?;
    let change = change(&settings)?;
    if let Some(on) = member(&settings, "access_log", Json::as_bool)? {
        http.service.access().switch(on)?;
    }
    http.service.log().change(&change);
    show(&http.service)
}

fn change(settings: &Json) -> Result<LogChange> {
    if member(settings, "log_file", Ok)?.is_some() {
        return Err(logging::file_is_fixed());
    }
    Ok(LogChange {
        info: member(settings, "log_info", Json::as_bool)?,
        warning: member(settings, "log_warning", Json::as_bool)?,
        error: member(settings, "log_error", Json::as_bool)?,
        verbose: member(settings, "log_verbose_level", Json::as_u64)?.map(verbose_level),
        format: member(settings, "log_format", Json::as_str)?.map(format).transpose()?,
    })
}

fn format(name: &str) -> Result<LogFormat> {
    name.parse().map_err(|()| Error::unavailable(format!("invalid argument for --log_format, got: {name}")))
}

fn show(service: &Service) -> Answer {
    #[derive(Serialize)]
    struct Settings {
        log_file: String,
        log_info: bool,
        log_warning: bool,
        log_error: bool,
        log_verbose_level: u32,
        log_format: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        access_log: Option<bool>,
    }
    let options = service.log().options();
    json::write(&Settings {
        log_file: options.file_name(),
        log_info: options.info,
        log_warning: options.warning,
        log_error: options.error,
        log_verbose_level: options.verbose,
        log_format: options.format.to_string(),
        access_log: service.access().is_on().then_some(true),
    })
}

#[cfg(test)]
mod tests {
    use nereid_core::ErrorCode;

    use super::*;

    #[test]
    fn bodies() {
        let change = |text: &str| change(&Json::parse(text.as_bytes()).unwrap());
        let none = LogChange::default();
        for (text, expected) in [
            ("{}", none),
            ("[1]", none),
            (r#"{"foo":1,"log_file":null,"log_info":null}"#, none),
            (
                r#"{"log_info":false,"log_error":true}"#,
                LogChange { info: Some(false), error: Some(true), ..none },
            ),
            (r#"{"log_warning":false}"#, LogChange { warning: Some(false), ..none }),
            (r#"{"log_verbose_level":3}"#, LogChange { verbose: Some(3), ..none }),
            (r#"{"log_verbose_level":4294967299}"#, LogChange { verbose: Some(3), ..none }),
            (r#"{"log_verbose_level":2147483648}"#, LogChange { verbose: Some(0), ..none }),
            (r#"{"log_format":"ISO8601"}"#, LogChange { format: Some(LogFormat::Iso8601), ..none }),
            (r#"{"log_format":"json"}"#, LogChange { format: Some(LogFormat::Json), ..none }),
        ] {
            assert_eq!(change(text).unwrap(), expected, "{text}");
        }
        let unsigned = "attempt to access JSON non-unsigned-integer as unsigned-integer";
        for (text, code, expected) in [
            (
                r#"{"log_file":"","log_info":1}"#,
                ErrorCode::Unsupported,
                "log file location can not be updated through network protocol",
            ),
            (r#"{"log_info":"yes"}"#, ErrorCode::Internal, "attempt to access JSON non-boolean as boolean"),
            (r#"{"log_verbose_level":-1}"#, ErrorCode::Internal, unsigned),
            (r#"{"log_verbose_level":18446744073709551616}"#, ErrorCode::Internal, unsigned),
            (r#"{"log_format":8601}"#, ErrorCode::Internal, "attempt to access JSON non-string as string"),
            (
                r#"{"log_format":"x\u0000\ny"}"#,
                ErrorCode::Unavailable,
                "invalid argument for --log_format, got: x\0\ny",
            ),
        ] {
            let error = change(text).unwrap_err();
            assert_eq!((error.code(), error.message()), (code, expected), "{text}");
        }
    }
}

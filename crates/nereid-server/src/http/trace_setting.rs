//! `/v2/trace/setting` and `/v2/models/{model}/trace/setting`: the settings of traces (`http_server.cc`, `HandleTrace`).

use axum::extract::{Request, State};
use nereid_core::{Error, Result};
use nereid_protocol::rest::Json;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::json::{self, Answer};
use super::path::ModelPath;
use super::{Http, settings};
use crate::trace::{self, Change, Level, Mode, Protocol, Shown, Update, Values};

pub(super) async fn get(State(http): State<Http>) -> Answer {
    show(&http, "")
}

pub(super) async fn set(State(http): State<Http>, request: Request) -> Answer {
    change(&http, "", request).await
}

pub(super) async fn get_of_model(State(http): State<Http>, path: ModelPath) -> Answer {
    http.service.model(&path.name, None)?;
    show(&http, &path.name)
}

pub(super) async fn set_of_model(State(http): State<Http>, path: ModelPath, request: Request) -> Answer {
    http.service.model(&path.name, None)?;
    change(&http, &path.name, request).await
}

async fn change(http: &Http, model: &str, request: Request) -> Answer {
    let update = update(&settings::read(http, request).await?)?;
    http.service.tracer().update(model, &update)?;
    show(http, model)
}

fn show(http: &Http, model: &str) -> Answer {
    json::write(&Settings(http.service.tracer().shown(model)))
}

fn update(settings: &Json) -> Result<Update> {
    if settings.get("trace_file").is_some() {
        return Err(trace::file_is_fixed());
    }
    Ok(Update {
        level: level(settings.get("trace_level"))?,
        rate: number(settings.get("trace_rate"), trace::rate)?,
        count: number(settings.get("trace_count"), |text| trace::count(text, Protocol::Http))?,
        log_frequency: number(settings.get("log_frequency"), trace::frequency)?,
    })
}

fn level(value: Option<&Json>) -> Result<Change<Level>> {
    let names = match value {
        None => return Ok(Change::Keep),
        Some(Json::Null) => return Ok(Change::Clear),
        Some(value) => value.as_array().map_err(Error::internal)?,
    };
    let names: Vec<_> = names.iter().map(Json::as_str).collect::<Result<_, _>>().map_err(Error::internal)?;
    trace::level(names.into_iter())
}

/// Numbers are strings here.
fn number<T>(value: Option<&Json>, read: impl Fn(&str) -> Result<T>) -> Result<Change<T>> {
    match value {
        None => Ok(Change::Keep),
        Some(Json::Null) => Ok(Change::Clear),
        Some(value) => read(value.as_str().map_err(Error::internal)?).map(Change::Set),
    }
}

/// Settings as JSON, in Triton's order.
struct Settings<'a>(Shown<'a>);

impl Serialize for Settings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shown { values: Values { level, rate, count, log_frequency }, file, mode, others } = &self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("trace_level", &level.names())?;
        map.serialize_entry("trace_rate", &rate.to_string())?;
        map.serialize_entry("trace_count", &count.to_string())?;
        if *mode == Mode::Triton {
            map.serialize_entry("log_frequency", &log_frequency.to_string())?;
            map.serialize_entry("trace_file", file)?;
        }
        map.serialize_entry("trace_mode", mode.name())?;
        for (name, value) in *others {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use nereid_core::ErrorCode;

    use super::*;

    #[test]
    fn bodies() {
        let update = |text: &str| update(&Json::parse(text.as_bytes()).unwrap());
        let none = Update::default();
        let both = Level { timestamps: true, tensors: true };
        for (text, expected) in [
            ("{}", none),
            ("3", none),
            (r#"{"foo":"1","trace_mode":"opentelemetry"}"#, none),
            (r#"{"trace_level":["TIMESTAMPS","TENSORS"]}"#, Update { level: Change::Set(both), ..none }),
            (r#"{"trace_level":[]}"#, none),
            (
                r#"{"trace_level":null,"trace_rate":null}"#,
                Update { level: Change::Clear, rate: Change::Clear, ..none },
            ),
            (
                r#"{"trace_count":"7","log_frequency":"-1"}"#,
                Update { count: Change::Set(7), log_frequency: Change::Set(u32::MAX), ..none },
            ),
        ] {
            assert_eq!(update(text).unwrap(), expected, "{text}");
        }
        let (internal, no_string) = (ErrorCode::Internal, "attempt to access JSON non-string as string");
        for (text, code, expected) in [
            (
                r#"{"trace_rate":1,"trace_file":null}"#,
                ErrorCode::Unsupported,
                "trace file location can not be updated through network protocol",
            ),
            (r#"{"trace_rate":500}"#, internal, no_string),
            (r#"{"trace_level":["OFF",1]}"#, internal, no_string),
            (r#"{"trace_level":"OFF"}"#, internal, "attempt to access JSON non-array as array"),
            (
                r#"{"trace_count":"-2"}"#,
                ErrorCode::InvalidArg,
                "Unable to parse 'trace_count'. Expecting value >= -1, got:-2",
            ),
            (
                r#"{"log_frequency":"x\u0000\n"}"#,
                ErrorCode::InvalidArg,
                "Unable to parse 'log_frequency', got: x\0\n",
            ),
        ] {
            let error = update(text).unwrap_err();
            assert_eq!((error.code(), error.message()), (code, expected), "{text}");
        }
    }

    #[test]
    fn answers() {
        let others = [("url".to_owned(), "x\"y".to_owned())];
        let values = Values { count: -1, ..Values::default() };
        let shown = |mode, others| {
            serde_json::to_string(&Settings(Shown { values, file: "/t", mode, others })).unwrap()
        };
        assert_eq!(
            shown(Mode::Triton, &[]),
            r#"{"trace_level":["OFF"],"trace_rate":"1000","trace_count":"-1","log_frequency":"0","trace_file":"/t","trace_mode":"triton"}"#
        );
        assert_eq!(
            shown(Mode::OpenTelemetry, &others[..]),
            r#"{"trace_level":["OFF"],"trace_rate":"1000","trace_count":"-1","trace_mode":"opentelemetry","url":"x\"y"}"#
        );
    }
}

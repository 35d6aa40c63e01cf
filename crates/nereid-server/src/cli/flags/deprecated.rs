//! Flags that Triton has replaced by others and still takes.

use super::super::value;
use super::Value::{Boolean, Integer, Text};
use super::telemetry::trace_level;
use super::{Flag, is, not_yet, ready};

pub(super) const DEPRECATED: &[Flag] = &[
    ready(
        "strict-model-config",
        Boolean,
        "false",
        |d, v| {
            let strict = value::boolean(v)?;
            d.strict_model_config = Some(strict);
            d.options.repository.auto_complete = !strict;
            Ok(())
        },
        "true is --disable-auto-complete-config.",
    )
    .deprecated("--disable-auto-complete-config"),
    not_yet(
        "response-cache-byte-size",
        Integer,
        "",
        |d, v| {
            d.response_cache_byte_size = true;
            value::integer::<i64>(v).map(drop)
        },
        "Size of the response cache.",
    )
    .deprecated("--cache-config local,size=<bytes>"),
    not_yet("trace-file", Text, "", is::anything, "File for traces.")
        .deprecated("--trace-config triton,file=<path>"),
    not_yet("trace-level", Text, "OFF", trace_level, "What is traced.")
        .deprecated("--trace-config level=<OFF|TIMESTAMPS|TENSORS>"),
    not_yet("trace-rate", Integer, "1000", is::integer, "One of how many requests is traced.")
        .deprecated("--trace-config rate=<rate>"),
    not_yet("trace-count", Integer, "-1", is::integer, "How many requests are traced; -1 for no limit.")
        .deprecated("--trace-config count=<count>"),
    not_yet("trace-log-frequency", Integer, "0", is::integer, "Traces per file; 0 for one file.")
        .deprecated("--trace-config triton,log-frequency=<count>"),
];

//! Flags that Triton has replaced by others and still takes.

use super::super::value;
use super::Value::{Boolean, Integer, Text};
use super::{Flag, ready};

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
    ready(
        "response-cache-byte-size",
        Integer,
        "",
        |d, v| {
            d.response_cache_byte_size = true;
            let size = value::integer::<i64>(v)?.to_string();
            let settings = d.options.caches.entry("local".to_owned()).or_default();
            settings.insert("size".to_owned(), size);
            Ok(())
        },
        "Size of the response cache in memory, in bytes.",
    )
    .deprecated("--cache-config local,size=<bytes>"),
    ready("trace-file", Text, "", |d, v| d.trace.file(v), "File for traces.")
        .deprecated("--trace-config triton,file=<path>"),
    ready("trace-level", Text, "OFF", |d, v| d.trace.level(v), "What is traced.")
        .deprecated("--trace-config level=<OFF|TIMESTAMPS|TENSORS>"),
    ready("trace-rate", Integer, "1000", |d, v| d.trace.rate(v), "One of how many requests is traced.")
        .deprecated("--trace-config rate=<rate>"),
    ready(
        "trace-count",
        Integer,
        "-1",
        |d, v| d.trace.count(v),
        "How many requests are traced; -1 for no limit.",
    )
    .deprecated("--trace-config count=<count>"),
    ready(
        "trace-log-frequency",
        Integer,
        "0",
        |d, v| d.trace.log_frequency(v),
        "Traces per file; 0 for one file.",
    )
    .deprecated("--trace-config triton,log-frequency=<count>"),
];

//! Settings of the exporter: `--trace-config opentelemetry,<setting>=<value>`, and the environment variables of
//! OpenTelemetry's specification for what the command line leaves open. Pure.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::endpoint::{Endpoint, TRACES_PATH};

/// Where the collector is if nothing says it.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318/v1/traces";
const SERVICE: &str = "service.name";
const DEFAULT_SERVICE: &str = "triton-inference-server";
/// For one delivery, with all its attempts.
const DEFAULT_TIMEOUT_MS: u32 = 10_000;
/// Settings that are read, in the order in which those that are numbers are shown.
const KNOWN: [&str; 5] =
    ["url", "resource", "bsp_max_queue_size", "bsp_schedule_delay", "bsp_max_export_batch_size"];

/// How spans get to their collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpOptions {
    pub(super) endpoint: Endpoint,
    /// Attributes of everything that is sent.
    pub(super) resource: Vec<(String, String)>,
    /// Most spans that may wait.
    pub(super) max_queue_size: usize,
    /// Longest time that a span waits for others.
    pub(super) schedule_delay: Duration,
    /// Most spans in one delivery.
    pub(super) max_export_batch_size: usize,
    pub(super) timeout: Duration,
    pub(super) headers: HeaderMap,
    pub(super) gzip: bool,
    /// A PEM file with the certificates to trust, instead of the system's.
    pub(super) certificate: Option<String>,
    /// A request whose client does not keep its own spans is not traced either.
    pub(in crate::trace) parent_based: bool,
}

/// The settings of the batch span processor: name, variable, default (`ProcessOpenTelemetryBatchSpanProcessorArgs`).
pub const NUMBERS: [(&str, &str, &str); 3] = [
    ("bsp_max_queue_size", "OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
    ("bsp_schedule_delay", "OTEL_BSP_SCHEDULE_DELAY", "5000"),
    ("bsp_max_export_batch_size", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512"),
];

impl OtlpOptions {
    /// Whether a setting of this name is used.
    pub fn knows(name: &str) -> bool {
        KNOWN.contains(&name)
    }

    /// Reads `settings`, all numbers among them, and what `variable` knows of the environment. What does not hinder is
    /// added to `warnings`.
    ///
    /// # Errors
    /// The option or variable that makes no sense, and why.
    pub fn new(
        settings: &[(String, String)],
        variable: &dyn Fn(&str) -> Option<String>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, (String, String)> {
        let environment = Environment(variable);
        let number = |name: &str, default: u32| {
            let given = settings.iter().rfind(|(key, _)| key == name);
            given.and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
        };
        let max_queue_size = number("bsp_max_queue_size", 2048).max(1) as usize;
        let batch_size = number("bsp_max_export_batch_size", 512).max(1) as usize;
        if let Some((name, protocol)) = environment.of_traces("PROTOCOL")
            && protocol != "http/protobuf"
        {
            warnings.push(format!("{name}={protocol} is not supported: traces are sent by http/protobuf."));
        }
        let gzip = match environment.of_traces("COMPRESSION") {
            Some((_, text)) if text == "gzip" => true,
            Some((name, text)) if text != "none" => {
                return Err((name, format!("must be gzip or none. Got {text}")));
            }
            _ => false,
        };
        Ok(Self {
            endpoint: endpoint(settings, &environment)?,
            resource: resource(settings, &environment, warnings),
            max_queue_size,
            schedule_delay: Duration::from_millis(number("bsp_schedule_delay", 5000).into()),
            max_export_batch_size: batch_size.min(max_queue_size),
            timeout: timeout(&environment)?,
            headers: headers(&environment)?,
            gzip,
            certificate: environment.of_traces("CERTIFICATE").map(|(_, path)| path),
            parent_based: environment
                .get("OTEL_TRACES_SAMPLER")
                .is_some_and(|sampler| sampler.starts_with("parentbased_")),
        })
    }
}

impl Default for OtlpOptions {
    fn default() -> Self {
        Self::new(&[], &|_| None, &mut Vec::new()).expect("the defaults make sense")
    }
}

/// Variables; one that is empty counts as not set.
struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A setting of the exporter, for traces or for everything, and the name of its variable.
    fn of_traces(&self, what: &str) -> Option<(String, String)> {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| self.get(&name).map(|value| (name, value)))
    }
}

fn endpoint(
    settings: &[(String, String)],
    environment: &Environment<'_>,
) -> Result<Endpoint, (String, String)> {
    let (name, url, default_path) = if let Some((_, url)) = settings.iter().rfind(|(key, _)| key == "url") {
        ("--trace-config opentelemetry,url", url.clone(), TRACES_PATH)
    } else if let Some(url) = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url, "/")
    } else if let Some(url) = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") {
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}{TRACES_PATH}", url.trim_end_matches('/')), TRACES_PATH)
    } else {
        ("", DEFAULT_ENDPOINT.to_owned(), TRACES_PATH)
    };
    Endpoint::parse(&url, default_path).map_err(|why| (name.to_owned(), why))
}

/// The command line before `OTEL_SERVICE_NAME`, and that before `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(
    settings: &[(String, String)],
    environment: &Environment<'_>,
    warnings: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut resource = vec![
        (SERVICE.to_owned(), DEFAULT_SERVICE.to_owned()),
        ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
        ("telemetry.sdk.name".to_owned(), env!("CARGO_PKG_NAME").to_owned()),
        ("telemetry.sdk.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut set = |key: &str, value: String| match resource.iter_mut().find(|(name, _)| name == key) {
        Some((_, old)) => *old = value,
        None => resource.push((key.to_owned(), value)),
    };
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    match environment.get(name).map(|text| pairs(&text)) {
        Some(Ok(pairs)) => pairs.into_iter().for_each(|(key, value)| set(&key, value)),
        Some(Err(part)) => warnings.push(format!("{name} is passed over: '{part}' is not <key>=<value>.")),
        None => {}
    }
    if let Some(service) = environment.get("OTEL_SERVICE_NAME") {
        set(SERVICE, service);
    }
    for (_, setting) in settings.iter().filter(|(key, _)| key == "resource") {
        let (key, value) = setting.split_once('=').unwrap_or((setting, setting)); // as Triton reads it
        set(key, value.to_owned());
    }
    resource
}

fn timeout(environment: &Environment<'_>) -> Result<Duration, (String, String)> {
    let Some((name, text)) = environment.of_traces("TIMEOUT") else {
        return Ok(Duration::from_millis(DEFAULT_TIMEOUT_MS.into()));
    };
    match text.parse::<u32>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms.into())),
        _ => Err((name, format!("must be milliseconds from 1 to {}. Got {text}", u32::MAX))),
    }
}

fn headers(environment: &Environment<'_>) -> Result<HeaderMap, (String, String)> {
    let mut headers = HeaderMap::new();
    let Some((name, text)) = environment.of_traces("HEADERS") else { return Ok(headers) };
    // Their values are secrets as a rule: no message repeats them.
    let wrong = |key: &str| (name.clone(), format!("'{key}' is not <header>=<value>"));
    let pairs = pairs(&text).map_err(|part| wrong(part.split('=').next().unwrap_or_default()))?;
    for (key, value) in pairs {
        let header = HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong(&key))?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| wrong(&key))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

/// `a=1,b=2`, with blanks around and `%20` inside values; or the part that is wrong.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let (key, value) = (key.trim(), decoded(value.trim())?);
        (!key.is_empty()).then(|| (key.to_owned(), value))
    };
    parts.map(|part| pair(part).ok_or_else(|| part.to_owned())).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn read(
        settings: Pairs<'_>,
        variables: Pairs<'_>,
    ) -> (Result<OtlpOptions, (String, String)>, Vec<String>) {
        let settings: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let mut warnings = Vec::new();
        (OtlpOptions::new(&settings, &variable, &mut warnings), warnings)
    }

    fn options(settings: Pairs<'_>, variables: Pairs<'_>) -> OtlpOptions {
        let (options, warnings) = read(settings, variables);
        assert_eq!(warnings, [] as [String; 0]);
        options.unwrap()
    }

    #[test]
    fn endpoints() {
        let (traces, all) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
        for (settings, variables, expected) in [
            (&[][..], &[][..], "http://localhost:4318/v1/traces"),
            (&[("url", "c:1/x")], &[(traces, "http://d"), (all, "http://e")], "http://c:1/x"),
            (&[], &[(traces, "http://d:1"), (all, "http://e")], "http://d:1/"),
            (&[], &[(traces, ""), (all, "http://e:1")], "http://e:1/v1/traces"),
            (&[], &[(all, "https://e/otlp/")], "https://e/otlp/v1/traces"),
        ] {
            assert_eq!(options(settings, variables).endpoint.to_string(), expected);
        }
        let (refused, _) = read(&[], &[(traces, "ftp://x")]);
        assert_eq!(refused.unwrap_err().0, traces);
        assert_eq!(read(&[("url", "ftp://x")], &[]).0.unwrap_err().0, "--trace-config opentelemetry,url");
    }

    #[test]
    fn resources() {
        let of = |settings: Pairs<'_>, variables: Pairs<'_>| {
            let resource = options(settings, variables).resource;
            let ours = resource.into_iter().filter(|(key, _)| !key.starts_with("telemetry."));
            ours.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        };
        let (attributes, service) = ("OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME");
        assert_eq!(of(&[], &[]), "service.name=triton-inference-server");
        assert_eq!(
            of(&[("resource", "a=b=c"), ("resource", "d")], &[]),
            "service.name=triton-inference-server a=b=c d=d"
        );
        assert_eq!(
            of(&[], &[(attributes, "a=1, b = x%20y%2C%C3%A9 ,")]),
            "service.name=triton-inference-server a=1 b=x y,é"
        );
        assert_eq!(of(&[], &[(attributes, "service.name=x,a=1"), (service, "y")]), "service.name=y a=1");
        assert_eq!(of(&[("resource", "service.name=z")], &[(service, "y")]), "service.name=z");
        let (read, warnings) = read(&[], &[(attributes, "a=1,b")]);
        assert_eq!(warnings, ["OTEL_RESOURCE_ATTRIBUTES is passed over: 'b' is not <key>=<value>."]);
        assert!(!read.unwrap().resource.iter().any(|(key, _)| key == "a"), "all of it or nothing");
        for wrong in ["a=%", "a=%2", "a=%zz", "a=%+1", "a=%ff", "=1"] {
            assert_eq!(pairs(wrong).unwrap_err(), wrong);
        }
    }

    #[test]
    fn batches() {
        let sizes = |settings: Pairs<'_>| {
            let options = options(settings, &[]);
            (options.max_queue_size, options.schedule_delay.as_millis(), options.max_export_batch_size)
        };
        assert_eq!(sizes(&[]), (2048, 5000, 512));
        assert_eq!(sizes(&[("bsp_schedule_delay", "0"), ("bsp_max_export_batch_size", "0")]), (2048, 0, 1));
        assert_eq!(sizes(&[("bsp_max_queue_size", "7"), ("bsp_max_queue_size", "8")]), (8, 5000, 8));
        assert_eq!(sizes(&[("bsp_max_queue_size", "0")]).0, 1);
    }

    #[test]
    fn the_rest() {
        let of = |name: &str, value: &str| options(&[], &[(name, value)]);
        assert_eq!(OtlpOptions::default().timeout, Duration::from_secs(10));
        assert_eq!(of("OTEL_EXPORTER_OTLP_TIMEOUT", "70").timeout, Duration::from_millis(70));
        assert!(of("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip").gzip);
        assert!(!of("OTEL_EXPORTER_OTLP_COMPRESSION", "none").gzip);
        assert_eq!(of("OTEL_EXPORTER_OTLP_CERTIFICATE", "/c").certificate.as_deref(), Some("/c"));
        assert!(of("OTEL_TRACES_SAMPLER", "parentbased_always_on").parent_based);
        assert!(!of("OTEL_TRACES_SAMPLER", "always_on").parent_based);
        let headers = of("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20c2VjcmV0, x-tenant=1").headers;
        assert_eq!(
            (&headers["authorization"], &headers["x-tenant"]),
            (&HeaderValue::from_static("Basic c2VjcmV0"), &HeaderValue::from_static("1"))
        );
        assert!(!format!("{headers:?}").contains("c2VjcmV0"), "secrets are not shown");
        let (_, warnings) = read(&[], &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert_eq!(
            warnings,
            ["OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported: traces are sent by http/protobuf."]
        );
        for (name, value, why) in [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "must be milliseconds from 1 to 4294967295. Got 0"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
                "soon",
                "must be milliseconds from 1 to 4294967295. Got soon",
            ),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "must be gzip or none. Got zstd"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret", "'a b' is not <header>=<value>"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A", "'a' is not <header>=<value>"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%", "'a' is not <header>=<value>"),
        ] {
            let (refused, _) = read(&[], &[(name, value)]);
            assert_eq!(refused.unwrap_err(), (name.to_owned(), why.to_owned()));
        }
    }
}

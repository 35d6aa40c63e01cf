//! The response caches that this build has. This is the only place that names them.

use std::collections::BTreeMap;

use nereid_core::{Error, Result};
use nereid_scheduler::ResponseCache;

use crate::cli::CacheSettings;

type Constructor = fn(&BTreeMap<String, String>) -> Result<ResponseCache>;

const CONSTRUCTORS: &[(&str, Constructor)] = &[
    ("local", local),
    #[cfg(feature = "redis")]
    ("redis", redis),
];

/// Where Triton looks for caches, for its words.
const DIRECTORY: &str = "/opt/tritonserver/caches";

/// The cache that the settings ask for, if they do. May wait for another machine.
///
/// # Errors
/// There are settings of several caches, of one that this build does not have, or of one that cannot be had.
pub(crate) fn open(settings: &CacheSettings) -> Result<Option<ResponseCache>> {
    let Some((name, of_cache)) = settings.first_key_value() else { return Ok(None) };
    if settings.len() > 1 {
        return Err(Error::invalid_arg(
            "found multiple cache configurations, but only a single cache is currently supported",
        ));
    }
    let Some((_, open)) = CONSTRUCTORS.iter().find(|(known, _)| known == name) else {
        return Err(Error::invalid_arg(format!(
            "unable to find 'libtritoncache_{name}.so' for cache. Searched: {DIRECTORY}"
        )));
    };
    open(of_cache).map(Some)
}

fn local(settings: &BTreeMap<String, String>) -> Result<ResponseCache> {
    let Some(size) = settings.get("size") else {
        return Err(Error::invalid_arg(
            "Failed to initialize LocalCache: config didn't contain a valid 'size' field.",
        ));
    };
    warn_of_others("local", settings, &["size"]);
    match size.trim().parse() {
        Ok(0) | Err(_) => Err(Error::internal(format!(
            "Failed to initialize LocalCache: 'size' must be a number of bytes above 0, not '{size}'"
        ))),
        Ok(bytes) => {
            tracing::info!("Response Cache is created with size {bytes}");
            Ok(ResponseCache::local(bytes))
        }
    }
}

#[cfg(feature = "redis")]
fn redis(settings: &BTreeMap<String, String>) -> Result<ResponseCache> {
    use nereid_cache_redis::{RedisCache, Settings};
    let read = Settings::new(settings, |name| std::env::var(name).ok())?;
    warn_of_others("redis", settings, &Settings::KNOWN);
    let cache = RedisCache::connect(read)?;
    tracing::info!("Response Cache is in Redis");
    Ok(ResponseCache::shared(std::sync::Arc::new(cache)))
}

/// Names the settings that no cache reads.
fn warn_of_others(cache: &str, settings: &BTreeMap<String, String>, known: &[&str]) {
    for key in settings.keys().filter(|key| !known.contains(&key.as_str())) {
        tracing::warn!(
            "'--cache-config {cache},{key}' is not a setting of the cache '{cache}' and has no effect"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Parsed, parse};

    fn opened(flags: &[&str]) -> Result<Option<ResponseCache>> {
        let args = ["nereid", "--model-repository=m"].iter().chain(flags).map(|arg| (*arg).into());
        match parse(args.collect::<Vec<_>>()) {
            Parsed::Run(options, _) => open(&options.caches),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(flags: &[&str], expected: &str) {
        assert_eq!(opened(flags).unwrap_err().with_code(), expected);
    }

    #[test]
    fn what_is_asked_for_is_there() {
        assert!(opened(&[]).unwrap().is_none());
        for flag in ["--cache-config=local,size=1000", "--response-cache-byte-size=1000"] {
            let cache = opened(&[flag]).unwrap().unwrap();
            assert!(!cache.is_shared() && cache.values().is_some());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let multiple = "Invalid argument: found multiple cache configurations, but only a single cache is currently \
                        supported";
        refused(&["--cache-config=local,size=1", "--cache-config=redis,key=value"], multiple);
        #[cfg(feature = "redis")]
        refused(
            &[
                "--cache-config=redis,host=h",
                "--cache-config=redis,port=1",
                "--cache-config=redis,tls_enabled=true",
            ],
            "Unsupported: Failed to initialize RedisCache: TLS ('tls_enabled') is not supported yet",
        );
        refused(
            &["--cache-config=mine,a=b"],
            "Invalid argument: unable to find 'libtritoncache_mine.so' for cache. Searched: /opt/tritonserver/caches",
        );
        refused(
            &["--cache-config=local,sice=1"],
            "Invalid argument: Failed to initialize LocalCache: config didn't contain a valid 'size' field.",
        );
        for size in ["0", "-1", "1k", "99999999999999999999999"] {
            refused(
                &[&format!("--cache-config=local,size={size}")],
                &format!(
                    "Internal: Failed to initialize LocalCache: 'size' must be a number of bytes above 0, not '{size}'"
                ),
            );
        }
    }
}

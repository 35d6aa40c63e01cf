//! `--cache-config redis,<setting>=<value>`: names and meanings are those of Triton's redis_cache. Where that waits for
//! ever by default, there is a time-out here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use nereid_core::{Error, Result};

/// What the environment may give instead of `user` and `password`.
const USER_VARIABLE: &str = "TRITONCACHE_REDIS_USERNAME";
/// See [`USER_VARIABLE`].
const PASSWORD_VARIABLE: &str = "TRITONCACHE_REDIS_PASSWORD";

/// Threads, each with a connection.
const DEFAULT_POOL_SIZE: usize = 4;
const MAX_POOL_SIZE: usize = 64;
const DEFAULT_CONNECT_TIMEOUT_MS: u64 = 1000;
const DEFAULT_SOCKET_TIMEOUT_MS: u64 = 500;
const DEFAULT_WAIT_TIMEOUT_MS: u64 = 1000;

/// Where Redis is, and how long to wait for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub(crate) host: String,
    /// 0 where the setting is no port number, as in Triton: nothing listens there.
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) socket_timeout: Duration,
    /// How long a look waits for a connection.
    pub(crate) wait_timeout: Duration,
    pub(crate) pool_size: usize,
}

impl Settings {
    /// Settings that are used; others have no effect.
    pub const KNOWN: [&str; 10] = [
        "host",
        "port",
        "user",
        "password",
        "db",
        "connect_timeout",
        "socket_timeout",
        "wait_timeout",
        "pool_size",
        "tls_enabled",
    ];

    /// Reads the settings of the command line, and what `variable` knows of the environment.
    ///
    /// # Errors
    /// `host` or `port` is missing, TLS is asked for, or a number is none.
    pub fn new(
        settings: &BTreeMap<String, String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let text = |key: &str| settings.get(key).cloned();
        let (Some(host), Some(port)) = (text("host"), text("port")) else {
            return Err(Error::invalid_arg(
                "Failed to initialize RedisCache, didn't specify address. Must at a minimum specify 'host' and 'port' in \
                 the configuration - e.g. tritonserver --cache-config redis,host=redis --cache-config redis,port=6379 \
                 --model-repository=/models ...",
            ));
        };
        if settings.get("tls_enabled").is_some_and(|enabled| enabled == "true") {
            return Err(Error::unsupported(
                "Failed to initialize RedisCache: TLS ('tls_enabled') is not supported yet",
            ));
        }
        let milliseconds = |key: &str, default: u64| -> Result<Duration> {
            let given = number(settings, key)?.filter(|number| *number > 0);
            Ok(Duration::from_millis(given.unwrap_or(default)))
        };
        let pool_size = number(settings, "pool_size")?.unwrap_or(DEFAULT_POOL_SIZE as u64);
        if pool_size == 0 || pool_size > MAX_POOL_SIZE as u64 {
            return Err(wrong("pool_size", &format!("from 1 to {MAX_POOL_SIZE}"), &pool_size.to_string()));
        }
        Ok(Self {
            host,
            port: port.trim().parse().unwrap_or(0),
            user: text("user").or_else(|| variable(USER_VARIABLE)),
            password: text("password").or_else(|| variable(PASSWORD_VARIABLE)),
            db: number(settings, "db")?
                .unwrap_or(0)
                .try_into()
                .map_err(|_| wrong("db", "a database's number", &settings["db"]))?,
            connect_timeout: milliseconds("connect_timeout", DEFAULT_CONNECT_TIMEOUT_MS)?,
            socket_timeout: milliseconds("socket_timeout", DEFAULT_SOCKET_TIMEOUT_MS)?,
            wait_timeout: milliseconds("wait_timeout", DEFAULT_WAIT_TIMEOUT_MS)?,
            pool_size: pool_size as usize,
        })
    }
}

fn number(settings: &BTreeMap<String, String>, key: &str) -> Result<Option<u64>> {
    let Some(text) = settings.get(key) else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| wrong(key, "a number", text))
}

fn wrong(key: &str, what: &str, text: &str) -> Error {
    Error::invalid_arg(format!("Failed to initialize RedisCache: '{key}' must be {what}, not '{text}'"))
}

/// Without the password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Settings> {
        let base = [("host", "h"), ("port", "6379")];
        let pairs = base.iter().chain(pairs).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        };
        Settings::new(&pairs.collect(), variable)
    }

    #[test]
    fn every_wait_ends() {
        for zero in [&[][..], &[("connect_timeout", "0"), ("socket_timeout", "0"), ("wait_timeout", "0")]] {
            let settings = settings(zero, &[]).unwrap();
            let waits = [settings.connect_timeout, settings.socket_timeout, settings.wait_timeout];
            assert_eq!(waits.map(|wait| wait.as_millis()), [1000, 500, 1000]);
        }
        assert_eq!(settings(&[("socket_timeout", "7")], &[]).unwrap().socket_timeout.as_millis(), 7);
    }

    #[test]
    fn credentials_of_the_command_line_precede_those_of_the_environment() {
        let variables = [(USER_VARIABLE, "eu"), (PASSWORD_VARIABLE, "ep")];
        let of = |pairs: &[(&str, &str)], variables: &[(&str, &str)]| {
            let Settings { user, password, .. } = settings(pairs, variables).unwrap();
            (user.unwrap_or_default(), password.unwrap_or_default())
        };
        let pair = |user: &str, password: &str| (user.to_owned(), password.to_owned());
        assert_eq!(of(&[], &[]), pair("", ""));
        assert_eq!(of(&[], &variables), pair("eu", "ep"));
        assert_eq!(of(&[("password", "p")], &variables), pair("eu", "p"));
        let shown = format!("{:?}", settings(&[("password", "secret")], &[]).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (pairs, expected) in [
            ([("db", "x")], "'db' must be a number, not 'x'"),
            ([("db", "5000000000")], "'db' must be a database's number, not '5000000000'"),
            ([("pool_size", "0")], "'pool_size' must be from 1 to 64, not '0'"),
            ([("wait_timeout", "-1")], "'wait_timeout' must be a number, not '-1'"),
            ([("tls_enabled", "true")], "TLS ('tls_enabled') is not supported yet"),
        ] {
            let error = settings(&pairs, &[]).unwrap_err();
            assert_eq!(error.message(), format!("Failed to initialize RedisCache: {expected}"));
        }
        let error = Settings::new(&BTreeMap::from([("port".into(), "1".into())]), |_| None).unwrap_err();
        assert!(error.message().contains("Must at a minimum specify 'host' and 'port'"));
        assert_eq!(settings(&[("tls_enabled", "false"), ("port", "none")], &[]).unwrap().port, 0);
    }
}

//! One connection to Redis: made, used, and made again once if it broke while nobody looked. Every call ends within the
//! time-outs of the settings.

use bytes::Bytes;
use nereid_core::cache::CacheKey;
use redis::{Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult};

use crate::settings::Settings;

/// In front of every key, so that others may use the same database.
const PREFIX: &str = "nereid:response:";

/// A connection, if there is one.
pub(crate) struct Client {
    settings: Settings,
    connection: Option<Connection>,
}

impl Client {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, connection: None }
    }

    /// Connects anew, with the credentials and the database of the settings, and asks for a sign of life.
    ///
    /// # Errors
    /// Redis cannot be reached, or does not want us; the text says where and why.
    pub(crate) fn connect(&mut self) -> Result<(), String> {
        let Settings { host, port, .. } = &self.settings;
        self.connection = None;
        let connected =
            self.open().map_err(|e| format!("failed to connect to Redis ({host}:{port}): {}", words(&e)));
        self.connection = Some(connected?);
        Ok(())
    }

    fn open(&self) -> RedisResult<Connection> {
        let Settings { host, port, user, password, db, connect_timeout, socket_timeout, .. } = &self.settings;
        // Credentials go in a command of ours, whose error has Redis' own words.
        let plain = RedisConnectionInfo::default().set_skip_set_lib_name();
        let info = ConnectionAddr::Tcp(host.clone(), *port).into_connection_info()?.set_redis_settings(plain);
        let mut connection = redis::Client::open(info)?.get_connection_with_timeout(*connect_timeout)?;
        connection.set_read_timeout(Some(*socket_timeout))?;
        connection.set_write_timeout(Some(*socket_timeout))?;
        if let Some(password) = password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = user {
                auth.arg(user);
            }
            auth.arg(password).exec(&mut connection)?;
        }
        if *db != 0 {
            redis::cmd("SELECT").arg(*db).exec(&mut connection)?;
        }
        redis::cmd("PING").exec(&mut connection)?;
        Ok(connection)
    }

    /// What is stored under `key`.
    ///
    /// # Errors
    /// Redis does not answer, or not with that.
    pub(crate) fn get(&mut self, key: CacheKey) -> Result<Option<Bytes>, String> {
        let found =
            self.call(|connection| redis::cmd("GET").arg(name(key)).query::<Option<Vec<u8>>>(connection))?;
        Ok(found.map(Bytes::from))
    }

    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// Redis does not answer, or has no room.
    pub(crate) fn set(&mut self, key: CacheKey, value: &[u8]) -> Result<(), String> {
        self.call(|connection| redis::cmd("SET").arg(name(key)).arg(value).exec(connection))
    }

    /// Whether the last call left a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Calls on the connection at hand; a connection that the other side has closed meanwhile says nothing of Redis, so
    /// that a new one is tried at once.
    fn call<T>(&mut self, mut call: impl FnMut(&mut Connection) -> RedisResult<T>) -> Result<T, String> {
        if let Some(connection) = &mut self.connection {
            match call(connection) {
                Err(e) if e.is_connection_dropped() => self.connection = None,
                result => return self.ended(result),
            }
        }
        self.connect()?;
        let Some(connection) = &mut self.connection else { return Err("no connection".to_owned()) };
        let result = call(connection);
        self.ended(result)
    }

    /// After an error of the line nobody knows what comes next on it.
    fn ended<T>(&mut self, result: RedisResult<T>) -> Result<T, String> {
        result.map_err(|e| {
            if e.is_unrecoverable_error() || e.is_timeout() {
                self.connection = None;
            }
            words(&e)
        })
    }
}

fn name(key: CacheKey) -> String {
    format!("{PREFIX}{}", key.to_hex())
}

/// What Redis, or the system, said.
fn words(error: &RedisError) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => {
            let text = error.to_string();
            text.split(" (os error ").next().unwrap_or(&text).to_owned()
        }
    }
}

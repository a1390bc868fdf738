//! What the user has set, and what it means to the server.

use crate::access::Origins;
use crate::queue::Room;
use crate::server::{self, Policy, Wish, WishedPlace};
use crate::stream::Limits;
use crate::tls::Identity;
use std::time::Duration;

pub const DEFAULT_STREAM_NAME: &str = "stream";
pub const DEFAULT_HOST: &str = "127.0.0.1";
pub const DEFAULT_PORT: u32 = 8080;
pub const DEFAULT_MAX_VIEWERS: u32 = 256;
pub const DEFAULT_MAX_QUEUE_BYTES: u32 = 4 << 20;
pub const DEFAULT_MAX_QUEUE_TIME: u64 = 3_000_000_000;

/// The properties that are set, not told.
pub struct Settings {
    pub stream_name: String,
    pub host: String,
    pub port: u32,
    pub socket_path: Option<String>,
    pub tls_certificate: Option<String>,
    pub tls_key: Option<String>,
    pub token: Option<String>,
    pub allowed_origins: Option<String>,
    pub max_viewers: u32,
    pub max_queue_bytes: u32,
    /// Nanoseconds; 0 for any.
    pub max_queue_time: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream_name: DEFAULT_STREAM_NAME.into(),
            host: DEFAULT_HOST.into(),
            port: DEFAULT_PORT,
            socket_path: None,
            tls_certificate: None,
            tls_key: None,
            token: None,
            allowed_origins: None,
            max_viewers: DEFAULT_MAX_VIEWERS,
            max_queue_bytes: DEFAULT_MAX_QUEUE_BYTES,
            max_queue_time: DEFAULT_MAX_QUEUE_TIME,
        }
    }
}

/// Why the element does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "allowed-origins: '{0}' is not an origin. Write it as https://HOST or https://HOST:PORT, several with commas"
    )]
    Origin(String),
    #[error("tls-key is set and tls-certificate is not. Set both, or neither")]
    KeyAlone,
    #[error(transparent)]
    Server(#[from] server::Error),
}

impl Settings {
    /// Where and how to listen.
    pub fn wish(&self) -> Result<Wish, Error> {
        let place = match &self.socket_path {
            Some(path) => WishedPlace::Unix(path.into()),
            None => WishedPlace::Tcp {
                host: self.host.clone(),
                port: u16::try_from(self.port).expect("the property's range is that of a port"),
            },
        };
        let tls = match (&self.tls_certificate, &self.tls_key) {
            (None, None) => None,
            (None, Some(_)) => return Err(Error::KeyAlone),
            (Some(certificate), key) => {
                let key = key.as_ref().unwrap_or(certificate);
                Some(Identity { certificate: certificate.into(), key: key.into() })
            }
        };
        let origins = Origins::read(self.allowed_origins.as_deref().unwrap_or_default()).map_err(Error::Origin)?;
        Ok(Wish { place, policy: Policy { tls, token: self.token.clone(), origins } })
    }

    /// What a viewer may cost.
    pub fn limits(&self) -> Limits {
        let age = (self.max_queue_time > 0).then(|| Duration::from_nanos(self.max_queue_time));
        Limits { max_viewers: self.max_viewers as usize, queue: Room { bytes: self.max_queue_bytes as usize, age } }
    }
}

/// Applications say "none" with an empty string as well.
pub fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

//! TLS for a listener, by rustls: a certificate chain and its key from PEM files. The orchestrator takes this file in as well (by
//! `#[path]`), for its page.
//!
//! Cameras run for longer than certificates last. So whoever comes gets the certificate that the files hold *then*: before each
//! handshake two looks at their dates tell whether they have changed. Files that do not serve (half of them is written, say)
//! leave the old certificate in use, and are looked at again with the next visitor; each trouble is told once.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

/// Where the files are, as the user says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and, after it, those that lead to a root which browsers know.
    pub certificate: PathBuf,
    /// May be the same file.
    pub key: PathBuf,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{property} {path}: {source}. It must be a PEM file that this process may read")]
    File { property: &'static str, path: String, source: pem::Error },
    #[error("tls-certificate {0} has no certificate in it. Give a PEM file with -----BEGIN CERTIFICATE-----")]
    Empty(String),
    #[error("tls-certificate and tls-key do not fit together: {0}")]
    Pair(rustls::Error),
}

impl Identity {
    /// Reads both files, and again when they have changed. `trouble` is told what is wrong with the new ones then.
    pub fn acceptor(&self, trouble: impl Fn(String) + Send + Sync + 'static) -> Result<TlsAcceptor, Error> {
        let provider = Arc::new(ring::default_provider());
        // Before reading: what is written in between is read again.
        let stamp = self.stamp();
        let key = self.read(&provider)?;
        let current = Mutex::new(Current { key, stamp, told: None });
        let renewed =
            Renewed { identity: self.clone(), provider: provider.clone(), current, trouble: Box::new(trouble) };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(renewed));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn read(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
        let failed = |property, path: &Path| {
            let path = path.display().to_string();
            move |source| Error::File { property, path, source }
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(failed("tls-certificate", &self.certificate))?;
        if chain.is_empty() {
            return Err(Error::Empty(self.certificate.display().to_string()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(failed("tls-key", &self.key))?;
        CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(Error::Pair)
    }

    fn stamp(&self) -> [Option<Stamp>; 2] {
        [&self.certificate, &self.key].map(|path| Stamp::of(path))
    }
}

/// What changes with a file's content: it is written, or another one takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self { inode: file.ino(), size: file.size(), changed: (file.ctime(), file.ctime_nsec()) })
    }
}

/// The newest certificate that served.
struct Renewed {
    identity: Identity,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
    trouble: Box<dyn Fn(String) + Send + Sync>,
}

struct Current {
    key: Arc<CertifiedKey>,
    /// Of the files that it was read from.
    stamp: [Option<Stamp>; 2],
    /// What was wrong with newer ones.
    told: Option<String>,
}

impl Renewed {
    fn key(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.identity.stamp();
        if stamp == current.stamp {
            return current.key.clone();
        }
        match self.identity.read(&self.provider) {
            Ok(key) => *current = Current { key, stamp, told: None },
            Err(error) => {
                let words = format!("{error}. The certificate from before stays in use");
                if current.told.as_ref() != Some(&words) {
                    current.told = Some(words.clone());
                    let key = current.key.clone();
                    drop(current);
                    (self.trouble)(words);
                    return key;
                }
            }
        }
        current.key.clone()
    }
}

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

/// Asked for by [`ResolvesServerCert`]. Says nothing of the key.
impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_do_not_serve_are_named() {
        let folder = tempfile::tempdir().expect("there is room");
        let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let file = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("there is room");
            folder.path().join(name)
        };
        let certificate = file("certificate.pem", own.cert.pem());
        let key = file("key.pem", own.signing_key.serialize_pem());
        let foreign = file("foreign.pem", other.signing_key.serialize_pem());
        let both = file("both.pem", own.cert.pem() + &own.signing_key.serialize_pem());
        let error = |certificate: &Path, key: &Path| {
            let identity = Identity { certificate: certificate.into(), key: key.into() };
            identity.acceptor(|_| {}).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(error(&certificate, &key), "");
        assert_eq!(error(&both, &both), "");
        assert!(error(&key, &key).contains("has no certificate"), "{}", error(&key, &key));
        assert!(error(&certificate, &certificate).starts_with("tls-key"), "{}", error(&certificate, &certificate));
        assert!(error(&certificate, &foreign).contains("do not fit"), "{}", error(&certificate, &foreign));
        assert!(error(&folder.path().join("nowhere"), &key).starts_with("tls-certificate"));
    }
}

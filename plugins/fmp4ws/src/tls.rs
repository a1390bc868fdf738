//! TLS for a listener, by rustls: a certificate chain and its key from PEM files.
//!
//! Both are read once, when the listener opens: a renewed certificate counts from the next start on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
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
    /// Reads both files.
    pub fn acceptor(&self) -> Result<TlsAcceptor, Error> {
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
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(Error::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
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
            identity.acceptor().err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(error(&certificate, &key), "");
        assert_eq!(error(&both, &both), "");
        assert!(error(&key, &key).contains("has no certificate"), "{}", error(&key, &key));
        assert!(error(&certificate, &certificate).starts_with("tls-key"), "{}", error(&certificate, &certificate));
        assert!(error(&certificate, &foreign).contains("do not fit"), "{}", error(&certificate, &foreign));
        assert!(error(&folder.path().join("nowhere"), &key).starts_with("tls-certificate"));
    }
}

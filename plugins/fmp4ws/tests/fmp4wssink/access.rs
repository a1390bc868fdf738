//! Who may watch, and over what.

use crate::http::{body, get, get_with, request, upgrade_status};
use crate::pipeline::{CAMERA, Pipeline};
use crate::serving::start_error;
use crate::viewer::Viewer;
use gst::prelude::*;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate for localhost with its key, in files.
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
    _folder: TempDir,
}

impl Identity {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("there is room");
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("there is room");
            path
        };
        let (certificate, key) =
            (file("certificate.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
        Self { certificate, key, der: made.cert.der().clone(), _folder: folder }
    }

    /// A client that trusts this certificate and no other.
    pub async fn connect(&self, port: u16) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let name: ServerName<'static> = "localhost".try_into().expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A sink that shows it.
    pub fn sink(&self) -> String {
        sink(&self.certificate, &self.key, "port=0")
    }
}

fn sink(certificate: &Path, key: &Path, rest: &str) -> String {
    format!("fmp4wssink tls-certificate={} tls-key={} {rest}", certificate.display(), key.display())
}

#[tokio::test]
async fn with_a_certificate_everything_is_encrypted() {
    let identity = Identity::new();
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {}", identity.sink()));
    pipeline.play();
    let port = pipeline.port();
    let stream = identity.connect(port).await.expect("the certificate is right");
    let mut viewer = Viewer::upgrade(Box::new(stream), "/api/ws?src=stream").await;
    viewer.say(json!({"type": "mse", "value": "avc1.640029"})).await;
    assert_eq!(viewer.record(5).await.decode().frames, 5);

    let mut stream = identity.connect(port).await.expect("the certificate is right");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("it is read");
    let mut page = String::new();
    // rustls calls it an error when the other end does not say good-bye.
    match stream.read_to_string(&mut page).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof),
    }
    assert!(page.contains("valkka-video"), "{page}");

    assert!(Identity::new().connect(port).await.is_err(), "another certificate is not trusted");
    // Without encryption there is an alert, or nothing, and no page.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("there is room");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // That was the others' affair.
    assert!(!viewer.media().await.is_empty());
}

#[tokio::test]
async fn a_renewed_certificate_counts_at_once_and_a_broken_one_does_not() {
    let (identity, renewed) = (Identity::new(), Identity::new());
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {}", identity.sink()));
    pipeline.play();
    let port = pipeline.port();
    let stream = identity.connect(port).await.expect("the certificate is right");
    let mut viewer = Viewer::upgrade(Box::new(stream), "/api/ws?src=stream").await;
    viewer.say(json!({"type": "mse", "value": "avc1.640029"})).await;
    viewer.record(1).await;

    // Half of the new pair is there.
    std::fs::copy(&renewed.certificate, &identity.certificate).expect("there is room");
    for _ in 0..3 {
        identity.connect(port).await.expect("the certificate from before stays");
    }
    let warning = pipeline.wait_warning();
    assert!(warning.contains("do not fit together") && warning.contains("stays in use"), "{warning}");

    std::fs::copy(&renewed.key, &identity.key).expect("there is room");
    renewed.connect(port).await.expect("the new certificate counts");
    assert!(identity.connect(port).await.is_err(), "the old one does not");
    // Told once, and connections go on.
    let bus = pipeline.0.bus().expect("a pipeline has a bus");
    assert!(bus.pop_filtered(&[gst::MessageType::Warning]).is_none());
    assert!(!viewer.media().await.is_empty());
}

#[test]
fn sinks_that_share_a_listener_agree_about_who_may_watch() {
    let (identity, other) = (Identity::new(), Identity::new());
    let first = Pipeline::ready(&format!(
        "fakesrc ! {}",
        sink(&identity.certificate, &identity.key, "port=0 stream-name=first token=secret")
    ));
    let port = first.port();
    let second = |element: &str| format!("fakesrc ! {element} port={port} stream-name=second");
    let error = start_error(&second("fmp4wssink token=secret"));
    assert!(error.contains("tls-certificate") && error.contains("set them alike"), "{error}");
    let error = start_error(&second(&sink(&other.certificate, &other.key, "token=secret")));
    assert!(error.contains("tls-certificate"), "{error}");
    let error = start_error(&second(&sink(&identity.certificate, &identity.key, "token=other")));
    assert!(error.contains("with other token"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    let origins = "token=secret allowed-origins=https://wall.example";
    let error = start_error(&second(&sink(&identity.certificate, &identity.key, origins)));
    assert!(error.contains("allowed-origins"), "{error}");
    drop(Pipeline::ready(&second(&sink(&identity.certificate, &identity.key, "token=secret"))));
}

#[test]
fn what_cannot_be_served_is_an_error_in_words() {
    let identity = Identity::new();
    let error = start_error(&format!("fakesrc ! {}", sink(Path::new("/nowhere.pem"), &identity.key, "port=0")));
    assert!(error.contains("tls-certificate /nowhere.pem"), "{error}");
    let error = start_error(&format!("fakesrc ! fmp4wssink port=0 tls-key={}", identity.key.display()));
    assert!(error.contains("tls-certificate is not"), "{error}");
    let error = start_error("fakesrc ! fmp4wssink port=0 allowed-origins=wall.example");
    assert!(error.contains("'wall.example' is not an origin"), "{error}");
}

#[tokio::test]
async fn with_a_token_nothing_is_served_without_it() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! fmp4wssink port=0 token=s3cret"));
    pipeline.play();
    let port = pipeline.port();
    for path in ["/", "/valkka-video.js", "/api/streams", "/metrics", "/stream.mp4", "/nothing", "/?token=wrong"] {
        let answer = get(port, path);
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("www-authenticate: Bearer"), "{path}: {answer}");
    }
    assert_eq!(upgrade_status(port, "/api/ws", ""), "401");
    assert_eq!(upgrade_status(port, "/api/ws", "Authorization: Bearer s3cret\r\n"), "101");
    let answer = get_with(port, "/api/streams", "Authorization: Bearer s3cret\r\n");
    assert!(body(&answer).contains("\"stream\""), "{answer}");
    let mut viewer = Viewer::connect(port, "/api/ws?src=stream&token=s3cret").await;
    viewer.say(json!({"type": "mse", "value": "avc1.640029"})).await;
    assert_eq!(viewer.record(3).await.decode().frames, 3);

    // What the page asks for comes with the cookie that the page was given.
    let page = get(port, "/?token=s3cret");
    let cookie = page.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    let pair = cookie.split(';').next().expect("a pair");
    assert!(get_with(port, "/valkka-video.js", &format!("Cookie: {pair}\r\n")).starts_with("HTTP/1.1 200"));
    assert!(
        pipeline
            .sink()
            .find_property("token")
            .is_some_and(|token| !token.flags().contains(gst::glib::ParamFlags::READABLE))
    );
}

#[test]
fn pages_of_named_sites_may_connect_and_read() {
    let pipeline = Pipeline::ready("fakesrc ! fmp4wssink port=0 token=s3cret allowed-origins=https://wall.example");
    let port = pipeline.port();
    let origin = "Origin: https://wall.example\r\n";
    assert_eq!(upgrade_status(port, "/api/ws?token=s3cret", origin), "101");
    assert_eq!(upgrade_status(port, "/api/ws?token=s3cret", "Origin: https://evil.example\r\n"), "403");
    let answer = get_with(port, "/api/streams?token=s3cret", origin);
    assert!(answer.contains("access-control-allow-origin: https://wall.example"), "{answer}");
    let preflight = request(
        port,
        &format!(
            "OPTIONS /api/streams HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{origin}\
             Access-Control-Request-Headers: authorization\r\n\r\n"
        ),
    );
    assert!(preflight.starts_with("HTTP/1.1 204"), "{preflight}");
    assert!(preflight.contains("access-control-allow-headers: authorization"), "{preflight}");
}

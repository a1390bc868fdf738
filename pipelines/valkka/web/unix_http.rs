//! One HTTP request over a Unix socket: how the orchestrator talks to the web process of a camera, and the command line to
//! the orchestrator.

use std::{io, path::Path};

use axum::body::Body;
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Sends `request` on a connection of its own. The answer may be an upgrade.
///
/// Has no limit of time: whoever drops the future hangs up.
pub async fn send(socket: &Path, request: Request<Body>) -> io::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the connection, which ends with the response, or with whoever upgraded it.
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.map_err(io::Error::other)
}

/// The body of a `GET`, up to `limit` bytes.
pub async fn get(socket: &Path, uri: &str, limit: usize) -> io::Result<Vec<u8>> {
    let request = Request::get(uri).header("host", "localhost").body(Body::empty()).map_err(io::Error::other)?;
    let response = send(socket, request).await?;
    if !response.status().is_success() {
        return Err(io::Error::other(format!("answers {}", response.status())));
    }
    let body = axum::body::to_bytes(Body::new(response.into_body()), limit).await.map_err(io::Error::other)?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io::AsyncReadExt, net::UnixListener, time::timeout};

    use super::*;

    #[tokio::test]
    async fn who_waits_no_longer_hangs_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("silent");
        let listener = UnixListener::bind(&path).unwrap();
        let asking = get(&path, "/", 1);
        let hears = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream
        };
        // It hears the question, and says nothing.
        let mut stream = tokio::select! {
            _ = asking => panic!("nobody answers"),
            stream = hears => stream,
        };
        let end = timeout(Duration::from_secs(30), stream.read(&mut [0; 16])).await;
        assert_eq!(end.expect("it hangs up").unwrap(), 0);
    }
}

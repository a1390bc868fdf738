//! Over TLS and with a token: what a page needs comes encrypted, by the secret that it was opened with.

use tempfile::TempDir;

use crate::codecs::{ENCODED, SINK, assert_plays_right};
use crate::page::Page;
use crate::scene::{Camera, scene};

/// Properties of a sink with a certificate that it has signed itself, as long as the folder is there.
fn self_signed() -> (String, TempDir) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("there is room");
    let both = folder.path().join("both.pem");
    std::fs::write(&both, made.cert.pem() + &made.signing_key.serialize_pem()).expect("there is room");
    (format!("tls-certificate={}", both.display()), folder)
}

#[test]
fn page_player_and_file_play_over_tls_with_a_token() {
    let (certificate, _folder) = self_signed();
    let camera = Camera::start(&format!("{} ! {ENCODED} ! {SINK} token=s3cret {certificate}", scene(320, 240)));
    let address = format!("https://localhost:{}", camera.port());

    let page = Page::open_at(&format!("{address}/?src=nothing&token=s3cret"), "");
    for mode in ["webcodecs", "mse"] {
        page.watch(mode);
        assert_plays_right(&page, &camera);
        assert_eq!(page.ask("return player.stats.mode"), mode);
    }

    // As a file, which has times of its own: its clock goes on.
    page.ask(
        "const video = document.createElement('video');
         [video.muted, video.src] = [true, '/stream.mp4'];
         document.body.replaceChildren(video);
         video.play();
         return 0",
    );
    let clock = "const clock = readNumber(all('video')[0], 320, 240)";
    let first = page.until(&format!("{clock}; return clock")).as_u64().expect("a number");
    page.until(&format!("{clock}; return clock > {}", first + 500));

    // The page as it is.
    page.go(&format!("{address}/?token=s3cret"));
    page.until("return all('valkka-video').length === 1 && all('valkka-video')[0].state === 'playing'");
}

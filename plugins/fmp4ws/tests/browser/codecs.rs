//! Streams of each kind, in each way of playing: the pictures that are seen are those that the player says they are.

use crate::page::{Page, Seen};
use crate::pipeline::Pipeline;
use crate::scene::{Camera, scene};

/// Frames that the sink wraps itself.
pub const ENCODED: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! h264parse";
/// The only sink of a pipeline.
pub const SINK: &str = "fmp4wssink name=sink stream-name=stream port=0";

/// Two pictures between those that they are made of.
const B_FRAMES: &str =
    "x264enc speed-preset=ultrafast bframes=2 b-adapt=false rc-lookahead=4 sync-lookahead=0 key-int-max=25 ! h264parse";
const MUX: &str = "mp4mux name=mux fragment-duration=1 streamable=true";
/// Sound in its own time.
pub const AAC: &str =
    "audiotestsrc is-live=true wave=ticks ! audioconvert ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse";
const AV1: &str = "av1enc usage-profile=realtime cpu-used=10 keyframe-max-dist=25 lag-in-frames=0 ! av1parse";
const TONE: &str = "audiotestsrc is-live=true wave=ticks ! audioconvert ! audio/x-raw,rate=48000,channels=2";

/// Looks at a page that is held up, by a busy machine, as often as that.
const LOOKS: usize = 5;

/// Pictures come in order, and nearly each is the one that the player says it is: between the event and the look at it a
/// media element may have gone on by one, and when the page is held up in between, by more.
#[track_caller]
pub fn assert_right(seen: &[Seen], camera: &Camera) {
    if let Err(wrong) = right(0.0, seen, seen.len() / 10, camera) {
        panic!("{wrong}");
    }
}

/// The same of what is seen from now on, and without an exception in one of several looks.
#[track_caller]
pub fn assert_plays_right(page: &Page, camera: &Camera) {
    assert_plays_right_within(0.0, page, camera);
}

/// The same, where a muxer has shifted all times by up to so many ms.
#[track_caller]
fn assert_plays_right_within(shift: f64, page: &Page, camera: &Camera) {
    let mut wrong = Vec::new();
    while let Err(found) = right(shift, &page.see_more(30), 0, camera) {
        wrong.push(found);
        assert!(wrong.len() < LOOKS, "{wrong:#?}");
    }
}

/// Whether the pictures are where the player says they are, but for so many `strays`.
#[track_caller]
fn right(shift: f64, seen: &[Seen], strays: usize, camera: &Camera) -> Result<(), String> {
    let base = camera.base_ms();
    let readable: Vec<_> = seen.iter().filter_map(|seen| Some((seen.clock? as f64, seen.channel? - base))).collect();
    assert!(readable.len() >= 25, "{seen:?}");
    assert!(readable.is_sorted_by(|a, b| a.0 <= b.0), "pictures go back: {readable:?}");
    assert!(seen.iter().all(|seen| seen.drawn == (seen.width, seen.height)), "{seen:?}");
    let mut late: Vec<_> = readable.iter().map(|(clock, channel)| channel - clock).collect();
    late.sort_by(f64::total_cmp);
    let middle = late[late.len() / 2];
    assert!((-2.0..shift + 2.0).contains(&middle), "{middle}: {readable:?}");
    let right = late.iter().filter(|late| (*late - middle).abs() < 2.0).count();
    let far = late.iter().filter(|late| (*late - middle).abs() >= 90.0).count();
    if right * 10 >= readable.len() * 8 && far <= strays {
        return Ok(());
    }
    Err(format!("{right} of {} are right, {far} are far away: {readable:?}", readable.len()))
}

/// Plays a camera's stream in both ways.
#[track_caller]
fn play(description: &str, shift: f64) -> (Camera, Page) {
    let camera = Camera::start(description);
    let page = Page::open(camera.port());
    for mode in ["webcodecs", "mse"] {
        page.watch(mode);
        assert_plays_right_within(shift, &page, &camera);
        assert_eq!(page.ask("return player.stats.mode"), mode);
        let picture = if mode == "mse" { "video" } else { "canvas" };
        assert_eq!(page.ask("return player.picture.localName"), picture);
    }
    (camera, page)
}

/// Decoded one by one, nearly every picture is in time to be seen, and none is late by more than its reordering costs. Where a
/// page is held up pictures are dropped, too, but not in each of several looks.
#[track_caller]
fn assert_nothing_lost(page: &Page) {
    page.watch("webcodecs");
    page.see_more(10);
    let figures = || page.ask("return [player.stats.frames, player.stats.droppedByBrowser]");
    let look = || {
        let (before, seen, after) = (figures(), page.see_more(100), figures());
        let grown =
            |index: usize| after[index].as_u64().zip(before[index].as_u64()).map(|(after, before)| after - before);
        let (shown, dropped) = (grown(0).expect("a number"), grown(1).expect("a number"));
        if dropped * 10 < shown { Ok(()) } else { Err(format!("{dropped} dropped, {shown} shown: {seen:?}")) }
    };
    let mut wrong = Vec::new();
    while let Err(found) = look() {
        wrong.push(found);
        assert!(wrong.len() < LOOKS, "{wrong:#?}");
    }
}

/// Sound is decoded along with the picture, by MSE, in time with it.
#[track_caller]
fn assert_sound(page: &Page) {
    page.ask("seen.length = 0; watch('auto'); player.muted = false; return 0");
    page.until(
        "return player.stats.mode === 'mse' && !player.video.muted && player.video.webkitAudioDecodedByteCount > 20000",
    );
    page.see_more(10);
    assert_eq!(page.ask("return all('[data-act=sound]')[0].getAttribute('aria-pressed')"), "true");
    page.ask("player.muted = true; return 0");
    page.until("return player.stats.mode === 'webcodecs' && player.state === 'playing'");
}

#[test]
fn h264_from_mp4mux_plays() {
    play(&format!("{} ! {ENCODED} ! {MUX} ! {SINK}", scene(320, 240)), 0.0);
}

#[test]
fn h264_with_b_frames_from_mp4mux_plays() {
    // mp4mux makes up for the negative first decode time by a shift of all times, up to two pictures here.
    play(&format!("{} ! {B_FRAMES} ! {MUX} ! {SINK}", scene(320, 240)), 80.0);
}

#[test]
fn h264_with_aac_from_mp4mux_plays() {
    let (_camera, page) = play(&format!("{} ! {ENCODED} ! {MUX} ! {SINK} {AAC} ! mux.", scene(320, 240)), 0.0);
    assert_sound(&page);
}

#[test]
fn h264_with_opus_from_mp4mux_plays() {
    // Opus that GStreamer 1.22 writes in the wrong byte order.
    let sound = format!("{TONE} ! opusenc ! opusparse");
    let (_camera, page) = play(&format!("{} ! {ENCODED} ! {MUX} ! {SINK} {sound} ! mux.", scene(320, 240)), 0.0);
    assert_sound(&page);
    assert!(page.ask("return player.stats.mime").to_string().contains("opus"));
}

#[test]
fn av1_from_mp4mux_plays() {
    // AV1 that GStreamer 1.22 leaves without configuration.
    play(&format!("{} ! {AV1} ! {MUX} ! {SINK}", scene(320, 240)), 0.0);
}

#[test]
fn h264_with_b_frames_and_aac_from_isofmp4mux_plays() {
    crate::pipeline::init();
    gstfmp4::plugin_register_static().expect("the plug-in registers once");
    // Sound and pictures in one moof, and composition offsets below 0.
    let mux = "isofmp4mux name=mux fragment-duration=1000000000 chunk-duration=200000000";
    let (_camera, page) = play(&format!("{} ! {B_FRAMES} ! {mux} ! {SINK} {AAC} ! mux.", scene(320, 240)), 80.0);
    assert_sound(&page);
}

#[test]
fn h264_frames_play() {
    play(&format!("{} ! {ENCODED} ! {SINK}", scene(320, 240)), 0.0);
}

#[test]
fn h264_frames_with_b_frames_play() {
    let (_camera, page) = play(&format!("{} ! {B_FRAMES} ! {SINK}", scene(320, 240)), 0.0);
    assert_nothing_lost(&page);
    let mime = page.ask("return player.stats.mime").to_string();
    assert!(!mime.contains("avc1.42"), "the baseline profile has no B-frames: {mime}");
}

#[test]
fn h264_frames_with_aac_play() {
    let (_camera, page) = play(&format!("{} ! {ENCODED} ! {SINK} {AAC} ! sink.audio", scene(320, 240)), 0.0);
    assert_sound(&page);
}

#[test]
fn h264_frames_with_opus_play() {
    let sound = format!("{TONE} ! opusenc ! opusparse");
    let (_camera, page) = play(&format!("{} ! {ENCODED} ! {SINK} {sound} ! sink.audio", scene(320, 240)), 0.0);
    assert_sound(&page);
}

#[test]
fn av1_frames_play() {
    play(&format!("{} ! {AV1} ! {SINK}", scene(320, 240)), 0.0);
}

#[test]
fn sound_alone_plays() {
    let pipeline = Pipeline::null(&format!("{AAC} ! {MUX} ! {SINK}"));
    pipeline.play();
    let page = Page::open(pipeline.port());
    page.watch("auto");
    page.until("return player.state === 'playing' && player.video.webkitAudioDecodedByteCount > 5000");
    assert_eq!(page.ask("return player.stats.mode"), "mse");
}

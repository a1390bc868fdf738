//! Viewers that do not keep up cost themselves, and nobody else.

use crate::pipeline::{DEADLINE, MUX, Pipeline, fragments_of};
use crate::viewer::{Received, Viewer, frames, keyframe, tfdt};
use gst::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::time::Duration;

/// 100 KB in each frame, so that what sockets hold is soon full.
pub const HEAVY: &str = "videotestsrc is-live=true pattern=snow num-buffers=64 \
    ! video/x-raw,format=I420,width=320,height=240,framerate=20/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast pass=quant quantizer=5 key-int-max=15 ! h264parse";

fn media(received: &[Received]) -> Vec<&[u8]> {
    let media = received.iter().filter_map(|received| match received {
        Received::Media(data) => Some(&data[..]),
        _ => None,
    });
    media.skip(1).collect()
}

/// Frames that the sink says it has left out.
fn dropped(received: &[Received]) -> u64 {
    let told = received.iter().filter_map(|received| match received {
        Received::Json(value) if value["type"] == "drop" => value["frames"].as_u64(),
        _ => None,
    });
    told.sum()
}

#[tokio::test]
async fn a_viewer_that_stalls_skips_to_a_keyframe_and_the_others_get_everything() {
    // Live, a busy machine would catch up with a burst that is more than has room in anybody's queue. Here the source is at most
    // ten frames ahead of the fast viewer, and knows nothing of the slow ones.
    let source = HEAVY.replace("is-live=true", "");
    let pipeline = Pipeline::ready(&format!(
        "{source} ! identity name=pace ! {MUX} ! fmp4wssink port=0 max-queue-bytes=2000000 max-queue-time=0"
    ));
    let (got, ahead) = channel();
    (0..10).for_each(|_| got.send(()).expect("the source is there"));
    let ahead = Mutex::new(ahead);
    let pad = pipeline.element("pace").static_pad("src").expect("an identity has this pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        ahead.lock().expect("nobody panics here").recv_timeout(DEADLINE).expect("the fast viewer reads");
        gst::PadProbeReturn::Ok
    });
    let mut slow = Viewer::extended(pipeline.port()).await;
    let mut slow_plain = Viewer::plain(pipeline.port()).await;
    let mut fast = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(3);
    let mut all = Vec::new();
    loop {
        let received = fast.next().await;
        match &received {
            Received::Media(_) => drop(got.send(())),
            Received::Json(value) if value["type"] == "eos" => break,
            Received::Json(_) => {}
            Received::Closed => panic!("the connection was closed"),
        }
        all.push(received);
    }
    // It read nothing so far, and the pipeline has ended in time all the same.
    pipeline.wait_eos();
    assert_eq!((media(&all).len(), dropped(&all)), (fragments_of(64), 0));

    let part = slow.rest().await;
    let got = media(&part);
    assert!(dropped(&part) > 20, "{}", dropped(&part));
    let frames: u64 = got.iter().map(|fragment| frames(fragment)).sum();
    assert_eq!(frames + dropped(&part), 64);
    for (before, after) in got.iter().zip(&got[1..]) {
        assert!(tfdt(after) == tfdt(before) + 100 || keyframe(after), "{} after {}", tfdt(after), tfdt(before));
    }
    // It stalled in the first seconds, and sees the end: a keyframe every 15 frames.
    assert!(got.iter().any(|fragment| keyframe(fragment) && tfdt(fragment) > 5800));
    // A gap is told just before the keyframe that ends it.
    for (message, next) in part.iter().zip(&part[1..]) {
        if let Received::Json(value) = message
            && value["type"] == "drop"
        {
            assert!(matches!(next, Received::Media(data) if keyframe(data)), "{next:?}");
        }
    }

    drop(pipeline);
    let part = slow_plain.rest().await;
    assert!(part[1..].iter().all(|received| matches!(received, Received::Media(_))));
    let times: Vec<u64> = media(&part).iter().map(|fragment| tfdt(fragment)).collect();
    let expected: Vec<u64> = (0..times.len() as u64).map(|index| index * 100).collect();
    // Times of its own show no hole.
    assert_eq!(times, expected);
    assert!(times.len() < 40);
}

#[tokio::test]
async fn what_has_waited_too_long_is_left_out_too() {
    const LIMIT: Duration = Duration::from_millis(500);
    // Room for everything, but not for long.
    let limits = format!("max-queue-bytes=100000000 max-queue-time={}", LIMIT.as_nanos());
    // What comes in a burst is young: so it does, until shortly before the end, on machines of any speed. There all that waits
    // grows old.
    let source = HEAVY.replace("is-live=true", "");
    let pipeline = Pipeline::ready(&format!("{source} ! identity name=pace ! fmp4wssink port=0 {limits}"));
    let pad = pipeline.element("pace").static_pad("src").expect("an identity has this pad");
    let frame = AtomicUsize::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if frame.fetch_add(1, Relaxed) == 55 {
            std::thread::sleep(2 * LIMIT);
        }
        gst::PadProbeReturn::Ok
    });
    let mut slow = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    pipeline.wait_eos();
    let part = slow.rest().await;
    let frames: u64 = media(&part).iter().map(|fragment| frames(fragment)).sum();
    assert!(dropped(&part) > 20, "{}", dropped(&part));
    assert_eq!(frames + dropped(&part), 64);
}

#[tokio::test]
async fn a_viewer_that_says_too_much_loses_its_own_connection() {
    let pipeline = Pipeline::ready(&format!("{} ! {MUX} ! fmp4wssink port=0", crate::pipeline::CAMERA));
    pipeline.play();
    let mut other = Viewer::plain(pipeline.port()).await;
    let mut loud = Viewer::extended(pipeline.port()).await;
    loud.record(1).await;
    loud.say(serde_json::json!({"type": "report", "value": "x".repeat(200_000)})).await;
    loud.rest().await;
    assert_eq!(other.record(10).await.decode().frames, 10);
}

#[tokio::test]
async fn a_viewer_that_never_says_anything_costs_nothing() {
    let camera = crate::pipeline::CAMERA.replace("is-live=true", "is-live=true num-buffers=25");
    let pipeline = Pipeline::ready(&format!("{camera} ! {MUX} ! fmp4wssink port=0"));
    let _silent = Viewer::connect(pipeline.port(), "/api/ws").await;
    pipeline.play();
    pipeline.wait_eos();
    assert_eq!(pipeline.sink().property::<u32>("viewers"), 0);
}

//! What a viewer gets can be played, from its first fragment on.

use crate::pipeline::{CAMERA, Decoded, MUX, Pipeline, fragments_of};
use crate::viewer::{Received, Viewer, keyframe, moof};
use serde_json::json;

#[tokio::test]
async fn two_viewers_each_start_at_a_keyframe_and_at_time_0() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink port=0"));
    pipeline.play();
    let mut first = Viewer::plain(pipeline.port()).await;
    assert_eq!(first.json().await, json!({"type": "mse", "value": "video/mp4; codecs=\"avc1.640014\""}));
    let one = first.record(40).await;
    let mut second = Viewer::plain(pipeline.port()).await;
    let two = second.record(40).await;
    for recording in [&one, &two] {
        assert!(keyframe(&recording.fragments[0]));
        assert_eq!(recording.tfdts()[..3], [0, 100, 200]);
        let decoded = Decoded { frames: 40, pts: Some(gst::ClockTime::ZERO), size: (320, 240) };
        assert_eq!(recording.decode(), decoded);
    }
}

#[tokio::test]
async fn viewers_with_extensions_share_the_streams_times() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink port=0"));
    pipeline.play();
    // Past the second keyframe, so that the stream's time is not 0 any more.
    Viewer::plain(pipeline.port()).await.record(30).await;
    let mut viewer = Viewer::extended(pipeline.port()).await;
    assert_eq!(viewer.json().await["type"], "mse");
    let init = viewer.json().await;
    assert_eq!(init["type"], "init");
    assert_eq!((&init["stream"], &init["width"], &init["height"]), (&json!("stream"), &json!(320), &json!(240)));
    assert_eq!((&init["timescale"], &init["exact"]), (&json!(2500), &json!(true)));
    let recording = viewer.record(10).await;
    assert!(keyframe(&recording.fragments[0]));
    // A second or more into the stream; a live source's first second is not exactly one.
    assert!(recording.tfdts()[0] > 2400, "{:?}", recording.tfdts());
    assert_eq!(recording.decode().frames, 10);
}

#[tokio::test]
async fn positions_count_from_the_moof_as_browsers_demand() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink port=0"));
    pipeline.play();
    let recording = Viewer::plain(pipeline.port()).await.record(3).await;
    for fragment in &recording.fragments {
        assert!(moof(fragment).traf[0].tfhd.default_base_is_moof);
    }
}

#[tokio::test]
async fn frames_out_of_order_and_several_in_a_fragment_are_played() {
    let source = "videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
        ! x264enc bframes=2 b-adapt=false key-int-max=20 ! h264parse";
    let pipeline =
        Pipeline::ready(&format!("{source} ! mp4mux fragment-duration=200 streamable=true ! fmp4wssink port=0"));
    let mut viewer = Viewer::plain(pipeline.port()).await;
    let mut other = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(2);
    pipeline.wait_eos();
    let recording = viewer.record(1).await;
    assert!(keyframe(&recording.fragments[0]));
    let rest = other.rest().await;
    let media: Vec<_> = rest.iter().filter(|received| matches!(received, Received::Media(_))).collect();
    let mut recording = recording;
    recording.fragments = media[1..]
        .iter()
        .map(|received| match received {
            Received::Media(data) => data.clone(),
            other => panic!("{other:?} is not media"),
        })
        .collect();
    assert_eq!(recording.decode().frames, 60);
}

#[tokio::test]
async fn sound_beside_the_picture_is_named_and_passes() {
    let sound = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse";
    let pipeline = Pipeline::ready(&format!(
        "mp4mux name=mux fragment-duration=1 streamable=true ! fmp4wssink port=0 {CAMERA} ! mux. {sound} ! mux."
    ));
    pipeline.play();
    let mut viewer = Viewer::plain(pipeline.port()).await;
    let codecs = viewer.json().await["value"].as_str().expect("a string").to_owned();
    assert!(codecs.contains("avc1.640014") && codecs.contains("mp4a.40.2"), "{codecs}");
    let recording = viewer.record(60).await;
    assert!(keyframe(&recording.fragments[0]));
    let tracks: std::collections::BTreeSet<u32> =
        recording.fragments.iter().map(|fragment| moof(fragment).traf[0].tfhd.track_id).collect();
    assert_eq!(tracks.len(), 2);
    let pictures = recording
        .fragments
        .iter()
        .filter(|fragment| moof(fragment).traf[0].tfhd.track_id == moof(&recording.fragments[0]).traf[0].tfhd.track_id);
    assert_eq!(recording.decode().frames, pictures.count());
}

#[tokio::test]
async fn the_end_of_the_source_is_told_to_those_who_asked_for_it() {
    let camera = CAMERA.replace("is-live=true", "num-buffers=30");
    let pipeline = Pipeline::ready(&format!("{camera} ! {MUX} ! fmp4wssink port=0"));
    let mut extended = Viewer::extended(pipeline.port()).await;
    let mut plain = Viewer::plain(pipeline.port()).await;
    pipeline.play_for(2);
    pipeline.wait_eos();
    let got = extended.rest().await;
    assert_eq!(got.last(), Some(&Received::Json(json!({"type": "eos"}))));
    drop(pipeline);
    let media = plain.rest().await.into_iter().filter(|received| matches!(received, Received::Media(_))).count();
    // Everything comes before the connection is closed: the init segment and each frame.
    assert_eq!(media, 1 + fragments_of(30));
}

//! Delta-coded streams: readers begin at keyframes, and after a loss they go on at one.

use gst::prelude::*;

use crate::stage::{Channel, Play, assert_accounts, until};

const ENCODER: &str = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=50/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=100000 ! video/x-h264,stream-format=byte-stream ! h264parse";

fn is_delta(sample: &gst::Sample) -> bool {
    sample.buffer().expect("a buffer").flags().contains(gst::BufferFlags::DELTA_UNIT)
}

#[test]
fn late_reader_asks_for_a_keyframe_and_begins_with_it() {
    let channel = Channel::new();
    let writer = channel.writer(ENCODER, "");
    until("a group of pictures under way", || writer.stat("sink", "frames") > 20);
    for _ in 0..2 {
        let reader = channel.sampling_reader("policy=queue queue-size=16");
        assert!(!is_delta(&reader.pull()), "begins with a keyframe, though none was due");
        for _ in 0..10 {
            reader.pull();
        }
        assert_accounts(&writer.readers());
    }
}

#[test]
fn after_a_loss_nothing_undecodable_arrives() {
    let channel = Channel::new();
    let _writer = channel.writer(ENCODER, "");
    let reader = channel.reader("policy=queue queue-size=2 max-held=1", "appsink name=out sync=false max-buffers=1");
    let mut losses = 0;
    let mut last: Option<u64> = None;
    while losses < 3 {
        let sample = reader.pull();
        let seq = sample.buffer().expect("a buffer").offset();
        let gap = last.is_some_and(|last| seq != last + 1);
        last = Some(seq);
        if gap {
            losses += 1;
            assert!(!is_delta(&sample), "frame {seq} follows a gap");
            let flags = sample.buffer().expect("a buffer").flags();
            assert!(flags.contains(gst::BufferFlags::DISCONT));
            continue;
        }
        // Too slow for a moment.
        let before = reader.stat("src", "frames");
        let target = reader.0.current_running_time().expect("plays") + gst::ClockTime::from_mseconds(200);
        until("time goes by", || reader.0.current_running_time() > Some(target));
        assert!(reader.stat("src", "frames") <= before + 4);
    }
}

#[test]
fn encoded_video_of_any_frame_size_is_decodable_on_the_other_side() {
    let channel = Channel::new();
    // Noise makes large frames, far larger than the first slots.
    let writer = channel.writer(
        "videotestsrc pattern=snow num-buffers=20 ! video/x-raw,format=I420,width=1920,height=1080 \
         ! x264enc speed-preset=ultrafast qp-max=10 quantizer=1 pass=quant key-int-max=5 ! h264parse",
        "wait-for-reader=true lossless-timeout=30000000000",
    );
    let reader = channel.reader("policy=lossless", "avdec_h264 ! appsink name=out sync=false max-buffers=1000");
    let mut frames = 0;
    while reader.output().try_pull_sample(gst::ClockTime::from_seconds(30)).is_some() {
        frames += 1;
    }
    assert_eq!(frames, 20);
    writer.wait_for_eos();
    assert!(writer.stat("sink", "slot-size") > 1 << 20, "the frames were large");
    assert_eq!(reader.stat("src", "lost"), 0);
}

#[test]
fn frames_out_of_order_keep_their_times() {
    let source = "videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=64,height=64,framerate=30/1 \
                  ! x264enc bframes=3 b-adapt=false speed-preset=fast key-int-max=30 ! h264parse";
    let reference = Play::launch(&format!("{source} ! appsink name=out sync=false"));
    let channel = Channel::new();
    // Before the writer: what is older than the reading pipeline has lost its time.
    let reader = channel.sampling_reader("policy=lossless");
    let writer = channel.writer(source, "wait-for-reader=true lossless-timeout=30000000000");
    let times = |play: &Play| -> Vec<_> {
        std::iter::from_fn(|| play.output().try_pull_sample(gst::ClockTime::from_seconds(30)))
            .map(|sample| {
                let buffer = sample.buffer().expect("a buffer");
                (buffer.pts().expect("a PTS"), buffer.dts().expect("a DTS"))
            })
            .collect()
    };
    let (expected, got) = (times(&reference), times(&reader));
    assert_eq!((expected.len(), got.len()), (60, 60));
    // Older than the reading pipeline is 0: only what is later can be compared.
    let delta = |times: &[(gst::ClockTime, gst::ClockTime)]| -> Vec<_> {
        times.iter().map(|(pts, dts)| pts.nseconds() as i64 - dts.nseconds() as i64).collect()
    };
    let whole = got.iter().position(|(_, dts)| *dts > gst::ClockTime::ZERO).expect("most are later");
    assert_eq!(delta(&got)[whole..], delta(&expected)[whole..]);
    assert!(got.is_sorted_by_key(|(_, dts)| *dts));
    writer.wait_for_eos();
}

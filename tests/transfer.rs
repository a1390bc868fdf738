//! Frames arrive whole: what a reader's process gets is what the writer's process made, bit for bit.

use std::time::Duration;

use nix::unistd::Uid;

use crate::stage::{Runtime, SOON};

/// Long enough for 300 pictures of 6 MB to be made and summed twice by debug builds on a busy machine.
const LONG: Duration = Duration::from_secs(240);

/// The sums of the frames of a pipeline that ends in `checksumsink`, without their time stamps.
fn sums(output: &str) -> Vec<&str> {
    output.lines().filter_map(|line| line.split_whitespace().nth(1)).collect()
}

const LOSSLESS_SINK: &str = "valkkashmsink channel=a wait-for-reader=true lossless-timeout=60000000000 sync=false";
const LOSSLESS_SOURCE: &str = "valkkashmsrc channel=a policy=lossless";

#[test]
fn three_hundred_frames_of_1080p_rgb_pass_bit_for_bit() {
    let runtime = Runtime::new();
    let frames =
        "videotestsrc num-buffers=300 pattern=snow ! video/x-raw,format=RGB,width=1920,height=1080,framerate=30/1";
    // The picture is the same whenever it is made: the original needs no part of the transport.
    let mut original = runtime.launch(&format!("{frames} ! checksumsink hash=md5 sync=false"));
    let mut reader = runtime.launch(&format!("{LOSSLESS_SOURCE} ! checksumsink hash=md5 sync=false"));
    let mut writer = runtime.launch(&format!("{frames} ! {LOSSLESS_SINK}"));

    writer.finish(LONG);
    let arrived = reader.finish(LONG);
    let expected = original.finish(LONG);
    assert_eq!(sums(&expected).len(), 300);
    assert_eq!(sums(&arrived), sums(&expected));
}

#[test]
fn frames_that_have_to_be_copied_pass_bit_for_bit() {
    let runtime = Runtime::new();
    // A file's buffers know nothing of the sink's pool.
    let frames =
        "videotestsrc num-buffers=50 pattern=snow ! video/x-raw,format=RGB,width=642,height=482,framerate=30/1";
    let raw = runtime.path("frames.rgb");
    runtime.launch(&format!("{frames} ! filesink location={}", raw.display())).finish(SOON);
    let parse = "rawvideoparse format=rgb width=642 height=482 framerate=30/1";
    let file = format!("filesrc location={} ! {parse}", raw.display());

    let mut original = runtime.launch(&format!("{file} ! checksumsink sync=false"));
    let mut reader = runtime.launch(&format!("{LOSSLESS_SOURCE} ! checksumsink sync=false"));
    let mut writer = runtime.launch(&format!("{file} ! {LOSSLESS_SINK}"));
    writer.finish(LONG);
    let arrived = reader.finish(LONG);
    let expected = original.finish(LONG);
    assert_eq!(sums(&expected).len(), 50);
    assert_eq!(sums(&arrived), sums(&expected));
}

#[test]
fn three_readers_get_the_same_frames() {
    let runtime = Runtime::new();
    let frames =
        "videotestsrc num-buffers=100 pattern=snow ! video/x-raw,format=RGB,width=640,height=480,framerate=10/1";
    let mut original = runtime.launch(&format!("{frames} ! checksumsink sync=false"));
    // Only one of them is waited for: the others look for the channel already, and the writer takes its time.
    let source = format!("{LOSSLESS_SOURCE} initial-frame=newest ! checksumsink sync=false");
    let mut readers: Vec<_> = (0..3).map(|_| runtime.launch(&source)).collect();
    readers.iter().for_each(|reader| reader.watches(SOON));
    let mut writer = runtime.launch(&format!("{frames} ! {LOSSLESS_SINK} sync=true"));

    writer.finish(LONG);
    let expected = original.finish(LONG);
    let expected = sums(&expected);
    for reader in &mut readers {
        let arrived = reader.finish(LONG);
        let arrived = sums(&arrived);
        assert!(expected.ends_with(&arrived), "a lossless reader misses frames after its first");
        assert!(arrived.len() > 50, "a reader that was there from the start got {} of 100 frames", arrived.len());
    }
}

#[test]
fn a_writer_in_a_container_has_readers_outside_of_it() {
    let runtime = Runtime::new();
    // What containers are made of. The writer sees no process id of such a reader (pid_namespaces(7)).
    let contained = |words: &str| {
        let mut command = runtime.command("unshare");
        command.args(if Uid::effective().is_root() { &[][..] } else { &["--user", "--map-root-user"] });
        command.args(["--pid", "--fork", "--kill-child"]).args(words.split_whitespace());
        runtime.start(&command)
    };
    if !contained("true").wait(SOON).success() {
        eprintln!("this machine lets nobody make containers here: not tested");
        return;
    }
    let frames = "videotestsrc num-buffers=20 pattern=snow ! video/x-raw,format=RGB,width=320,height=240";
    let mut original = runtime.launch(&format!("{frames} ! checksumsink sync=false"));
    let mut reader = runtime.launch(&format!("{LOSSLESS_SOURCE} ! checksumsink sync=false"));
    let mut writer = contained(&format!("gst-launch-1.0 -q {frames} ! {LOSSLESS_SINK}"));
    writer.finish(LONG);
    let (arrived, expected) = (reader.finish(LONG), original.finish(LONG));
    assert_eq!(sums(&expected).len(), 20);
    assert_eq!(sums(&arrived), sums(&expected));
}

#[test]
fn encoded_video_of_changing_sizes_passes_bit_for_bit() {
    let runtime = Runtime::new();
    let file = runtime.path("video.h264");
    let encode = "videotestsrc num-buffers=120 pattern=ball ! video/x-raw,format=I420,width=320,height=240 ! x264enc key-int-max=30";
    runtime
        .launch(&format!("{encode} ! video/x-h264,stream-format=byte-stream ! filesink location={}", file.display()))
        .finish(SOON);
    let parse = format!("filesrc location={} ! h264parse ! video/x-h264,alignment=au", file.display());

    let mut original = runtime.launch(&format!("{parse} ! checksumsink sync=false"));
    let mut reader = runtime.launch(&format!("{LOSSLESS_SOURCE} ! checksumsink sync=false"));
    let mut writer = runtime.launch(&format!("{parse} ! {LOSSLESS_SINK}"));
    writer.finish(LONG);
    let arrived = reader.finish(LONG);
    let expected = original.finish(LONG);
    assert_eq!(sums(&expected).len(), 120);
    assert_eq!(sums(&arrived), sums(&expected));
}

#[test]
fn rows_with_gaps_between_them_pass_bit_for_bit() {
    let runtime = Runtime::new();
    // What is cropped stays in memory beside each row; downstream of the sink's pool, rows are as the sink likes them.
    let frames =
        "videotestsrc num-buffers=30 pattern=snow ! video/x-raw,format=I420,width=322,height=242,framerate=30/1";
    let crop = "videocrop left=34 right=10 top=6";
    let look = "videoconvert ! video/x-raw,format=BGR ! checksumsink sync=false";
    let mut original = runtime.launch(&format!("{frames} ! {crop} ! {look}"));
    let mut reader = runtime.launch(&format!("{LOSSLESS_SOURCE} ! {look}"));
    let mut writer = runtime.launch(&format!("{frames} ! {crop} ! {LOSSLESS_SINK}"));
    writer.finish(LONG);
    let arrived = reader.finish(LONG);
    let expected = original.finish(LONG);
    assert_eq!(sums(&expected).len(), 30);
    assert_eq!(sums(&arrived), sums(&expected));
}

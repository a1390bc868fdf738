//! Padded lines and cropped pictures arrive pixel by pixel, also where downstream knows the default layout only.

use gst_video::{VideoFrameExt, VideoFrameRef, VideoInfo};

use crate::stage::{Channel, Play};

/// The pixels of a sample, line by line, without padding.
fn pixels(sample: &gst::Sample) -> Vec<u8> {
    let info = VideoInfo::from_caps(sample.caps().expect("caps")).expect("raw video");
    let buffer = sample.buffer().expect("a buffer");
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, &info).expect("the layout fits");
    let mut pixels = Vec::new();
    for plane in 0..frame.n_planes() {
        let stride = frame.plane_stride()[plane as usize] as usize;
        let data = frame.plane_data(plane).expect("a plane");
        let component = (0..info.n_components()).find(|c| info.format_info().plane()[*c as usize] == plane);
        let component = component.expect("a plane has a component") as usize;
        let (rows, width) = (frame.comp_height(component as u32), frame.comp_width(component as u32));
        let line = width as usize * info.format_info().pixel_stride()[component] as usize;
        for row in 0..rows as usize {
            pixels.extend_from_slice(&data[row * stride..][..line]);
        }
    }
    pixels
}

/// What the source shows, without a channel.
fn expected(source: &str) -> Vec<Vec<u8>> {
    let play = Play::launch(&format!("{source} ! appsink name=out sync=false"));
    std::iter::from_fn(|| play.output().try_pull_sample(gst::ClockTime::from_seconds(30)))
        .map(|sample| pixels(&sample))
        .collect()
}

fn arrives(source: &str, downstream: &str) -> (Channel, Play, Play) {
    let channel = Channel::new();
    let expected = expected(&format!("{source} ! {downstream} identity"));
    assert!(expected.len() >= 3, "{source}");
    let writer = channel.writer(source, "wait-for-reader=true");
    let reader = channel.reader("policy=queue queue-size=32", &format!("{downstream} appsink name=out sync=false"));
    for frame in expected {
        assert!(pixels(&reader.pull()) == frame, "{source} ! … ! {downstream}");
    }
    (channel, writer, reader)
}

#[test]
fn pictures_of_odd_width_arrive() {
    for format in ["RGB", "I420", "NV12", "YUY2", "GRAY8"] {
        let source =
            format!("videotestsrc num-buffers=3 pattern=smpte ! video/x-raw,format={format},width=1922,height=6");
        arrives(&source, "");
    }
}

#[test]
fn cropped_pictures_arrive() {
    for format in ["RGB", "I420", "NV12"] {
        let source = format!(
            "videotestsrc num-buffers=3 pattern=smpte ! video/x-raw,format={format},width=320,height=240 \
             ! videocrop left=10 right=22 top=4 bottom=8"
        );
        arrives(&source, "");
    }
}

/// A writer whose lines are padded, because a converter was given a pool of such lines.
fn padded_source() -> String {
    // The decoder aligns its lines and surrounds the picture. With several threads the encoder's pictures differ from run to run.
    "videotestsrc num-buffers=3 pattern=smpte ! video/x-raw,format=I420,width=330,height=242 \
     ! x264enc threads=1 speed-preset=ultrafast tune=zerolatency ! avdec_h264 max-threads=1"
        .into()
}

#[test]
fn padded_lines_arrive_without_a_copy_where_downstream_understands_them() {
    // A converter looks at video metas.
    let (_channel, writer, reader) = arrives(&padded_source(), "videoconvert ! video/x-raw,format=RGB ! ");
    assert_eq!(reader.stat("src", "copied"), 0);
    assert_eq!(writer.stat("sink", "copied"), 0);
}

#[test]
fn padded_lines_are_brought_into_the_default_layout_for_others() {
    // A caps filter, a queue and an appsink promise nothing.
    let (_channel, _writer, reader) = arrives(&padded_source(), "");
    assert_eq!(reader.stat("src", "copied"), 3);
}

#[test]
fn interlaced_flags_arrive() {
    use gst_video::video_frame::VideoBufferExt;

    let source = "videotestsrc num-buffers=3 ! video/x-raw,format=I420,width=64,height=64,framerate=25/1 \
                  ! interlace field-pattern=2:2 top-field-first=true";
    let channel = Channel::new();
    let _writer = channel.writer(source, "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue queue-size=8");
    let sample = reader.pull();
    let flags = sample.buffer().expect("a buffer").video_flags();
    assert!(flags.contains(gst_video::VideoBufferFlags::TFF), "{flags:?}");
}

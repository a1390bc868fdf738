//! A writer in the test's own process, whose pictures show a square in a known place.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use frame_ring::{
    Canceller, ChannelAddress, CloseReason, DetachReason, FrameId, FrameInfo, ReaderStats, Reply, StateKind, Writer,
    WriterEvents, WriterOptions, monotonic_now,
};
use serde_json::Value;

use crate::analyser::is_about_an_object;
use crate::{SOON, eventually};

/// Size of the pictures; rows of RGB have two bytes of padding.
pub const WIDTH: usize = 322;
pub const HEIGHT: usize = 180;
pub const STRIDE: usize = 968;

/// Side of the square.
pub const SQUARE: usize = 40;

/// A camera that writes one channel.
pub struct Camera {
    writer: Writer,
    replies: Receiver<Reply>,
    cancel: Canceller,
}

impl Camera {
    pub fn open(runtime_dir: &Path, channel_name: &str) -> Self {
        let caps = format!(
            "video/x-raw, format=(string)RGB, width=(int){WIDTH}, height=(int){HEIGHT}, framerate=(fraction)25/1"
        );
        Self::open_with(runtime_dir, channel_name, &caps)
    }

    pub fn open_with(runtime_dir: &Path, channel_name: &str, caps: &str) -> Self {
        let (sender, replies) = channel();
        let options = WriterOptions {
            address: ChannelAddress::socket(runtime_dir.join(channel_name)).expect("the path is short"),
            slots: 4,
            max_readers: 4,
            lossless_timeout: SOON,
            checksum: false,
        };
        let writer = Writer::open(options, Arc::new(Listener(sender))).expect("the channel has no other writer");
        let camera = Self { writer, replies, cancel: Canceller::new().expect("there are descriptors left") };
        camera.set_caps(caps);
        camera
    }

    pub fn set_caps(&self, caps: &str) {
        self.writer.set_state(StateKind::CAPS, caps.as_bytes().to_vec());
    }

    /// Waits until the analyser reads the channel.
    pub fn wait_for_reader(&self) {
        eventually("the analyser attaches", || (self.writer.readers() > 0).then_some(()));
    }

    /// How many read the channel now.
    pub fn readers(&self) -> u32 {
        self.writer.readers()
    }

    /// The numbers of those who read the channel now.
    pub fn reader_ids(&self) -> Vec<u32> {
        self.writer.stats().readers.iter().map(|reader| reader.id).collect()
    }

    /// Publishes a picture with a square whose upper left corner is there.
    #[track_caller]
    pub fn show(&self, square: Option<(usize, usize)>) -> FrameId {
        self.publish(&picture(square), &[], Some(monotonic_now()))
    }

    /// Publishes a frame as it is.
    #[track_caller]
    pub fn publish(&self, bytes: &[u8], metas: &[u8], time: Option<i64>) -> FrameId {
        let mut slot =
            eventually("a slot becomes free", || self.writer.copy_slot(bytes.len()).expect("there is memory"));
        slot.as_mut()[..bytes.len()].copy_from_slice(bytes);
        let info = FrameInfo { time, ..FrameInfo::default() };
        self.writer.publish_copy(slot, bytes.len(), &info, metas, &self.cancel).expect("the channel is open")
    }

    /// The next reply about a frame, as its frame and its payload.
    #[track_caller]
    pub fn reply(&self) -> (FrameId, String) {
        loop {
            let reply = self.any_reply();
            if !is_about_an_object(&reply.1) {
                return reply;
            }
        }
    }

    /// A reply that is there already, whatever it is about.
    pub fn reply_now(&self) -> Option<(FrameId, String)> {
        let reply = self.replies.try_recv().ok()?;
        assert!(matches!(reply.format, frame_ring::ReplyFormat::Json));
        Some((reply.frame.expect("a reply names its frame"), String::from_utf8(reply.payload).expect("JSON is UTF-8")))
    }

    #[track_caller]
    fn any_reply(&self) -> (FrameId, String) {
        let reply = self.replies.recv_timeout(SOON).expect("a reply comes");
        assert!(matches!(reply.format, frame_ring::ReplyFormat::Json));
        (reply.frame.expect("a reply names its frame"), String::from_utf8(reply.payload).expect("JSON is UTF-8"))
    }

    /// Says that the stream is over.
    pub fn eos(&self) {
        self.writer.eos();
    }

    /// Closes the channel; another writer is to come.
    pub fn restart(self) {
        self.writer.close(CloseReason::Restart);
    }
}

/// A picture with its default stride.
pub fn picture(square: Option<(usize, usize)>) -> Vec<u8> {
    let mut bytes = vec![70; STRIDE * HEIGHT];
    if let Some((left, top)) = square {
        for y in top..top + SQUARE {
            bytes[y * STRIDE + left * 3..][..SQUARE * 3].fill(220);
        }
    }
    bytes
}

/// Checks that a message tells of one object, which is the square there, within a few pixels.
#[track_caller]
pub fn assert_square(message: &Value, left: usize, top: usize) {
    assert_eq!((&message["width"], &message["height"]), (&WIDTH.into(), &HEIGHT.into()), "{message}");
    let objects = message["objects"].as_array().expect("a list");
    assert_eq!(objects.len(), 1, "{message}");
    let sides = [WIDTH, HEIGHT, WIDTH, HEIGHT];
    let wanted = [left, top, left + SQUARE, top + SQUARE];
    for n in 0..4 {
        let edge = objects[0]["box"][n].as_f64().expect("a number") * sides[n] as f64;
        assert!((edge - wanted[n] as f64).abs() <= 4.0, "edge {n} is at {edge}, not {}: {message}", wanted[n]);
    }
}

struct Listener(Sender<Reply>);

impl WriterEvents for Listener {
    fn reader_added(&self, _: &ReaderStats) {}
    fn reader_removed(&self, _: u32, _: &DetachReason) {}
    fn reader_slow(&self, _: u32, _: u64) {}
    fn reply(&self, _: u32, reply: Reply) {
        // A test that is over does not listen any more.
        let _ = self.0.send(reply);
    }
    fn force_key_unit(&self, _: u32) {}
}

//! Both ends of a channel in a temporary folder, for the tests beside this one.
#![allow(dead_code)] // each test binary uses a part

pub mod by_hand;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use frame_ring::{
    Canceller, ChannelAddress, DetachReason, Frame, FrameId, FrameInfo, InitialFrame, Item, Policy, PublishError,
    Reader, ReaderOptions, ReaderStats, Reply, Woken, Writer, WriterEvents, WriterOptions,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Notes what a writer tells.
#[derive(Default)]
pub struct Recorder {
    removed: Mutex<Vec<(u32, DetachReason)>>,
    replies: Mutex<Vec<(u32, Reply)>>,
    key_units: Mutex<Vec<u32>>,
}

impl Recorder {
    pub fn removed(&self) -> Vec<(u32, DetachReason)> {
        self.removed.lock().unwrap().clone()
    }

    pub fn replies(&self) -> Vec<(u32, Reply)> {
        self.replies.lock().unwrap().clone()
    }

    pub fn key_units(&self) -> Vec<u32> {
        self.key_units.lock().unwrap().clone()
    }
}

impl WriterEvents for Recorder {
    fn reader_added(&self, _: &ReaderStats) {}
    fn reader_removed(&self, reader: u32, reason: &DetachReason) {
        self.removed.lock().unwrap().push((reader, reason.clone()));
    }
    fn reader_slow(&self, _: u32, _: u64) {}
    fn reply(&self, reader: u32, reply: Reply) {
        self.replies.lock().unwrap().push((reader, reply));
    }
    fn force_key_unit(&self, reader: u32) {
        self.key_units.lock().unwrap().push(reader);
    }
}

/// A channel in a folder of its own.
pub struct TestChannel {
    _folder: tempfile::TempDir,
    address: ChannelAddress,
    recorder: Arc<Recorder>,
}

impl TestChannel {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = ChannelAddress::socket(folder.path().join("test.rgb")).unwrap();
        Self { _folder: folder, address, recorder: Arc::default() }
    }

    pub fn address(&self) -> &ChannelAddress {
        &self.address
    }

    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub fn writer_options(&self) -> WriterOptions {
        WriterOptions {
            address: self.address.clone(),
            slots: 8,
            max_readers: 8,
            lossless_timeout: Duration::ZERO,
            checksum: false,
        }
    }

    pub fn writer(&self) -> Writer {
        self.writer_with(|_| ())
    }

    pub fn writer_with(&self, change: impl FnOnce(&mut WriterOptions)) -> Writer {
        let mut options = self.writer_options();
        change(&mut options);
        Writer::open(options, self.recorder.clone()).unwrap()
    }

    pub fn reader(&self, policy: Policy, queue_size: u32, max_held: u32) -> Reader {
        Reader::new(options(&self.address, policy, queue_size, max_held)).unwrap()
    }

    /// Waits until both ends know of each other.
    pub fn attach(&self, writer: &Writer, reader: &mut Reader) {
        let readers = writer.readers();
        loop {
            match next_item(reader) {
                Item::Attached(_) => break,
                Item::Lost(_) => {}
                other => panic!("before it was attached: {other:?}"),
            }
        }
        wait_until("the writer knows the reader", || writer.readers() > readers || writer.readers() > 0);
    }
}

pub fn options(address: &ChannelAddress, policy: Policy, queue_size: u32, max_held: u32) -> ReaderOptions {
    ReaderOptions { address: address.clone(), policy, queue_size, max_held, initial: InitialFrame::Newest }
}

pub fn publish(writer: &Writer, payload: &[u8]) -> FrameId {
    publish_info(writer, payload, &FrameInfo::default(), b"").unwrap()
}

pub fn publish_all(writer: &Writer, payloads: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    for payload in payloads {
        publish(writer, payload.as_ref());
    }
}

pub fn publish_info(writer: &Writer, payload: &[u8], info: &FrameInfo, metas: &[u8]) -> Result<FrameId, PublishError> {
    let mut slot = writer.copy_slot(payload.len())?.expect("a slot for a copy is always free");
    slot.as_mut()[..payload.len()].copy_from_slice(payload);
    writer.publish_copy(slot, payload.len(), info, metas, &Canceller::new().unwrap())
}

/// Says so much that a reader that does not read has no room for more.
pub fn fill_line(writer: &Writer) {
    let dropped = writer.stats().events_dropped;
    while writer.stats().events_dropped == dropped {
        writer.send_event(1, &[0; 1000]);
    }
}

pub fn next_item(reader: &mut Reader) -> Item {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(item) = reader.next().unwrap() {
            return item;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(reader.wait(Some(left)).unwrap() != Woken::TimedOut, "nothing came");
    }
}

pub fn next_frame(reader: &mut Reader) -> Frame {
    loop {
        match next_item(reader) {
            Item::Frame(frame) => return frame,
            Item::State { .. } | Item::Attached(_) => {}
            other => panic!("instead of a frame: {other:?}"),
        }
    }
}

pub fn frames(reader: &mut Reader, count: usize) -> Vec<Frame> {
    (0..count).map(|_| next_frame(reader)).collect()
}

pub fn wait_until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !fact() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

//! What every test needs: a channel, pipelines that end with the test, and ways to wait for facts.

use std::{
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};
use gst_app::{AppSink, AppSrc};

/// For whatever has to happen, on however loaded a machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Starts GStreamer with the elements. From then on a complaint of GLib about wrong use is a failure.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstvalkkashm::plugin_register_static().expect("the plug-in registers");
        glib::log_set_always_fatal(glib::LogLevels::LEVEL_CRITICAL | glib::LogLevels::LEVEL_ERROR);
    });
}

/// A channel in a folder of its own.
pub struct Channel(tempfile::TempDir);

impl Channel {
    pub fn new() -> Self {
        init();
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// To be put behind the name of an element.
    pub fn at(&self) -> String {
        format!("socket-path={}", self.socket().display())
    }

    pub fn socket(&self) -> std::path::PathBuf {
        self.0.path().join("c")
    }

    /// A pipeline that ends in this channel; the sink is called `sink`.
    pub fn writer(&self, upstream: &str, properties: &str) -> Play {
        Play::launch(&format!("{upstream} ! valkkashmsink name=sink sync=false {} {properties}", self.at()))
    }

    /// A pipeline whose buffers come from an appsrc called `in`.
    pub fn fed_writer(&self, caps: &str, properties: &str) -> Play {
        let play = self.writer("appsrc name=in format=time", properties);
        if !caps.is_empty() {
            play.input().set_caps(Some(&caps.parse().expect("valid caps")));
        }
        play
    }

    /// A pipeline that begins in this channel; the source is called `src`.
    pub fn reader(&self, properties: &str, downstream: &str) -> Play {
        Play::launch(&format!("valkkashmsrc name=src {} {properties} ! {downstream}", self.at()))
    }

    /// A reader whose samples are pulled from an appsink called `out`.
    pub fn sampling_reader(&self, properties: &str) -> Play {
        self.reader(properties, "appsink name=out sync=false max-buffers=1000")
    }
}

/// A sink without anything upstream: the test is upstream.
pub struct Bare {
    pub play: Play,
    pub pad: gst::Pad,
}

impl Bare {
    /// Pushes buffers and events by hand into a sink that plays.
    pub fn new(channel: &Channel, properties: &str) -> Self {
        let play =
            Play::prepare(&format!("valkkashmsink name=sink sync=false async=false {} {properties}", channel.at()));
        let pad = gst::Pad::builder(gst::PadDirection::Src).name("upstream").build();
        let sink = play.element("sink").static_pad("sink").expect("a sink has a pad");
        pad.set_active(true).expect("can be activated");
        pad.link(&sink).expect("fits");
        play.arrive(gst::State::Playing);
        Self { play, pad }
    }

    /// Begins a stream.
    pub fn begin(&self, id: &str, caps: &str, segment: &gst::FormattedSegment<gst::ClockTime>) {
        self.event(gst::event::StreamStart::new(id));
        self.event(gst::event::Caps::new(&caps.parse().expect("valid caps")));
        self.event(gst::event::Segment::new(segment));
    }

    pub fn event(&self, event: gst::Event) {
        assert!(self.pad.push_event(event), "the sink takes events");
    }

    pub fn push(&self, buffer: gst::Buffer) {
        self.pad.push(buffer).expect("the sink takes buffers");
    }
}

/// A pipeline that is stopped at the end of the test.
pub struct Play(pub gst::Pipeline);

impl Drop for Play {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl Play {
    /// Plays `description`.
    pub fn launch(description: &str) -> Self {
        let play = Self::prepare(description);
        play.play();
        play
    }

    /// Not playing yet.
    pub fn prepare(description: &str) -> Self {
        init();
        let element = gst::parse::launch(description).expect(description);
        Self(element.downcast().unwrap_or_else(|element| {
            let pipeline = gst::Pipeline::new();
            pipeline.add(&element).expect("an element that is alone");
            pipeline
        }))
    }

    pub fn play(&self) {
        self.go(gst::State::Playing);
    }

    /// Begins the change of state.
    pub fn go(&self, state: gst::State) {
        self.0.set_state(state).expect("the state can be changed");
    }

    pub fn element(&self, name: &str) -> gst::Element {
        self.0.by_name(name).unwrap_or_else(|| panic!("no element {name}"))
    }

    pub fn input(&self) -> AppSrc {
        self.element("in").downcast().expect("an appsrc")
    }

    pub fn output(&self) -> AppSink {
        self.element("out").downcast().expect("an appsink")
    }

    pub fn push(&self, buffer: gst::Buffer) {
        self.input().push_buffer(buffer).expect("the pipeline takes buffers");
    }

    /// The next sample of `out`.
    pub fn pull(&self) -> gst::Sample {
        let timeout = gst::ClockTime::from_nseconds(DEADLINE.as_nanos() as u64);
        let sample = self.output().try_pull_sample(timeout);
        sample.unwrap_or_else(|| panic!("no sample in {DEADLINE:?}; {:?}", self.complaints()))
    }

    /// Bytes of the next sample.
    pub fn pull_bytes(&self) -> Vec<u8> {
        bytes(self.pull().buffer().expect("a sample has a buffer"))
    }

    /// Errors and warnings on the bus, for the text of a failed test.
    fn complaints(&self) -> Vec<String> {
        let bus = self.0.bus().expect("a pipeline has a bus");
        let kinds = [gst::MessageType::Error, gst::MessageType::Warning];
        std::iter::from_fn(|| bus.pop_filtered(&kinds)).map(|message| format!("{message:?}")).collect()
    }

    /// Waits for a message in which `find` finds something. An error that is not looked for fails the test.
    pub fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&gst::Message) -> Option<T>) -> T {
        let bus = self.0.bus().expect("a pipeline has a bus");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = gst::ClockTime::from_nseconds(left.as_nanos() as u64);
            let message = bus.timed_pop(timeout).unwrap_or_else(|| panic!("{what}: not in {DEADLINE:?}"));
            if let Some(found) = find(&message) {
                return found;
            }
            if let gst::MessageView::Error(error) = message.view() {
                panic!("{what}: instead of it {} ({:?})", error.error(), error.debug());
            }
        }
    }

    pub fn wait_for_eos(&self) {
        self.wait_for("end of stream", |message| matches!(message.view(), gst::MessageView::Eos(_)).then_some(()));
    }

    /// Text and domain of the first error.
    pub fn wait_for_error(&self) -> glib::Error {
        self.wait_for("an error", |message| match message.view() {
            gst::MessageView::Error(error) => Some(error.error()),
            _ => None,
        })
    }

    /// The first element message of this name.
    pub fn wait_for_element_message(&self, name: &str) -> gst::Structure {
        self.wait_for(name, |message| {
            message.structure().filter(|structure| structure.name() == name).map(|structure| structure.to_owned())
        })
    }

    /// Goes there, and waits until it has arrived.
    pub fn arrive(&self, state: gst::State) {
        self.go(state);
        let (result, ..) = self.0.state(gst::ClockTime::from_nseconds(DEADLINE.as_nanos() as u64));
        result.unwrap_or_else(|_| panic!("{state:?} is not reached: {:?}", self.complaints()));
    }

    /// A counter of `sink` or `src`.
    pub fn stat(&self, element: &str, field: &str) -> u64 {
        let stats = self.stats(element);
        let value = stats.value(field).unwrap_or_else(|_| panic!("no {field} in {stats}"));
        value.get::<u64>().or_else(|_| value.get::<u32>().map(u64::from)).expect("a number")
    }

    pub fn stats(&self, element: &str) -> gst::Structure {
        self.element(element).property("stats")
    }

    /// What `sink` says of its readers.
    pub fn readers(&self) -> Vec<gst::Structure> {
        let readers = self.stats("sink").get::<gst::Array>("readers").expect("always there");
        readers.iter().map(|reader| reader.get().expect("a structure")).collect()
    }

    /// Waits until `sink` has so many readers.
    pub fn wait_for_readers(&self, number: u32) {
        until(&format!("{number} readers"), || self.element("sink").property::<u32>("readers") == number);
    }
}

/// Waits until `fact` holds.
pub fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !fact() {
        assert!(Instant::now() < deadline, "{what}: not in {DEADLINE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// All bytes of a buffer.
pub fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    buffer.map_readable().expect("maps").to_vec()
}

/// A buffer of system memory with a time.
pub fn buffer(bytes: impl Into<Vec<u8>>, pts_ms: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(bytes.into());
    buffer.get_mut().expect("new").set_pts(gst::ClockTime::from_mseconds(pts_ms));
    buffer
}

/// A gigabyte and a bit, of one page again and again.
pub fn larger_than_any_slot() -> gst::Buffer {
    let page = gst::Memory::from_slice(vec![0u8; 1 << 26]);
    let mut large = gst::Buffer::new();
    for _ in 0..16 {
        large.get_mut().expect("new").append_memory(page.clone());
    }
    large.get_mut().expect("new").append_memory(gst::Memory::from_slice([0]));
    large
}

/// For every reader, always.
pub fn assert_accounts(readers: &[gst::Structure]) {
    for reader in readers {
        let number = |field| reader.get::<u64>(field).expect("a counter");
        assert_eq!(number("published"), number("taken") + number("dropped") + number("waiting"), "{reader}");
    }
}

use super::CAT;
use super::arrivals::{Arrival, Arrivals};
use super::figures;
use super::pads::{self, Pads};
use super::settings::*;
use crate::intake::Intake;
use crate::server::{self, Address, Place};
use crate::stream::{Notice, Stream, lock};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A keyframe costs bandwidth for everybody: viewers that come or fall behind together share one.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);

/// Viewers that read get their last fragments when the element stops; those that do not are not waited for.
const FAREWELL: Duration = Duration::from_millis(500);

#[derive(Default)]
enum State {
    #[default]
    Stopped,
    Started(Started),
}

struct Started {
    stream: Arc<Stream>,
    place: Place,
}

#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::Fmp4WsSink)]
pub struct Fmp4WsSink {
    /// Name of the stream, by which viewers ask for it: `/api/ws?src=NAME`
    #[property(name = "stream-name", type = String, get = Self::stream_name, set = Self::set_stream_name,
        blurb = "Name by which viewers ask for the stream (/api/ws?src=NAME); unique among the sinks that share a listener",
        default = Some(DEFAULT_STREAM_NAME), mutable_ready)]
    #[property(name = "host", type = String, get = |sink: &Self| sink.settings().host.clone(),
        set = |sink: &Self, host: String| sink.settings().host = host,
        blurb = "Address or name to listen on; 0.0.0.0 for all networks",
        default = Some(DEFAULT_HOST), mutable_ready)]
    #[property(name = "port", type = u32, get = Self::port, set = |sink: &Self, port: u32| sink.settings().port = port,
        blurb = "TCP port to listen on; 0 picks a free one, and the property then tells which (and notifies)",
        minimum = 0, maximum = 65535, default = DEFAULT_PORT, mutable_ready)]
    #[property(name = "socket-path", type = Option<String>, get = |sink: &Self| sink.settings().socket_path.clone(),
        set = Self::set_socket_path,
        blurb = "Listen on this Unix socket instead of host and port, for instance behind a proxy",
        mutable_ready)]
    #[property(name = "tls-certificate", type = Option<String>, get = |sink: &Self| sink.settings().tls_certificate.clone(),
        set = |sink: &Self, path: Option<String>| sink.settings().tls_certificate = filled(path),
        blurb = "PEM file with a certificate (and those up to a root): serve https and wss with it; a renewed one counts at once",
        mutable_ready)]
    #[property(name = "tls-key", type = Option<String>, get = |sink: &Self| sink.settings().tls_key.clone(),
        set = |sink: &Self, path: Option<String>| sink.settings().tls_key = filled(path),
        blurb = "PEM file with the certificate's private key; by default it is in tls-certificate's file",
        mutable_ready)]
    #[property(name = "token", type = Option<String>,
        set = |sink: &Self, token: Option<String>| sink.settings().token = filled(token),
        blurb = "Secret that every request must have, as 'Authorization: Bearer TOKEN' or ?token=TOKEN; none by default",
        mutable_ready)]
    #[property(name = "allowed-origins", type = Option<String>, get = |sink: &Self| sink.settings().allowed_origins.clone(),
        set = |sink: &Self, origins: Option<String>| sink.settings().allowed_origins = filled(origins),
        blurb = "Pages of these sites may connect, besides the sink's own: https://HOST[:PORT],... or * for all",
        mutable_ready)]
    #[property(name = "max-viewers", type = u32, get = |sink: &Self| sink.settings().max_viewers,
        set = |sink: &Self, max: u32| sink.settings().max_viewers = max,
        blurb = "Viewers at the same time, further ones are refused; 0 for any number",
        default = DEFAULT_MAX_VIEWERS, mutable_ready)]
    #[property(name = "max-queue-bytes", type = u32, get = |sink: &Self| sink.settings().max_queue_bytes,
        set = |sink: &Self, max: u32| sink.settings().max_queue_bytes = max,
        blurb = "Bytes that may wait for one viewer; with more it skips to the next keyframe",
        minimum = 1, default = DEFAULT_MAX_QUEUE_BYTES, mutable_ready)]
    #[property(name = "max-queue-time", type = u64, get = |sink: &Self| sink.settings().max_queue_time,
        set = |sink: &Self, max: u64| sink.settings().max_queue_time = max,
        blurb = "Nanoseconds that a fragment may wait for one viewer; then it skips to the next keyframe; 0 for any",
        default = DEFAULT_MAX_QUEUE_TIME, mutable_ready)]
    settings: Mutex<Settings>,
    #[property(name = "viewers", type = u32, get = Self::viewers,
        blurb = "Viewers at this moment (notifies)")]
    state: Mutex<State>,
    pads: Pads,
    keyframe_asked: Mutex<Option<Instant>>,
    arrivals: Arrivals,
}

#[glib::object_subclass]
impl ObjectSubclass for Fmp4WsSink {
    const NAME: &'static str = "GstFmp4WsSink";
    type Type = super::Fmp4WsSink;
    type ParentType = gst::Bin;
}

impl ObjectImpl for Fmp4WsSink {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            // The derive knows no structures.
            let stats = glib::ParamSpecBoxed::builder::<gst::Structure>("stats").read_only().blurb(
                "Figures: mime, codecs, width, height, timescale, frames-per-second, bits-per-second, fragments, keyframes, \
                 frames, bytes, inits, broken-frames, unbounded-reorder (H.264 without bitstream_restriction), eos; over all viewers joined, refused, sent-fragments, sent-bytes, dropped-frames, \
                 dropped-bytes, keyframe-requests; and for each of the viewers id, kind, ext, peer, seconds, paused, \
                 sent-fragments, sent-bytes, queue-bytes, queue-seconds, dropped-frames, dropped-bytes, \
                 reported-latency, reported-buffered, reported-dropped",
            );
            Fmp4WsSink::derived_properties().iter().cloned().chain([stats.build()]).collect()
        });
        &PROPERTIES
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<[glib::subclass::Signal; 2]> = LazyLock::new(|| {
            // With the viewer as in `stats`, in the order of events, from a thread of their own.
            ["viewer-added", "viewer-removed"].map(|name| {
                glib::subclass::Signal::builder(name).run_last().param_types([gst::Structure::static_type()]).build()
            })
        });
        SIGNALS.as_ref()
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.derived_set_property(id, value, pspec);
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" { self.stats().to_value() } else { self.derived_property(id, pspec) }
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.pads.add_main(self.obj().upcast_ref());
    }
}

impl GstObjectImpl for Fmp4WsSink {}

impl ElementImpl for Fmp4WsSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Fragmented MP4 over WebSocket sink",
                "Sink/Network",
                "Serves encoded video (with sound on the pad audio), or fragmented MP4 of any muxer, to any number of \
                 browsers over WebSocket, in go2rtc's protocol, with a page that plays it",
                "Valkka contributors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        pads::templates()
    }

    fn request_new_pad(
        &self,
        _template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        self.pads.request_sound(self.obj().upcast_ref(), self.stream())
    }

    fn release_pad(&self, pad: &gst::Pad) {
        self.pads.release(self.obj().upcast_ref(), pad);
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady {
            self.open().map_err(|error| {
                gst::element_imp_error!(self, gst::ResourceError::OpenReadWrite, ("{error}"));
                gst::StateChangeError
            })?;
        }
        let result = self.parent_change_state(transition);
        let undone = transition == gst::StateChange::NullToReady && result.is_err();
        if transition == gst::StateChange::ReadyToNull || undone {
            self.close();
        }
        result
    }
}

impl BinImpl for Fmp4WsSink {}

impl Fmp4WsSink {
    fn open(&self) -> Result<(), Error> {
        let (wish, name, limits) = {
            let settings = self.settings();
            (settings.wish()?, settings.stream_name.clone(), settings.limits())
        };
        let sink = self.downgrade();
        let stream = Stream::new(&name, limits, move |notice| {
            if let Some(sink) = sink.upgrade() {
                sink.notice(notice);
            }
        });
        let place = server::open(&wish, stream.clone())?;
        gst::info!(CAT, imp = self, "stream {name} is served at {}", place.address());
        self.pads.set_stream(Some(&stream));
        *lock(&self.state) = State::Started(Started { stream, place });
        let wished = self.settings().port;
        if self.port() != wished {
            self.obj().notify("port");
        }
        Ok(())
    }

    fn close(&self) {
        self.pads.set_stream(None);
        let state = std::mem::take(&mut *lock(&self.state));
        if let State::Started(Started { stream, place }) = state {
            stream.close(FAREWELL);
            drop(place);
            gst::info!(CAT, imp = self, "stream {} is not served any more", stream.name());
        }
    }

    /// Called from the server's thread and others. What applications and other elements do with it is not the server's to
    /// wait for.
    fn notice(&self, notice: Notice) {
        let arrival = match notice {
            Notice::Added(viewer) => Arrival::Added(viewer),
            Notice::Removed(viewer) => Arrival::Removed(viewer),
            Notice::KeyframeWanted => return self.want_keyframe(),
            Notice::Warning(words) => {
                self.obj().call_async(move |sink| {
                    gst::element_warning!(sink, gst::ResourceError::Settings, ("{words}"));
                });
                return;
            }
        };
        if self.arrivals.push(arrival) {
            self.obj().call_async(|sink| sink.imp().announce());
        }
    }

    fn announce(&self) {
        let sink = self.obj();
        while let Some(arrival) = self.arrivals.take() {
            let (signal, viewer) = match arrival {
                Arrival::Added(viewer) => ("viewer-added", viewer),
                Arrival::Removed(viewer) => ("viewer-removed", viewer),
            };
            gst::debug!(CAT, imp = self, "{signal}: {} from {}", viewer.id, viewer.peer);
            sink.notify("viewers");
            sink.emit_by_name::<()>(signal, &[&figures::viewer(&viewer)]);
        }
    }

    fn want_keyframe(&self) {
        let mut asked = lock(&self.keyframe_asked);
        if asked.is_some_and(|asked| asked.elapsed() < KEYFRAME_INTERVAL) {
            return;
        }
        *asked = Some(Instant::now());
        drop(asked);
        if let Some(stream) = self.stream() {
            stream.count_keyframe_request();
        }
        if let Some(intake) = self.pads.main() {
            intake.call_async(Intake::request_keyframe);
        }
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn stream(&self) -> Option<Arc<Stream>> {
        match &*lock(&self.state) {
            State::Started(started) => Some(started.stream.clone()),
            State::Stopped => None,
        }
    }

    fn stream_name(&self) -> String {
        self.settings().stream_name.clone()
    }

    fn set_stream_name(&self, name: Option<String>) {
        self.settings().stream_name = filled(name).unwrap_or(DEFAULT_STREAM_NAME.into());
    }

    fn set_socket_path(&self, path: Option<String>) {
        self.settings().socket_path = filled(path);
    }

    fn port(&self) -> u32 {
        match &*lock(&self.state) {
            State::Started(Started { place, .. }) => match place.address() {
                Address::Tcp(address) => address.port().into(),
                Address::Unix(_) => self.settings().port,
            },
            State::Stopped => self.settings().port,
        }
    }

    fn viewers(&self) -> u32 {
        self.stream().map_or(0, |stream| u32::try_from(stream.viewers()).unwrap_or(u32::MAX))
    }

    fn stats(&self) -> gst::Structure {
        figures::stats(self.stream().map(|stream| stream.report()))
    }
}

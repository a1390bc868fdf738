//! The choices that users make on `valkkashmsrc`, as GObject enums, so that `gst-inspect-1.0` lists and explains them.

use gst::glib;

/// What happens when this reader is slower than the writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstValkkaShmPolicy")]
pub enum Policy {
    /// Only the newest frame waits.
    #[default]
    #[enum_value(name = "Latest: always the newest frame, older ones are dropped", nick = "latest")]
    Latest,
    /// Up to `queue-size` frames wait.
    #[enum_value(name = "Queue: queue-size frames wait, then the oldest is dropped", nick = "queue")]
    Queue,
    /// The writer waits.
    #[enum_value(name = "Lossless: the writer waits, if its lossless-timeout allows that", nick = "lossless")]
    Lossless,
}

impl From<Policy> for frame_ring::Policy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Latest => Self::Latest,
            Policy::Queue => Self::Queue,
            Policy::Lossless => Self::Lossless,
        }
    }
}

/// Which frame a reader begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstValkkaShmInitialFrame")]
pub enum InitialFrame {
    /// The one that the channel already holds.
    #[default]
    #[enum_value(name = "Newest: the frame that the channel holds, at once", nick = "newest")]
    Newest,
    /// The next one to be published.
    #[enum_value(name = "Next: the first frame that is published from now on", nick = "next")]
    Next,
}

impl From<InitialFrame> for frame_ring::InitialFrame {
    fn from(initial: InitialFrame) -> Self {
        match initial {
            InitialFrame::Newest => Self::Newest,
            InitialFrame::Next => Self::Next,
        }
    }
}

/// What `valkkashmsrc` does when its writer goes away without an end of stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstValkkaShmOnWriterLost")]
pub enum OnWriterLost {
    /// Go on with the next writer.
    #[default]
    #[enum_value(name = "Wait: go on as soon as there is a writer again", nick = "wait")]
    Wait,
    /// End the stream.
    #[enum_value(name = "EOS: end the stream", nick = "eos")]
    Eos,
    /// Fail.
    #[enum_value(name = "Error: post an error", nick = "error")]
    Error,
}

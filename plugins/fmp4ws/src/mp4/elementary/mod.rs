//! Encoded frames as parsers and encoders push them: what they say about themselves, and how they stand in MP4.
//!
//! For [`super::Muxer`]. Each codec knows its parameter sets, tells keyframes from others, and writes the box by which a
//! decoder is set up. Sizes and positions in frames are claims; frames that cannot be read are an error of their own, and the
//! stream goes on.

mod aac;
mod av1;
mod bits;
mod h264;
mod h265;
mod nal;
mod opus;

pub use aac::Aac;
pub use av1::Av1;
pub use h264::{H264, unbounded as h264_unbounded};
pub use h265::H265;
pub use opus::Opus;

/// Why a frame, or what was said about it beforehand, cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `codec_data` in the caps is not what it must be.
    #[error("codec_data of the caps is not a valid {0}")]
    Configuration(&'static str),
    /// A length inside of the frame points past its end.
    #[error("the frame is cut short, or its stream-format is not the one that the caps say")]
    CutShort,
}

/// What is known of a frame after it was written as a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// A decoder can begin here.
    pub keyframe: bool,
    /// There is no picture in it, only things about pictures.
    pub empty: bool,
}

/// What the init segment says of a video track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the sample entry.
    pub format: [u8; 4],
    /// The box that sets up a decoder: avcC, hvcC, av1C.
    pub configuration: Vec<u8>,
    /// Pixels.
    pub width: u16,
    /// See `width`.
    pub height: u16,
    /// How many pictures may come before one that is shown earlier, as far as the stream says.
    pub reorder: Option<u32>,
}

/// A video stream of frames.
#[derive(Debug)]
pub enum Video {
    /// avc1
    H264(H264),
    /// hvc1
    H265(H265),
    /// av01
    Av1(Av1),
}

impl Video {
    /// Appends the frame as a sample. `keyframe_hint`: what the pipeline thinks of it.
    pub fn sample(&mut self, frame: &[u8], keyframe_hint: bool, out: &mut Vec<u8>) -> Result<Picture, Error> {
        match self {
            Self::H264(stream) => stream.sample(frame, keyframe_hint, out),
            Self::H265(stream) => stream.sample(frame, out),
            Self::Av1(stream) => stream.sample(frame, out),
        }
    }

    /// What the init segment says, as soon as it is known; what it was before may change with each frame.
    pub fn entry(&self) -> Option<Entry> {
        match self {
            Self::H264(stream) => stream.entry(),
            Self::H265(stream) => stream.entry(),
            Self::Av1(stream) => stream.entry(),
        }
    }
}

/// An audio stream of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audio {
    /// mp4a
    Aac(Aac),
    /// Opus
    Opus(Opus),
}

impl Audio {
    /// Units of its times in a second.
    pub fn timescale(&self) -> u32 {
        match self {
            Self::Aac(stream) => stream.rate,
            Self::Opus(_) => opus::RATE,
        }
    }

    /// A frame in which nothing is heard, as long as this one; `None` where there is no simple one.
    pub fn silence(&self, like: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Aac(stream) => stream.silence().map(<[u8]>::to_vec),
            Self::Opus(_) => opus::silence(like),
        }
    }

    /// How long a frame lasts, in the timescale.
    pub fn duration(&self, frame: &[u8]) -> u32 {
        match self {
            Self::Aac(stream) => stream.samples,
            Self::Opus(_) => opus::duration(frame),
        }
    }
}

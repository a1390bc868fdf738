//! Fragmented MP4 as it arrives: bytes in, init segments and fragments out.
//!
//! For `intake`, which feeds whatever a muxer pushes, in pieces of any size ([`Parser`]), or encoded frames, of which
//! fragments are made here ([`Muxer`]). Everything here is plain data and
//! needs no pipeline; buffer flags and caps are not looked at, because muxers disagree about them and the boxes do not
//! lie. What a viewer gets of it, and when, is `stream`'s business.
//!
//! ```text
//!   ftyp moov │ moof mdat │ moof mdat │ ...        (ISO/IEC 14496-12)
//!   └ Init ─┘   └Fragment┘  └Fragment┘
//! ```
//!
//! Other boxes at the top (styp, sidx, prft, mfra, free ...) mean nothing to Media Source Extensions and are left out,
//! unless they stand between a moof and its mdat, where leaving them out would move the samples.
//!
//! A length field is a claim: nothing is allocated for it, and past the [`Limits`] it is an error.

mod boxes;
mod codec;
mod elementary;
mod fragment;
pub mod fuzz;
mod init;
mod muxer;
mod parser;
mod repair;
mod retime;
mod write;

#[cfg(test)]
pub(crate) mod samples;

pub use codec::{Family, families, family};
pub use elementary::{Aac, Audio, Av1, Error as FrameError, H264, H265, Opus, Video};
pub use fragment::{Fragment, Run};
pub use init::{Init, Kind, Track};
pub use muxer::{Frame, Muxer};
pub use parser::{Limits, Output, Parser};
pub use retime::OwnTimes;

use std::fmt;

/// Four characters that name a box or a codec.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", byte.escape_ascii()))
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why bytes are not a stream that a browser could play.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a box at all, or a box that is too small for its own header.
    #[error("at byte {position} a box '{kind}' says that it is {size} bytes long: this is not MP4, or bytes were lost")]
    Garbage {
        /// Offset in the stream.
        position: u64,
        /// What stands where the name of a box should be.
        kind: FourCc,
        /// What stands where its size should be.
        size: u64,
    },
    /// A box claims more than any sensible stream needs.
    #[error("at byte {position} a box '{kind}' says that it is {size} bytes long; the limit is {limit}")]
    TooLarge {
        /// Offset in the stream.
        position: u64,
        /// The box.
        kind: FourCc,
        /// Its size as it says.
        size: u64,
        /// What is accepted.
        limit: u64,
    },
    /// A fragment claims more than any sensible stream needs, though each of its boxes is allowed.
    #[error("at byte {position} a box '{kind}' makes its fragment longer than {limit} bytes, which is the limit")]
    TooMuch {
        /// Offset in the stream.
        position: u64,
        /// The box that is too much.
        kind: FourCc,
        /// What is accepted.
        limit: u64,
    },
    /// A box of size 0, "to the end of the file": a live stream has none.
    #[error("the box '{0}' has no size (it ends with the file): a live stream needs fragments of known size")]
    Endless(FourCc),
    /// Progressive MP4: the samples come in one piece, or the index comes at the end.
    #[error("this MP4 is not fragmented: give mp4mux fragment-duration (in ms), or use isofmp4mux or cmafmux")]
    NotFragmented,
    /// A fragment before any init segment.
    #[error("a fragment came before the init segment (moov): the stream was joined in its middle")]
    NoInit,
    /// A box does not hold what it must.
    #[error("the box '{kind}' cannot be read: {reason}")]
    Malformed {
        /// The box.
        kind: FourCc,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No track in the moov that could be played.
    #[error("the moov has no video or audio track")]
    NoTracks,
    /// A fragment of a track that the moov does not know.
    #[error("a fragment belongs to track {0}, which the moov does not have")]
    UnknownTrack(u32),
    /// An AV1 track without a configuration, and no frame tells it.
    #[error(
        "the AV1 track has an empty av1C, and no keyframe with a sequence header came: put av1parse in front of fmp4wssink and leave the muxer out"
    )]
    Av1Configuration,
    /// Sample positions that a browser would misunderstand and that cannot be rewritten in place.
    #[error("a fragment gives its sample positions from the start of the file: set default-base-is-moof at the muxer")]
    Offsets,
}

impl Error {
    pub(crate) fn malformed(kind: &[u8; 4], reason: &'static str) -> Self {
        Self::Malformed { kind: FourCc(*kind), reason }
    }
}

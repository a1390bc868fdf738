//! The init segment: ftyp and moov, and what the moov says of each track.

use super::elementary::h264_unbounded;
use super::{Error, boxes, codec};
use bytes::Bytes;
use mp4_atom::{Atom, Elst, Trex};

/// What every viewer gets first: the bytes as the muxer made them, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// ftyp and moov.
    pub data: Bytes,
    /// Video and audio tracks, in the order of the moov.
    pub tracks: Vec<Track>,
}

/// What a track shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One track of the moov.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Number by which fragments name it.
    pub id: u32,
    /// Pictures or sound.
    pub kind: Kind,
    /// Units of its times in a second, never 0.
    pub timescale: u32,
    /// As MSE wants it: `avc1.64001F`.
    pub codec: String,
    /// Pixels of the coded picture; 0 for sound.
    pub width: u16,
    /// See `width`.
    pub height: u16,
    /// Media time that the edit list shows at time 0, in `timescale`. Muxers use it to take out what B-frames add.
    pub edit: u64,
    /// H.264 whose parameter sets leave open how far pictures are reordered.
    pub unbounded_reorder: bool,
    /// trex: what a fragment does not say.
    pub(super) defaults: Defaults,
}

/// What holds for samples of which a fragment says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub duration: u32,
    pub flags: u32,
}

impl Init {
    /// Reads what `data` (ftyp, if any, and moov) says. A child box that cannot be read costs what it would have said,
    /// never the moov.
    pub(super) fn read(data: Bytes) -> Result<Self, Error> {
        let moov = boxes::child(&data, b"moov").ok_or(Error::malformed(b"moov", "it is not there"))?.body;
        let mvex = boxes::child(moov, b"mvex").ok_or(Error::NotFragmented)?.body;
        let trexes: Vec<Trex> = boxes::children(mvex)
            .filter(|child| &child.kind == b"trex")
            .filter_map(|mut child| Trex::decode_body(&mut child.body).ok())
            .collect();
        let (mut tracks, mut unreadable) = (Vec::new(), None);
        for trak in boxes::children(moov).filter(|child| &child.kind == b"trak") {
            match Track::read(trak.body, &trexes) {
                Ok(track) => tracks.extend(track),
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
        }
        if tracks.is_empty() { Err(unreadable.unwrap_or(Error::NoTracks)) } else { Ok(Self { data, tracks }) }
    }

    /// The track by which a viewer starts, is timed and is counted: the first video track, or else the first one.
    pub fn main(&self) -> &Track {
        let video = self.tracks.iter().find(|track| track.kind == Kind::Video);
        video.unwrap_or_else(|| {
            self.tracks.first().expect("an init segment has a track, or it would not have been read")
        })
    }

    /// The track of that number.
    pub fn track(&self, id: u32) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// `avc1.64001F,mp4a.40.2`
    pub fn codecs(&self) -> String {
        let codecs: Vec<_> = self.tracks.iter().map(|track| track.codec.as_str()).collect();
        codecs.join(",")
    }

    /// `video/mp4; codecs="avc1.64001F,mp4a.40.2"`
    pub fn mime(&self) -> String {
        let kind = match self.main().kind {
            Kind::Video => "video",
            Kind::Audio => "audio",
        };
        format!("{kind}/mp4; codecs=\"{}\"", self.codecs())
    }
}

impl Track {
    /// `None` for a track of another kind (text, metadata): its fragments are passed on, and nothing depends on it.
    fn read(trak: &[u8], trexes: &[Trex]) -> Result<Option<Self>, Error> {
        let kind = match boxes::descend(trak, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12)) {
            Some(b"vide") => Kind::Video,
            Some(b"soun") => Kind::Audio,
            _ => return Ok(None),
        };
        let id = boxes::descend(trak, &[b"tkhd"])
            .and_then(|tkhd| boxes::be32(tkhd, after_dates(tkhd)))
            .ok_or(Error::malformed(b"tkhd", "it does not tell the track's number"))?;
        let timescale = boxes::descend(trak, &[b"mdia", b"mdhd"])
            .and_then(|mdhd| boxes::be32(mdhd, after_dates(mdhd)))
            .filter(|&timescale| timescale > 0)
            .ok_or(Error::malformed(b"mdhd", "it does not tell the track's timescale"))?;
        let entry = boxes::descend(trak, &[b"mdia", b"minf", b"stbl", b"stsd"])
            .and_then(|stsd| boxes::children(stsd.get(8..)?).next())
            .ok_or(Error::malformed(b"stsd", "it has no sample entry"))?;
        let (fixed, width, height) = match kind {
            Kind::Video => {
                let size = |at| boxes::be16(entry.body, at).unwrap_or(0);
                (codec::VISUAL_ENTRY, size(24), size(26))
            }
            Kind::Audio => (codec::AUDIO_ENTRY, 0, 0),
        };
        let configuration = entry.body.get(fixed..).unwrap_or(&[]);
        let codec = codec::codec_string(entry.kind, configuration);
        let unbounded_reorder = boxes::child(configuration, b"avcC").is_some_and(|avcc| h264_unbounded(avcc.body));
        let defaults = trexes.iter().find(|trex| trex.track_id == id).map_or(Defaults::default(), |trex| Defaults {
            duration: trex.default_sample_duration,
            flags: trex.default_sample_flags,
        });
        Ok(Some(Self { id, kind, timescale, codec, width, height, edit: edit(trak), unbounded_reorder, defaults }))
    }
}

/// Where the field after the two dates stands in tkhd and mdhd: the dates take 64 bits each in version 1.
fn after_dates(body: &[u8]) -> usize {
    if body.first() == Some(&1) { 20 } else { 12 }
}

/// The media time of the first edit, which is the one that browsers look at; an empty edit counts as none.
fn edit(trak: &[u8]) -> u64 {
    boxes::descend(trak, &[b"edts", b"elst"])
        .and_then(|mut elst| Elst::decode_body(&mut elst).ok())
        .and_then(|elst| elst.entries.first()?.media_time)
        .unwrap_or(0)
}

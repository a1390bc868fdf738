//! A fragment: one moof with its mdat, what it holds, and the repairs that browsers need.

use super::init::{Defaults, Init};
use super::{Error, boxes};
use bytes::Bytes;
use std::ops::Range;

/// tfhd: the sample positions count from a file position that stands in the box (ISO/IEC 14496-12, 8.8.7).
const BASE_DATA_OFFSET: u32 = 0x00_0001;
const SAMPLE_DESCRIPTION_INDEX: u32 = 0x00_0002;
const DEFAULT_SAMPLE_DURATION: u32 = 0x00_0008;
const DEFAULT_SAMPLE_SIZE: u32 = 0x00_0010;
const DEFAULT_SAMPLE_FLAGS: u32 = 0x00_0020;
/// tfhd: they count from the moof, as the byte stream format of MSE demands.
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
/// Sample flags: another sample is needed to decode this one (8.8.3.1).
const SAMPLE_IS_NON_SYNC: u32 = 0x0001_0000;

/// One binary message for a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// moof, mdat, and whatever stood between them; with default-base-is-moof set.
    pub data: Bytes,
    /// One entry for each traf.
    pub runs: Vec<Run>,
    /// The decoder of the main track can start here.
    pub keyframe: bool,
    /// Samples of the main track.
    pub frames: u32,
}

/// The samples of one track in a fragment. Times are in the track's timescale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Number of the track.
    pub track: u32,
    /// Decode time of the first sample.
    pub tfdt: u64,
    /// Sum of the samples' durations.
    pub duration: u64,
    /// When the first sample is shown: decode time + composition offset − edit.
    pub shown: i64,
    /// How many.
    pub samples: u32,
    /// The first one can be decoded without others.
    pub sync: bool,
    /// Where its first sample stands, counted from the moof; `None` where that is not told.
    pub(super) data_at: Option<u32>,
    /// Where the decode time stands in the fragment's data: 4 or 8 bytes.
    pub(super) tfdt_at: Range<usize>,
}

impl Fragment {
    /// Reads and repairs `data`, whose first `moof_len` bytes are a moof that stood at byte `position` of the stream.
    pub(super) fn read(mut data: Vec<u8>, moof_len: usize, position: u64, init: &Init) -> Result<Self, Error> {
        let moof = data.get_mut(..moof_len).ok_or(Error::malformed(b"moof", "it is cut short"))?;
        let runs = read_moof(moof, position, init)?;
        let main = init.main().id;
        let of_main = || runs.iter().filter(|run| run.track == main && run.samples > 0);
        let keyframe = of_main().next().is_some_and(|run| run.sync);
        let frames = of_main().map(|run| run.samples).fold(0, u32::saturating_add);
        Ok(Self { data: data.into(), runs, keyframe, frames })
    }

    /// The run whose first sample comes first of all: muxers interleave tracks as they like.
    pub fn first_run(&self) -> Option<&Run> {
        let begin = u32::try_from(boxes::child(&self.data, b"mdat")?.body_start()).ok();
        let with_samples = || self.runs.iter().filter(|run| run.samples > 0);
        let told = with_samples().find(|run| run.data_at.is_some() && run.data_at == begin);
        told.or_else(|| with_samples().next().filter(|run| run.data_at.is_none()))
    }

    /// The samples of that track.
    pub fn run(&self, track: u32) -> Option<&Run> {
        self.runs.iter().find(|run| run.track == track && run.samples > 0)
    }
}

fn read_moof(moof: &mut [u8], position: u64, init: &Init) -> Result<Vec<Run>, Error> {
    let header = boxes::Header::read(moof, position)?.ok_or(Error::malformed(b"moof", "it is cut short"))?;
    let trafs: Vec<Range<usize>> = boxes::children(&moof[header.len..])
        .filter(|child| &child.kind == b"traf")
        .map(|child| header.len + child.body_start()..header.len + child.body_start() + child.body.len())
        .collect();
    let mut runs = Vec::with_capacity(trafs.len());
    for (index, place) in trafs.into_iter().enumerate() {
        count_from_moof(&mut moof[place.clone()], position, index == 0)?;
        let mut run = read_traf(&moof[place.clone()], init)?;
        run.tfdt_at = run.tfdt_at.start + place.start..run.tfdt_at.end + place.start;
        runs.push(run);
    }
    Ok(runs)
}

/// Makes the sample positions of a traf count from its moof, without moving a byte outside its tfhd.
///
/// mp4mux leaves the flag unset and means the moof all the same (the rule for the first traf); ffmpeg without
/// `default_base_moof` writes the moof's own position, which browsers refuse: it is taken out, and a free box fills the gap.
fn count_from_moof(traf: &mut [u8], position: u64, first: bool) -> Result<(), Error> {
    let child = boxes::child(traf, b"tfhd").ok_or(Error::malformed(b"traf", "it has no tfhd"))?;
    let (start, body, end) = (child.start, child.body_start(), child.body_start() + child.body.len());
    let flags = boxes::be32(traf, body).ok_or(Error::malformed(b"tfhd", "it is cut short"))?;
    if flags & BASE_DATA_OFFSET != 0 {
        let field = body + 8..body + 16;
        let base =
            traf.get(field.clone()).and_then(|field| field.first_chunk()).map(|field| u64::from_be_bytes(*field));
        let plain = child.header_len == 8 && field.end <= end;
        if base != Some(position) || !plain {
            return Err(Error::Offsets);
        }
        traf.copy_within(field.end..end, field.start);
        traf[end - 8..end].copy_from_slice(b"\0\0\0\x08free");
        let size = u32::try_from(end - start - 8).map_err(|_| Error::Offsets)?;
        traf[start..start + 4].copy_from_slice(&size.to_be_bytes());
    } else if flags & DEFAULT_BASE_IS_MOOF == 0 && !first {
        // Then they count from the end of the previous track's samples: not seen of any muxer of today.
        return Err(Error::Offsets);
    }
    let flags = flags & !BASE_DATA_OFFSET | DEFAULT_BASE_IS_MOOF;
    traf[body..body + 4].copy_from_slice(&flags.to_be_bytes());
    Ok(())
}

fn read_traf(traf: &[u8], init: &Init) -> Result<Run, Error> {
    let mut tfhd = Fields::of(boxes::child(traf, b"tfhd").map_or(&[], |child| child.body));
    let cut_short = Error::malformed(b"tfhd", "it is cut short");
    let (flags, track) = tfhd.next().zip(tfhd.next()).ok_or(cut_short.clone())?;
    // Text and metadata tracks are not in `init.tracks`; what is not named there needs no further reading.
    let (mut defaults, edit) = init.track(track).map_or((Defaults::default(), 0), |track| (track.defaults, track.edit));
    tfhd.skip_if(flags & SAMPLE_DESCRIPTION_INDEX != 0);
    if flags & DEFAULT_SAMPLE_DURATION != 0 {
        defaults.duration = tfhd.next().ok_or(cut_short.clone())?;
    }
    tfhd.skip_if(flags & DEFAULT_SAMPLE_SIZE != 0);
    if flags & DEFAULT_SAMPLE_FLAGS != 0 {
        defaults.flags = tfhd.next().ok_or(cut_short)?;
    }
    let (tfdt, tfdt_at) = read_tfdt(traf)?;
    let mut run = Run { track, tfdt, duration: 0, shown: 0, samples: 0, sync: false, data_at: None, tfdt_at };
    for trun in boxes::children(traf).filter(|child| &child.kind == b"trun") {
        let part = read_trun(trun.body, &defaults)?;
        if run.samples == 0 {
            run.sync = part.sync;
            run.data_at = part.data_at;
            run.shown = i64::try_from(tfdt).unwrap_or(i64::MAX).saturating_add(part.offset);
            run.shown = run.shown.saturating_sub_unsigned(edit);
        }
        run.samples = run.samples.saturating_add(part.samples);
        run.duration = run.duration.saturating_add(part.duration);
    }
    Ok(run)
}

fn read_tfdt(traf: &[u8]) -> Result<(u64, Range<usize>), Error> {
    let child = boxes::child(traf, b"tfdt").ok_or(Error::malformed(b"traf", "it has no tfdt, which browsers need"))?;
    let wide = child.body.first() == Some(&1);
    let place = child.body_start() + 4..child.body_start() + if wide { 12 } else { 8 };
    let bytes = child.body.get(4..if wide { 12 } else { 8 }).ok_or(Error::malformed(b"tfdt", "it is cut short"))?;
    Ok((bytes.iter().fold(0, |time, &byte| time << 8 | u64::from(byte)), place))
}

/// What one trun says: its first sample and the sum of all.
struct Part {
    samples: u32,
    duration: u64,
    offset: i64,
    sync: bool,
    data_at: Option<u32>,
}

fn read_trun(body: &[u8], defaults: &Defaults) -> Result<Part, Error> {
    let cut_short = || Error::malformed(b"trun", "it has fewer samples than it says");
    let mut fields = Fields::of(body);
    let (head, samples) = fields.next().zip(fields.next()).ok_or_else(cut_short)?;
    let has = |flag: u32| head & flag != 0;
    let signed_offsets = head >> 24 != 0;
    let data_at = if has(0x001) { Some(fields.next().ok_or_else(cut_short)?) } else { None };
    let first_flags = if has(0x004) { Some(fields.next().ok_or_else(cut_short)?) } else { None };
    let mut part = Part { samples, duration: 0, offset: 0, sync: false, data_at };
    let mut flags = first_flags.unwrap_or(defaults.flags);
    if head & 0xf00 == 0 {
        // Nothing for each sample, so their number costs nothing: do not count up to what it claims.
        part.duration = u64::from(defaults.duration) * u64::from(samples);
    } else {
        for index in 0..samples {
            let duration = if has(0x100) { fields.next().ok_or_else(cut_short)? } else { defaults.duration };
            part.duration += u64::from(duration);
            if has(0x200) {
                fields.next().ok_or_else(cut_short)?;
            }
            let own_flags = if has(0x400) { Some(fields.next().ok_or_else(cut_short)?) } else { None };
            let offset = if has(0x800) { fields.next().ok_or_else(cut_short)? } else { 0 };
            if index == 0 {
                flags = own_flags.unwrap_or(flags);
                part.offset = if signed_offsets { i64::from(offset.cast_signed()) } else { i64::from(offset) };
            }
        }
    }
    part.sync = flags & SAMPLE_IS_NON_SYNC == 0;
    Ok(part)
}

/// The 32-bit fields of a box, one after the other.
struct Fields<'a>(std::slice::Iter<'a, [u8; 4]>);

impl<'a> Fields<'a> {
    fn of(body: &'a [u8]) -> Self {
        Self(body.as_chunks().0.iter())
    }

    fn skip_if(&mut self, present: bool) {
        if present {
            self.0.next();
        }
    }

    fn next(&mut self) -> Option<u32> {
        self.0.next().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

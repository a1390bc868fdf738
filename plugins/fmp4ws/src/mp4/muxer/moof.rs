//! A fragment of one sample.

use crate::mp4::write::{put, put_full, words};
use crate::mp4::{Fragment, Run};

/// Sample flags: it depends on no other one; it depends on others and is no place to start (ISO/IEC 14496-12, 8.8.3.1).
const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;
/// tfhd: sample positions count from the moof.
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
/// trun: data-offset; then for each sample duration, size, flags, composition offset.
const TRUN_FIELDS: u32 = 0x001 | 0x100 | 0x200 | 0x400 | 0x800;
/// Bytes of mdat's header.
const MDAT_HEADER: usize = 8;

/// A sample and its place in the stream.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    pub track: u32,
    /// In the track's timescale, as the rest.
    pub decode: u64,
    pub duration: u32,
    pub offset: i32,
    pub sync: bool,
    /// It belongs to the track by which viewers start.
    pub main: bool,
    pub data: &'a [u8],
}

impl Sample<'_> {
    /// Writes it as moof and mdat.
    pub fn fragment(&self, sequence: u32) -> Fragment {
        let mut out = Vec::with_capacity(128 + self.data.len());
        let (mut tfdt_at, mut data_offset_at) = (0, 0);
        put(&mut out, b"moof", |out| {
            put_full(out, b"mfhd", 0, 0, |out| words(out, &[sequence]));
            put(out, b"traf", |out| {
                put_full(out, b"tfhd", 0, DEFAULT_BASE_IS_MOOF, |out| words(out, &[self.track]));
                put_full(out, b"tfdt", 1, 0, |out| {
                    tfdt_at = out.len();
                    out.extend_from_slice(&self.decode.to_be_bytes());
                });
                // Version 1: offsets have a sign.
                put_full(out, b"trun", 1, TRUN_FIELDS, |out| {
                    data_offset_at = out.len() + 4;
                    let flags = if self.sync { SYNC } else { NON_SYNC };
                    let size = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
                    words(out, &[1, 0, self.duration, size, flags, self.offset.cast_unsigned()]);
                });
            });
        });
        let data_offset = (out.len() + MDAT_HEADER) as u32;
        out[data_offset_at..data_offset_at + 4].copy_from_slice(&data_offset.to_be_bytes());
        put(&mut out, b"mdat", |out| out.extend_from_slice(self.data));
        let run = Run {
            track: self.track,
            tfdt: self.decode,
            duration: self.duration.into(),
            shown: i64::try_from(self.decode).unwrap_or(i64::MAX).saturating_add(self.offset.into()),
            samples: 1,
            sync: self.sync,
            data_at: Some(data_offset),
            tfdt_at: tfdt_at..tfdt_at + 8,
        };
        let keyframe = self.main && self.sync;
        Fragment { data: out.into(), runs: vec![run], keyframe, frames: u32::from(self.main) }
    }
}

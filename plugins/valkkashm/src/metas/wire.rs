//! The bytes in which metas travel beside a frame. Pure functions; no buffer, no pipeline.
//!
//! A list of records, one directly behind the other, everything little endian and packed:
//!
//! ```text
//!   0      2          4         8             8 + length
//!   ┌──────┬──────────┬─────────┬───────────────┬─────
//!   │ kind │ 0        │ length  │ value         │ next record …
//!   │ u16  │ u16      │ u32     │ length bytes  │
//!   └──────┴──────────┴─────────┴───────────────┴─────
//! ```
//!
//! `str` below is a `u32` length and that many bytes of UTF-8. A record of a kind that the reader does not know is
//! skipped, and so are bytes behind the part of a value that it knows: a newer writer can add both.
//!
//! | kind | name | value |
//! | --- | --- | --- |
//! | 1 | video | width `u32`, height `u32`, planes `u32` (1 to 4), frame flags `u32`, id `i32`, then per plane offset `u64`, then per plane stride `i32`, then padding top, bottom, left, right `u32`, stride alignment 4 × `u32`, format `str` ("RGB") |
//! | 2 | region of interest | x, y, w, h `u32`, id `i32`, parent id `i32`, type `str`, number `u32` of parameters, each a structure `str` |
//! | 3 | reference timestamp | timestamp `u64`, duration `u64` (all ones: none), reference caps `str` |
//! | 4 | custom | name `str`, number `u32` of tags, each `str`, structure `str` |
//! | 5 | decoding time | channel time `i64` of the DTS, for a frame without PTS |
//! | 6 | crop | x, y, width, height `u32` |
//! | 7 | caption | type `i32` (GstVideoCaptionType), data `str` (any bytes) |
//!
//! The video record, if there is one, is the first: a reader that wants nothing but strides stops there.

use std::borrow::Cow;

/// One meta, ready to travel or just arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Where the planes are.
    Video(VideoLayout),
    /// A rectangle that somebody found worth looking at.
    Region(Region),
    /// The frame's time on a clock that the caps name.
    Reference {
        /// ns
        timestamp: u64,
        /// ns
        duration: Option<u64>,
        /// Names the clock.
        caps: String,
    },
    /// Metas that applications register by name.
    Custom {
        /// Registered name.
        name: String,
        /// What the meta depends on, so that the reader can register it likewise.
        tags: Vec<String>,
        /// Serialised GstStructure.
        structure: String,
    },
    /// Channel time of the DTS of a frame without PTS.
    DecodingTime(i64),
    /// x, y, width, height
    Crop([u32; 4]),
    /// Closed captions.
    Caption {
        /// GstVideoCaptionType
        kind: i32,
        /// As the type says.
        data: Vec<u8>,
    },
}

/// Geometry of a raw picture in its payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VideoLayout {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// GstVideoFrameFlags
    pub frame_flags: u32,
    /// GstVideoMeta id
    pub id: i32,
    /// Bytes from the payload's beginning, per plane.
    pub offsets: Vec<u64>,
    /// Bytes from line to line, per plane.
    pub strides: Vec<i32>,
    /// Pixels at top, bottom, left, right that surround the picture.
    pub padding: [u32; 4],
    /// Per plane, as GstVideoAlignment has it.
    pub stride_align: [u32; 4],
    /// GStreamer's name of the pixel format.
    pub format: Cow<'static, str>,
}

/// A region of interest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Region {
    /// x, y, width, height in pixels
    pub rect: [u32; 4],
    /// Of the region within the frame.
    pub id: i32,
    /// Of the region around it.
    pub parent_id: i32,
    /// What it shows.
    pub kind: String,
    /// Serialised GstStructures.
    pub params: Vec<String>,
}

/// Why bytes are no list of metas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A length points behind the end.
    #[error("metas end in the middle of a record")]
    Truncated,
    /// Text is not UTF-8.
    #[error("text in a meta is not UTF-8")]
    NotText,
    /// GStreamer has at most four planes.
    #[error("video meta with {0} planes")]
    Planes(u32),
}

const VIDEO: u16 = 1;
const REGION: u16 = 2;
const REFERENCE: u16 = 3;
const CUSTOM: u16 = 4;
const DECODING_TIME: u16 = 5;
const CROP: u16 = 6;
const CAPTION: u16 = 7;

const MAX_PLANES: u32 = 4;

/// Appends `record` to `out`.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let kind = match record {
        Record::Video(_) => VIDEO,
        Record::Region(_) => REGION,
        Record::Reference { .. } => REFERENCE,
        Record::Custom { .. } => CUSTOM,
        Record::DecodingTime(_) => DECODING_TIME,
        Record::Crop(_) => CROP,
        Record::Caption { .. } => CAPTION,
    };
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_value(record, out);
    let length = size(out.len() - length_at - 4);
    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

fn encode_value(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Video(video) => encode_video(video, out),
        Record::Region(region) => {
            region.rect.iter().for_each(|n| put_u32(out, *n));
            put_i32(out, region.id);
            put_i32(out, region.parent_id);
            put_bytes(out, region.kind.as_bytes());
            put_list(out, &region.params);
        }
        Record::Reference { timestamp, duration, caps } => {
            out.extend_from_slice(&timestamp.to_le_bytes());
            out.extend_from_slice(&duration.unwrap_or(u64::MAX).to_le_bytes());
            put_bytes(out, caps.as_bytes());
        }
        Record::Custom { name, tags, structure } => {
            put_bytes(out, name.as_bytes());
            put_list(out, tags);
            put_bytes(out, structure.as_bytes());
        }
        Record::DecodingTime(time) => out.extend_from_slice(&time.to_le_bytes()),
        Record::Crop(rect) => rect.iter().for_each(|n| put_u32(out, *n)),
        Record::Caption { kind, data } => {
            put_i32(out, *kind);
            put_bytes(out, data);
        }
    }
}

fn encode_video(video: &VideoLayout, out: &mut Vec<u8>) {
    debug_assert_eq!(video.offsets.len(), video.strides.len());
    put_u32(out, video.width);
    put_u32(out, video.height);
    put_u32(out, size(video.offsets.len()));
    put_u32(out, video.frame_flags);
    put_i32(out, video.id);
    video.offsets.iter().for_each(|offset| out.extend_from_slice(&offset.to_le_bytes()));
    video.strides.iter().for_each(|stride| put_i32(out, *stride));
    video.padding.iter().for_each(|n| put_u32(out, *n));
    video.stride_align.iter().for_each(|n| put_u32(out, *n));
    put_bytes(out, video.format.as_bytes());
}

/// All metas in `bytes` that this version knows.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, WireError> {
    let mut records = Vec::new();
    let mut rest = Bytes(bytes);
    while !rest.0.is_empty() {
        let kind = u16::from_le_bytes(rest.array()?);
        let _reserved: [u8; 2] = rest.array()?;
        let mut value = Bytes(rest.bytes()?);
        match kind {
            VIDEO => records.push(Record::Video(value.video()?)),
            REGION => records.push(Record::Region(value.region()?)),
            REFERENCE => records.push(Record::Reference {
                timestamp: u64::from_le_bytes(value.array()?),
                duration: Some(u64::from_le_bytes(value.array()?)).filter(|duration| *duration != u64::MAX),
                caps: value.text()?,
            }),
            CUSTOM => {
                records.push(Record::Custom { name: value.text()?, tags: value.list()?, structure: value.text()? })
            }
            DECODING_TIME => records.push(Record::DecodingTime(i64::from_le_bytes(value.array()?))),
            CROP => records.push(Record::Crop(value.u32s()?)),
            CAPTION => records.push(Record::Caption { kind: value.i32()?, data: value.bytes()?.to_vec() }),
            _ => {}
        }
    }
    Ok(records)
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(WireError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    fn u32s(&mut self) -> Result<[u32; 4], WireError> {
        Ok([self.u32()?, self.u32()?, self.u32()?, self.u32()?])
    }

    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| WireError::Truncated)?)
    }

    fn text(&mut self) -> Result<String, WireError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| WireError::NotText)
    }

    /// The count is a claim: each entry has to be there before room is made for it.
    fn list(&mut self) -> Result<Vec<String>, WireError> {
        let count = self.u32()?;
        (0..count).map(|_| self.text()).collect()
    }

    fn video(&mut self) -> Result<VideoLayout, WireError> {
        let (width, height, planes) = (self.u32()?, self.u32()?, self.u32()?);
        if !(1..=MAX_PLANES).contains(&planes) {
            return Err(WireError::Planes(planes));
        }
        let (frame_flags, id) = (self.u32()?, self.i32()?);
        let offsets = (0..planes).map(|_| Ok(u64::from_le_bytes(self.array()?))).collect::<Result<_, _>>()?;
        let strides = (0..planes).map(|_| self.i32()).collect::<Result<_, _>>()?;
        let (padding, stride_align, format) = (self.u32s()?, self.u32s()?, self.text()?.into());
        Ok(VideoLayout { width, height, frame_flags, id, offsets, strides, padding, stride_align, format })
    }

    fn region(&mut self) -> Result<Region, WireError> {
        Ok(Region {
            rect: self.u32s()?,
            id: self.i32()?,
            parent_id: self.i32()?,
            kind: self.text()?,
            params: self.list()?,
        })
    }
}

fn put_u32(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_i32(out: &mut Vec<u8>, n: i32) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, size(bytes.len()));
    out.extend_from_slice(bytes);
}

fn put_list(out: &mut Vec<u8>, texts: &[String]) {
    put_u32(out, size(texts.len()));
    texts.iter().for_each(|text| put_bytes(out, text.as_bytes()));
}

fn size(n: usize) -> u32 {
    u32::try_from(n).expect("a meta is far smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Record> {
        vec![
            Record::Video(VideoLayout {
                width: 1922,
                height: 3,
                frame_flags: 5,
                id: -1,
                offsets: vec![16, 7_000],
                strides: vec![1984, -1984],
                padding: [1, 2, 3, 4],
                stride_align: [31, 31, 0, 0],
                format: "NV12".into(),
            }),
            Record::Region(Region {
                rect: [1, 2, 3, 4],
                id: 7,
                parent_id: -7,
                kind: "person".into(),
                params: vec!["detection, confidence=(double)0.5;".into(), "é;".into()],
            }),
            Record::Reference { timestamp: 42, duration: None, caps: "timestamp/x-ntp".into() },
            Record::Reference { timestamp: u64::MAX - 1, duration: Some(0), caps: String::new() },
            Record::Custom { name: "my-meta".into(), tags: vec!["video".into()], structure: "my-meta, a=1;".into() },
            Record::DecodingTime(i64::MIN),
            Record::Crop([0, 1, 2, u32::MAX]),
            Record::Caption { kind: 3, data: vec![0, 255, 128] },
        ]
    }

    fn bytes_of(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| encode(record, &mut bytes));
        bytes
    }

    #[test]
    fn every_kind_of_record_comes_back_as_it_was() {
        let records = one_of_each();
        assert_eq!(decode(&bytes_of(&records)), Ok(records));
    }

    #[test]
    fn no_bytes_are_no_metas() {
        assert_eq!(decode(&[]), Ok(Vec::new()));
    }

    #[test]
    fn records_of_unknown_kind_are_skipped() {
        let mut bytes = vec![0xff, 0x7f, 0, 0, 3, 0, 0, 0, 1, 2, 3];
        encode(&Record::DecodingTime(9), &mut bytes);
        assert_eq!(decode(&bytes), Ok(vec![Record::DecodingTime(9)]));
    }

    #[test]
    fn what_a_newer_writer_adds_to_a_value_is_skipped() {
        let bytes = [5, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xbb];
        assert_eq!(decode(&bytes), Ok(vec![Record::DecodingTime(1)]));
    }

    #[test]
    fn cut_anywhere_it_is_an_error_or_fewer_records() {
        let records = one_of_each();
        let bytes = bytes_of(&records);
        for end in 0..bytes.len() {
            if let Ok(some) = decode(&bytes[..end]) {
                assert!(some.len() < records.len());
                assert_eq!(some, records[..some.len()]);
            }
        }
    }

    #[test]
    fn any_byte_may_be_wrong_without_a_panic() {
        let bytes = bytes_of(&one_of_each());
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = value;
                let _ = decode(&broken);
            }
        }
    }

    #[test]
    fn a_list_of_four_billion_entries_is_refused_without_making_room_for_it() {
        let mut bytes = vec![4, 0, 0, 0, 8, 0, 0, 0];
        bytes.extend_from_slice(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decode(&bytes), Err(WireError::Truncated));
    }

    #[test]
    fn too_many_planes_are_refused() {
        let mut bytes = vec![1, 0, 0, 0, 12, 0, 0, 0];
        bytes.extend_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(decode(&bytes), Err(WireError::Planes(5)));
    }
}

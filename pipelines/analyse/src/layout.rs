//! Where the pixels of a picture lie in its frame: as caps alone imply, or as the frame's video meta says.
//!
//! A producer may pad its rows or crop a larger picture; then the frame carries a video meta. It travels as the first of
//! the frame's metas, in the records that `valkkashmsink` writes (drawn in `plugins/valkkashm/src/metas/wire.rs`). Of these
//! this module reads that one, and of that one what a picture with a single plane has. It is a claim of another
//! process: [`crate::view`] checks that the picture is inside of the frame.

use crate::caps::Picture;

/// The only plane of a picture, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// From the frame's beginning to the first pixel.
    pub offset: usize,
    /// From one row to the next.
    pub stride: usize,
}

/// Why the metas of a frame tell of no such picture.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is in its message")]
pub enum LayoutError {
    #[error("its metas end in the middle")]
    Truncated,
    #[error("its video meta is of {width}x{height} pixels, less than the {picture} of the caps")]
    Size { width: u32, height: u32, picture: Picture },
    #[error("its video meta has {0} planes, one was expected")]
    Planes(u32),
    #[error("its video meta has a stride of {stride} and an offset of {offset} bytes, which cannot be used")]
    Place { offset: u64, stride: i32 },
}

/// The record of a video meta.
const VIDEO: u16 = 1;

impl Plane {
    /// The layout that GStreamer gives such pictures if nothing else is said.
    pub fn default_of(picture: &Picture) -> Self {
        Self { offset: 0, stride: picture.default_stride() }
    }

    /// The layout of a frame with these metas.
    pub fn of_frame(picture: &Picture, metas: &[u8]) -> Result<Self, LayoutError> {
        if metas.is_empty() {
            return Ok(Self::default_of(picture));
        }
        let mut record = Bytes(metas);
        let kind = u16::from_le_bytes(record.take()?);
        if kind != VIDEO {
            return Ok(Self::default_of(picture));
        }
        let [_reserved_low, _reserved_high] = record.take()?;
        let _length = record.u32()?;
        let (width, height, planes) = (record.u32()?, record.u32()?, record.u32()?);
        // It may be larger: a cropped picture keeps the meta of the whole one, with another offset.
        if width < picture.width || height < picture.height {
            return Err(LayoutError::Size { width, height, picture: *picture });
        }
        if planes != 1 {
            return Err(LayoutError::Planes(planes));
        }
        let (_flags, _id) = (record.u32()?, record.u32()?);
        let (offset, stride) = (u64::from_le_bytes(record.take()?), i32::from_le_bytes(record.take()?));
        match (usize::try_from(offset), usize::try_from(stride)) {
            (Ok(offset), Ok(stride)) => Ok(Self { offset, stride }),
            // A negative stride is a picture from bottom to top.
            _ => Err(LayoutError::Place { offset, stride }),
        }
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(LayoutError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, LayoutError> {
        Ok(u32::from_le_bytes(self.take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::Format;

    const PICTURE: Picture = Picture { format: Format::Rgb, width: 10, height: 4 };

    /// A video record as `valkkashmsink` writes it, up to the stride, with something behind it.
    fn metas(planes: u32, offset: u64, stride: i32) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0, 36, 0, 0, 0];
        for n in [10, 4, planes, 5, u32::MAX] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&stride.to_le_bytes());
        bytes.extend_from_slice(&[0xEE; 20]);
        bytes
    }

    #[test]
    fn video_meta_says_where_pixels_are() {
        assert_eq!(Plane::of_frame(&PICTURE, &metas(1, 64, 40)), Ok(Plane { offset: 64, stride: 40 }));
        let cropped = Picture { width: 9, height: 3, ..PICTURE };
        assert_eq!(Plane::of_frame(&cropped, &metas(1, 43, 40)), Ok(Plane { offset: 43, stride: 40 }));
    }

    #[test]
    fn without_video_meta_rows_are_as_usual() {
        let usual = Ok(Plane { offset: 0, stride: 32 });
        assert_eq!(Plane::of_frame(&PICTURE, &[]), usual);
        assert_eq!(Plane::of_frame(&PICTURE, &[5, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]), usual);
    }

    #[test]
    fn video_meta_of_no_such_picture_is_refused() {
        let larger = Picture { width: 11, ..PICTURE };
        assert!(matches!(Plane::of_frame(&larger, &metas(1, 0, 40)), Err(LayoutError::Size { width: 10, .. })));
        assert_eq!(Plane::of_frame(&PICTURE, &metas(3, 0, 40)), Err(LayoutError::Planes(3)));
        assert!(matches!(Plane::of_frame(&PICTURE, &metas(1, 0, -40)), Err(LayoutError::Place { stride: -40, .. })));
    }

    #[test]
    fn metas_that_end_too_early_are_refused() {
        let metas = metas(1, 64, 40);
        for end in 1..40 {
            assert_eq!(Plane::of_frame(&PICTURE, &metas[..end]), Err(LayoutError::Truncated), "{end} bytes");
        }
    }
}

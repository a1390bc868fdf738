//! A frame as OpenCV sees it: the bytes of the channel's slot with a size and a stride, not a copy.
//!
//! [`with_view`] lends the picture to a closure as a `BoxedRef<Mat>`: it cannot outlive the bytes, and OpenCV functions
//! take it as an input only. A slot is mapped read-only, so the kernel stands behind that promise.
//!
//! OpenCV's constructor with a stride is `unsafe` in Rust. It is not needed: rows of `stride` bytes are a matrix without
//! padding, whose left part is the picture (`Mat::roi`), whose bytes are then seen as pixels (`Mat::reshape`). None of
//! the three touches a pixel. `docs/decisions/0010-opencv-view.md` tells more.

use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, MatTraitConst, Rect};

use crate::caps::Picture;
use crate::layout::Plane;

/// Why a frame cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is in its message")]
pub enum ViewError {
    #[error("a frame has {len} bytes, but a picture of {picture} with {plane:?} takes {needed}")]
    Short { len: usize, needed: usize, picture: Picture, plane: Plane },
    #[error("a row of {picture} does not fit a stride of {stride} bytes")]
    Stride { stride: usize, picture: Picture },
    #[error("OpenCV: {0}")]
    OpenCv(#[from] opencv::Error),
}

/// Lends the picture in `bytes` to `look`.
///
/// Fails before OpenCV sees anything if the bytes do not hold the whole picture.
pub fn with_view<T>(
    bytes: &[u8],
    picture: &Picture,
    plane: Plane,
    look: impl FnOnce(&BoxedRef<'_, Mat>) -> opencv::Result<T>,
) -> Result<T, ViewError> {
    let plane = if picture.height == 1 {
        // No row follows: whatever its writer says of the distance to it is of no use, and may be gigabytes.
        Plane { stride: picture.row_bytes(), ..plane }
    } else {
        plane
    };
    let missing = missing_bytes(bytes.len(), picture, plane)?;
    let rows = picture.height as usize * plane.stride;
    if missing <= plane.offset {
        // The last row ends before its padding does. There are bytes before the first row (a cropped picture): let each
        // row begin that much earlier.
        let start = plane.offset - missing;
        whole_rows(&bytes[start..start + rows], picture, plane.stride, missing, look)
    } else {
        // Some producers do not pad the last row. OpenCV's safe constructor insists; such frames cost a copy.
        let mut padded = bytes[plane.offset..].to_vec();
        padded.resize(rows, 0);
        whole_rows(&padded, picture, plane.stride, 0, look)
    }
}

/// How many bytes of padding the last row lacks. Checks that it lacks nothing else.
fn missing_bytes(len: usize, picture: &Picture, plane: Plane) -> Result<usize, ViewError> {
    // Signed 32 bits are OpenCV's limit for a row.
    if plane.stride < picture.row_bytes() || i32::try_from(plane.stride).is_err() {
        return Err(ViewError::Stride { stride: plane.stride, picture: *picture });
    }
    // 32768 rows of 2^31 bytes at most, behind any offset: saturating is refusing.
    let end = plane.offset.saturating_add(picture.height as usize * plane.stride);
    let needed = end - (plane.stride - picture.row_bytes());
    if len < needed {
        return Err(ViewError::Short { len, needed, picture: *picture, plane });
    }
    Ok(end.saturating_sub(len))
}

/// `bytes` are exactly the rows; the picture begins `left` bytes from the left.
fn whole_rows<T>(
    bytes: &[u8],
    picture: &Picture,
    stride: usize,
    left: usize,
    look: impl FnOnce(&BoxedRef<'_, Mat>) -> opencv::Result<T>,
) -> Result<T, ViewError> {
    let side = |n: usize| i32::try_from(n).expect("strides and heights were checked to fit");
    let height = side(picture.height as usize);
    let rows = Mat::new_rows_cols_with_bytes::<u8>(height, side(stride), bytes)?;
    let pixels = Mat::roi(&rows, Rect::new(side(left), 0, side(picture.row_bytes()), height))?;
    let view = pixels.reshape(side(picture.format.pixel_bytes()), 0)?;
    Ok(look(&view)?)
}

#[cfg(test)]
mod tests {
    use opencv::core::{MatTraitConstManual, Vec3b};

    use super::*;
    use crate::caps::Format;

    const PICTURE: Picture = Picture { format: Format::Rgb, width: 3, height: 2 };

    /// 3x2 pixels, whose reds are 0, 10, 20 and 100, 110, 120.
    fn frame(offset: usize, stride: usize) -> Vec<u8> {
        let mut bytes = vec![0xEE; offset + 2 * stride];
        for (y, x) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            let at = offset + y * stride + x * 3;
            let red = (y * 100 + x * 10) as u8;
            bytes[at..at + 3].copy_from_slice(&[red, red + 1, red + 2]);
        }
        bytes
    }

    /// Checks every pixel; returns where OpenCV reads the first one.
    fn look(bytes: &[u8], plane: Plane) -> Result<*const u8, ViewError> {
        with_view(bytes, &PICTURE, plane, |view| {
            assert_eq!((view.cols(), view.rows(), view.channels()), (3, 2, 3));
            for (y, x) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
                let red = (y * 100 + x * 10) as u8;
                assert_eq!(*view.at_2d::<Vec3b>(y, x)?, Vec3b::from([red, red + 1, red + 2]), "pixel {x},{y}");
            }
            Ok(view.data())
        })
    }

    #[test]
    fn view_is_the_frame_and_not_a_copy() {
        for (offset, stride) in [(0, 9), (0, 12), (5, 12), (64, 100)] {
            let bytes = frame(offset, stride);
            let seen = look(&bytes, Plane { offset, stride }).unwrap();
            assert_eq!(seen, bytes[offset..].as_ptr());
        }
    }

    #[test]
    fn cropped_picture_that_ends_with_the_frame_is_not_copied() {
        let mut bytes = frame(8, 12);
        bytes.truncate(8 + 12 + 9);
        let seen = look(&bytes, Plane { offset: 8, stride: 12 }).unwrap();
        assert_eq!(seen, bytes[8..].as_ptr());
    }

    #[test]
    fn last_row_needs_no_padding() {
        let mut bytes = frame(0, 12);
        bytes.truncate(12 + 9);
        look(&bytes, Plane { offset: 0, stride: 12 }).unwrap();
        let mut bytes = frame(2, 12);
        bytes.truncate(2 + 12 + 9);
        look(&bytes, Plane { offset: 2, stride: 12 }).unwrap();
    }

    #[test]
    fn grey_pictures_have_one_channel() {
        let picture = Picture { format: Format::Gray8, width: 3, height: 2 };
        let bytes = [1, 2, 3, 0, 4, 5, 6, 0];
        let seen = with_view(&bytes, &picture, Plane::default_of(&picture), |view| {
            view.clone_pointee().data_typed::<u8>().map(<[u8]>::to_vec)
        });
        assert_eq!(seen.unwrap(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn short_frames_are_refused() {
        let bytes = frame(0, 12);
        let error = look(&bytes[..20], Plane { offset: 0, stride: 12 }).unwrap_err();
        assert!(matches!(error, ViewError::Short { len: 20, needed: 21, .. }), "{error}");
        let error = look(&bytes, Plane { offset: 4, stride: 12 }).unwrap_err();
        assert!(matches!(error, ViewError::Short { len: 24, needed: 25, .. }), "{error}");
        assert!(matches!(look(&[], Plane { offset: 0, stride: 12 }), Err(ViewError::Short { .. })));
        assert!(matches!(look(&bytes, Plane { offset: usize::MAX, stride: 12 }), Err(ViewError::Short { .. })));
    }

    #[test]
    fn a_single_row_needs_no_room_for_another() {
        let picture = Picture { format: Format::Gray8, width: 3, height: 1 };
        let plane = Plane { offset: 1, stride: i32::MAX as usize };
        let seen = with_view(&[0, 1, 2, 3], &picture, plane, |view| {
            view.clone_pointee().data_typed::<u8>().map(<[u8]>::to_vec)
        });
        assert_eq!(seen.unwrap(), [1, 2, 3]);
    }

    #[test]
    fn strides_that_cannot_be_are_refused() {
        let bytes = frame(0, 12);
        for stride in [0, 8, usize::MAX] {
            assert!(matches!(look(&bytes, Plane { offset: 0, stride }), Err(ViewError::Stride { .. })));
        }
    }
}

//! Where the planes of a raw picture are: GstVideoMeta to and from its record, checked against the payload.
//!
//! Strides and offsets are taken from the buffer, never from caps: a producer may pad its lines. What arrives is a claim
//! of another process. Elements downstream trust a video meta without looking, and read as many lines and pixels as the
//! caps promise. So a layout with which they would read outside of the payload is refused here, and so is one of another
//! format or with less than the picture of the caps.

use gst_video::{VideoFormat, VideoFormatInfo, VideoInfo, VideoMeta};

use super::wire::VideoLayout;

/// Pixels across or down. Sizes of GStreamer are 32 bit at places; no camera comes near.
const MAX_SIDE: u32 = 65_536;

/// What the caps say, if they are those of raw video.
pub fn raw_video(caps: &gst::CapsRef) -> Option<VideoInfo> {
    let info = VideoInfo::from_caps(caps).ok()?;
    let raw = !matches!(info.format(), VideoFormat::Unknown | VideoFormat::Encoded) && info.is_valid();
    raw.then_some(info)
}

/// As the meta of a buffer has it.
pub fn of(meta: &VideoMeta) -> VideoLayout {
    let alignment = meta.alignment();
    VideoLayout {
        width: meta.width(),
        height: meta.height(),
        frame_flags: meta.video_frame_flags().bits(),
        id: meta.id(),
        offsets: meta.offset().iter().map(|offset| *offset as u64).collect(),
        strides: meta.stride().to_vec(),
        padding: [
            alignment.padding_top(),
            alignment.padding_bottom(),
            alignment.padding_left(),
            alignment.padding_right(),
        ],
        stride_align: *alignment.stride_align(),
        format: meta.format().to_str().as_str().into(),
    }
}

/// Does `layout`, which is of the same format, say what the meta of a buffer says?
pub fn is_of(layout: &VideoLayout, meta: &VideoMeta) -> bool {
    let alignment = meta.alignment();
    let padding =
        [alignment.padding_top(), alignment.padding_bottom(), alignment.padding_left(), alignment.padding_right()];
    (layout.width, layout.height, layout.id) == (meta.width(), meta.height(), meta.id())
        && layout.frame_flags == meta.video_frame_flags().bits()
        && layout.strides == meta.stride()
        && layout.offsets.iter().copied().eq(meta.offset().iter().map(|offset| *offset as u64))
        && (layout.padding, layout.stride_align) == (padding, *alignment.stride_align())
}

/// A layout that lies inside of payloads of a certain size, and has room for the picture of certain caps.
#[derive(Debug)]
pub struct Checked {
    format: VideoFormat,
    width: u32,
    height: u32,
    flags: gst_video::VideoFrameFlags,
    offsets: Vec<usize>,
    strides: Vec<i32>,
    /// A hint for those who import the memory into hardware: the meta is right without it.
    alignment: Option<gst_video::VideoAlignment>,
    /// It is what an element assumes that knows the caps only.
    default: bool,
}

impl Checked {
    /// None when `layout` is none of the picture `video` in `payload` bytes.
    pub fn new(layout: &VideoLayout, payload: usize, video: &VideoInfo) -> Option<Self> {
        let format = checked_format(layout, payload, video)?;
        let offsets: Option<Vec<usize>> = layout.offsets.iter().map(|offset| usize::try_from(*offset).ok()).collect();
        Some(Self {
            format,
            width: layout.width,
            height: layout.height,
            flags: gst_video::VideoFrameFlags::from_bits_truncate(layout.frame_flags),
            offsets: offsets?,
            strides: layout.strides.clone(),
            alignment: checked_alignment(layout, payload, &video.format_info()),
            default: is_default(layout, payload, video),
        })
    }

    /// Is there no need of a meta?
    pub fn is_default(&self) -> bool {
        self.default
    }

    fn is(&self, meta: &VideoMeta) -> bool {
        let parts = |of: &gst_video::VideoAlignment| {
            ([of.padding_top(), of.padding_bottom(), of.padding_left(), of.padding_right()], *of.stride_align())
        };
        meta.format() == self.format
            && (meta.width(), meta.height(), meta.video_frame_flags()) == (self.width, self.height, self.flags)
            && meta.offset() == self.offsets
            && meta.stride() == self.strides
            && parts(&meta.alignment()) == self.alignment.as_ref().map_or(([0; 4], [0; 4]), parts)
    }

    /// Gives `buffer`, which has or will have a payload of the size that was checked, this meta and no other one; keeps it when it has
    /// it. False when GStreamer refuses.
    pub fn restore(&self, buffer: &mut gst::BufferRef) -> bool {
        if buffer.meta::<VideoMeta>().is_some_and(|meta| self.is(&meta)) {
            return true;
        }
        remove(buffer);
        let added =
            VideoMeta::add_full(buffer, self.flags, self.format, self.width, self.height, &self.offsets, &self.strides);
        let Ok(mut meta) = added else { return false };
        if let Some(alignment) = &self.alignment {
            let _ = meta.set_alignment(alignment);
        }
        true
    }
}

/// Takes the video meta off `buffer`.
pub fn remove(buffer: &mut gst::BufferRef) {
    while let Some(meta) = buffer.meta_mut::<VideoMeta>() {
        if meta.remove().is_err() {
            break;
        }
    }
}

/// The picture of `buffer` (with its video meta) in the default layout, in memory of its own.
pub fn to_default(buffer: &gst::BufferRef, info: &VideoInfo) -> Result<gst::Buffer, gst::glib::BoolError> {
    let mut copy = gst::Buffer::with_size(info.size())?;
    {
        let from = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info)?;
        let to = copy.get_mut().expect("nobody else has it yet");
        let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(to, info)?;
        from.copy(&mut to)?;
    }
    Ok(copy)
}

/// Are the planes where they are by default, with all the payload that belongs to that?
fn is_default(layout: &VideoLayout, payload: usize, info: &VideoInfo) -> bool {
    layout.offsets.iter().copied().eq(info.offset().iter().map(|offset| *offset as u64))
        && layout.strides == info.stride()
        && info.size() <= payload
}

/// The alignment that `layout` tells of, if there is one and all of the padding lies in the payload, too.
fn checked_alignment(
    layout: &VideoLayout,
    payload: usize,
    finfo: &VideoFormatInfo,
) -> Option<gst_video::VideoAlignment> {
    let [top, bottom, left, right] = layout.padding;
    let aligned = layout.padding != [0; 4] || layout.stride_align != [0; 4];
    // What is at the right GStreamer compares with the stride.
    let sane = layout.padding.iter().all(|padding| *padding <= MAX_SIDE);
    let is_there = |component: usize| {
        let plane = finfo.plane()[component] as usize;
        let (offset, stride) = (*layout.offsets.get(plane)?, u64::try_from(*layout.strides.get(plane)?).ok()?);
        let lines = |n| u64::from(finfo.scale_height(component as u8, n));
        let pixel = u64::try_from(finfo.pixel_stride()[component]).ok()?;
        let before = lines(top) * stride + u64::from(finfo.scale_width(component as u8, left)) * pixel;
        let first = offset.checked_sub(before)?;
        (first + lines(top + layout.height + bottom) * stride <= payload as u64).then_some(())
    };
    let is_there = aligned && sane && (0..finfo.n_components() as usize).all(|component| is_there(component).is_some());
    is_there.then(|| gst_video::VideoAlignment::new(top, bottom, left, right, &layout.stride_align))
}

/// The format, if `layout` stays inside of `payload` bytes and is one of `video`, or of something larger around it.
fn checked_format(layout: &VideoLayout, payload: usize, video: &VideoInfo) -> Option<VideoFormat> {
    let format = video.format();
    let large_enough =
        (video.width()..=MAX_SIDE).contains(&layout.width) && (video.height()..=MAX_SIDE).contains(&layout.height);
    if format.to_str() != layout.format.as_ref() || !large_enough {
        return None;
    }
    let told_of_fields = layout.frame_flags & gst_video::VideoFrameFlags::INTERLACED.bits() != 0;
    let is_as_told = (layout.width, layout.height) == (video.width(), video.height());
    if is_as_told && video.is_interlaced() >= told_of_fields && is_default(layout, payload, video) {
        // GStreamer's own idea of the caps, which for fields of some formats is its own only.
        return Some(format);
    }
    let usual = VideoInfo::builder(format, layout.width, layout.height).build().ok()?;
    if usual.n_planes() as usize != layout.strides.len() {
        return None;
    }
    if usual.format_info().is_tiled() {
        // Strides of tiled formats count tiles; only the default layout of these can be checked.
        return is_default(layout, payload, &usual).then_some(format);
    }
    // Either of them makes elements take the picture for two fields.
    let fields = told_of_fields || video.is_interlaced();
    let ends = |plane| end_of_plane(layout, &usual, fields, plane).is_some_and(|end| end <= payload as u64);
    (0..layout.strides.len()).all(ends).then_some(format)
}

/// First byte behind a plane's last line; None when there is no such number, or when its lines are longer than from one to the next.
/// `usual` is a picture of this size as GStreamer lays it out.
fn end_of_plane(layout: &VideoLayout, usual: &VideoInfo, fields: bool, plane: usize) -> Option<u64> {
    let finfo = usual.format_info();
    let offset = *layout.offsets.get(plane)?;
    let stride = u64::try_from(*layout.strides.get(plane)?).ok()?;
    if finfo.has_palette() && plane == 1 {
        // 256 colours of 4 bytes.
        return offset.checked_add(1024);
    }
    let mut end = None;
    for component in 0..finfo.n_components() as usize {
        if finfo.plane()[component] as usize != plane {
            continue;
        }
        let mut rows = u64::from(finfo.scale_height(component as u8, layout.height));
        if fields && finfo.h_sub()[component] > 0 {
            // Each field has colours of its own.
            rows = rows.next_multiple_of(2);
        }
        let width = u64::from(finfo.scale_width(component as u8, layout.width));
        let pixel = u64::try_from(finfo.pixel_stride()[component]).ok()?;
        // Formats that pack several pixels into words have no pixel stride: how long a line is then, GStreamer alone knows.
        let packed = pixel == 0 || finfo.is_complex();
        let line = if packed { u64::try_from(*usual.stride().get(plane)?).ok()? } else { width * pixel };
        let before = stride.checked_mul(rows.checked_sub(1)?).filter(|_| line <= stride)?;
        end = end.max(Some(offset.checked_add(before)?.checked_add(line)?));
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(format: &'static str, width: u32, height: u32, offsets: &[u64], strides: &[i32]) -> VideoLayout {
        VideoLayout {
            width,
            height,
            offsets: offsets.to_vec(),
            strides: strides.to_vec(),
            format: format.into(),
            ..Default::default()
        }
    }

    fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
        gst::init().expect("GStreamer starts");
        VideoInfo::builder(format, width, height).build().expect("valid")
    }

    fn of_info(info: &VideoInfo) -> VideoLayout {
        VideoLayout {
            offsets: info.offset().iter().map(|offset| *offset as u64).collect(),
            strides: info.stride().to_vec(),
            ..layout(info.format().to_str(), info.width(), info.height(), &[], &[])
        }
    }

    /// As the meta of a buffer with `payload` bytes under the caps of `info`.
    fn restored(layout: &VideoLayout, payload: usize, info: &VideoInfo) -> Option<gst::Buffer> {
        let mut buffer = gst::Buffer::with_size(payload).expect("memory");
        let checked = Checked::new(layout, payload, info)?;
        checked.restore(buffer.get_mut().expect("new")).then_some(buffer)
    }

    /// Every format at sizes that are and are not multiples of what formats and fields share, whole and in two fields.
    fn pictures() -> impl Iterator<Item = VideoInfo> {
        gst::init().expect("GStreamer starts");
        let sizes = [(320, 240), (1922, 1081), (1, 1), (17, 3), (64, 6)];
        let modes = [gst_video::VideoInterlaceMode::Progressive, gst_video::VideoInterlaceMode::Interleaved];
        VideoFormat::iter_raw().flat_map(move |format| {
            let shapes = sizes.into_iter().flat_map(move |size| modes.map(|mode| (size, mode)));
            shapes.filter_map(move |((width, height), mode)| {
                VideoInfo::builder(format, width, height).interlace_mode(mode).build().ok()
            })
        })
    }

    #[test]
    fn default_layout_of_every_format_fits_its_size() {
        for info in pictures() {
            let found = of_info(&info);
            let checked = Checked::new(&found, info.size(), &info).unwrap_or_else(|| panic!("{info:?}"));
            assert!(checked.is_default());
            assert!(restored(&found, info.size(), &info).is_some(), "{info:?}");
        }
    }

    #[test]
    fn layouts_with_a_plane_behind_the_payload_are_refused() {
        for info in pictures() {
            for plane in 0..info.n_planes() as usize {
                let mut found = of_info(&info);
                found.offsets[plane] = info.size() as u64;
                assert!(Checked::new(&found, info.size(), &info).is_none(), "{info:?}");
            }
        }
    }

    #[test]
    fn lines_that_are_longer_than_from_one_to_the_next_are_refused() {
        for info in pictures() {
            for plane in 0..info.n_planes() as usize {
                // A palette has no lines, and one of a single pixel has room to spare.
                if info.format_info().has_palette() && plane == 1 || info.width() == 1 {
                    continue;
                }
                for stride in [0, info.stride()[plane] / 2] {
                    let mut found = of_info(&info);
                    found.strides[plane] = stride;
                    assert!(Checked::new(&found, info.size(), &info).is_none(), "{info:?}");
                }
            }
        }
        // 6 pixels are 16 bytes, 48 of them a line; what is not packed may end with its last pixel.
        let (v210, gray) = (info(VideoFormat::V210, 47, 2), info(VideoFormat::Gray8, 47, 2));
        assert!(restored(&layout("v210", 47, 2, &[0], &[128]), 256, &v210).is_some());
        assert!(restored(&layout("v210", 47, 2, &[0], &[127]), 256, &v210).is_none());
        assert!(restored(&layout("GRAY8", 47, 2, &[0], &[47]), 94, &gray).is_some());
        assert!(restored(&layout("GRAY8", 47, 2, &[0], &[46]), 94, &gray).is_none());
    }

    #[test]
    fn layout_survives_the_way_through_a_buffer() {
        let padded = VideoLayout { id: 3, frame_flags: 1, ..layout("RGB", 10, 4, &[64], &[40]) };
        let buffer = restored(&padded, 64 + 160, &info(VideoFormat::Rgb, 10, 4)).expect("it fits");
        let meta = buffer.meta::<VideoMeta>().expect("added");
        let back = of(&meta);
        assert_eq!((back.offsets, back.strides, back.format), (padded.offsets, padded.strides, padded.format));
        assert_eq!(back.frame_flags, padded.frame_flags);
    }

    #[test]
    fn layouts_outside_of_the_payload_are_refused() {
        // 10 x 4 RGB with 40 bytes a line needs 3 * 40 + 30.
        let (size, video) = (150, info(VideoFormat::Rgb, 10, 4));
        let refused = |layout: VideoLayout| assert!(restored(&layout, size, &video).is_none(), "{layout:?}");
        assert!(restored(&layout("RGB", 10, 4, &[0], &[40]), size, &video).is_some());
        refused(layout("RGB", 10, 4, &[1], &[40]));
        refused(layout("RGB", 10, 4, &[0], &[41]));
        refused(layout("RGB", 11, 4, &[0], &[40]));
        refused(layout("RGB", 10, 5, &[0], &[40]));
        refused(layout("RGB", 10, 4, &[u64::MAX], &[40]));
        refused(layout("RGB", 10, 4, &[0], &[-40]));
        refused(layout("RGB", 10, 4, &[0], &[i32::MAX]));
        refused(layout("RGB", 0, 4, &[0], &[40]));
        refused(layout("RGB", 10, u32::MAX, &[0], &[40]));
        refused(layout("NV12", 10, 4, &[0], &[10]));
        refused(layout("no-such-format", 10, 4, &[0], &[40]));
        refused(layout("ENCODED", 10, 4, &[0], &[40]));
    }

    #[test]
    fn layouts_of_another_picture_than_the_caps_promise_are_refused() {
        let (size, video) = (200, info(VideoFormat::Rgb, 10, 4));
        let checked = |layout: VideoLayout| Checked::new(&layout, size, &video);
        assert!(checked(layout("RGB", 10, 4, &[0], &[32])).is_some_and(|checked| checked.is_default()));
        // The caps may be those of a part of it.
        assert!(checked(layout("RGB", 11, 5, &[0], &[36])).is_some_and(|checked| !checked.is_default()));
        assert!(checked(layout("RGB", 9, 4, &[0], &[32])).is_none());
        assert!(checked(layout("RGB", 10, 3, &[0], &[32])).is_none());
        assert!(checked(layout("BGR", 10, 4, &[0], &[32])).is_none());
        // By default the last line is padded, too.
        let short = Checked::new(&layout("RGB", 10, 4, &[0], &[32]), 126, &video);
        assert!(short.is_some_and(|checked| !checked.is_default()));
    }

    #[test]
    fn pictures_of_two_fields_have_colours_for_both() {
        let tight = |flags| VideoLayout { frame_flags: flags, ..layout("I420", 8, 6, &[0, 48, 60], &[8, 4, 4]) };
        let whole = info(VideoFormat::I420, 8, 6);
        let fields = VideoInfo::builder(VideoFormat::I420, 8, 6);
        let fields = fields.interlace_mode(gst_video::VideoInterlaceMode::Interleaved).build().expect("valid");
        assert!(Checked::new(&tight(0), 72, &whole).is_some());
        assert!(Checked::new(&tight(gst_video::VideoFrameFlags::INTERLACED.bits()), 72, &whole).is_none());
        assert!(Checked::new(&tight(0), 72, &fields).is_none());
        assert!(Checked::new(&tight(0), 76, &fields).is_some(), "the last line's colours are four more bytes");
    }

    /// What the restored meta of a padded picture says of its padding: top, bottom, left, right.
    fn padding_of(layout: &VideoLayout, payload: usize, info: &VideoInfo) -> [u32; 4] {
        let buffer = restored(layout, payload, info).expect("the layout itself is right");
        let alignment = buffer.meta::<VideoMeta>().expect("restored").alignment();
        [alignment.padding_top(), alignment.padding_bottom(), alignment.padding_left(), alignment.padding_right()]
    }

    #[test]
    fn padding_of_pictures_as_decoders_make_them_survives() {
        let formats =
            [VideoFormat::I420, VideoFormat::Nv12, VideoFormat::P01010le, VideoFormat::Rgb, VideoFormat::Gray8];
        for format in formats {
            let picture = info(format, 320, 240);
            let mut padded = picture.clone();
            let padding = [16, 32, 32, 64];
            let mut alignment = gst_video::VideoAlignment::new(16, 32, 32, 64, &[15; 4]);
            padded.align(&mut alignment).expect("can be padded");
            let found = VideoLayout { padding, stride_align: [15; 4], ..of_info(&padded) };
            assert_eq!(padding_of(&found, padded.size(), &picture), padding, "{format}");
        }
    }

    #[test]
    fn padding_that_is_not_in_the_payload_is_not_told_on() {
        let picture = info(VideoFormat::Gray8, 8, 8);
        // Two lines above, eight of the picture, one below.
        let padded = |padding| VideoLayout { padding, ..layout("GRAY8", 8, 8, &[16], &[8]) };
        assert_eq!(padding_of(&padded([2, 1, 0, 0]), 88, &picture), [2, 1, 0, 0]);
        for lie in [[3, 1, 0, 0], [2, 2, 0, 0], [2, 65_535, 0, 0], [u32::MAX, 1, 0, 0], [2, u32::MAX, 0, u32::MAX]] {
            assert_eq!(padding_of(&padded(lie), 88, &picture), [0; 4], "{lie:?}");
        }
    }

    #[test]
    fn padded_picture_becomes_one_without_padding() {
        let info = info(VideoFormat::Gray8, 2, 2);
        let stride = info.stride()[0] as usize;
        let mut buffer = restored(&layout("GRAY8", 2, 2, &[16], &[16]), 64, &info).expect("it fits");
        {
            let buffer = buffer.get_mut().expect("new");
            let mut map = buffer.map_writable().expect("maps");
            map[16..18].copy_from_slice(&[1, 2]);
            map[32..34].copy_from_slice(&[3, 4]);
        }
        let copy = to_default(&buffer, &info).expect("copies");
        let map = copy.map_readable().expect("maps");
        assert_eq!((map[0], map[1], map[stride], map[stride + 1]), (1, 2, 3, 4));
    }
}

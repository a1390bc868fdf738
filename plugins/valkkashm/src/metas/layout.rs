//! Where the planes of a raw picture are: GstVideoMeta to and from its record, checked against the payload.
//!
//! Strides and offsets are taken from the buffer, never from caps: a producer may pad its lines. What arrives is a claim
//! of another process. Elements downstream trust a video meta without looking, so a layout that reaches outside of the
//! payload is refused here.

use gst_video::{VideoFormat, VideoFormatInfo, VideoInfo, VideoMeta};

use super::wire::VideoLayout;

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

/// A layout that lies inside of payloads of a certain size.
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
}

impl Checked {
    /// None when `layout` is none of a picture in `payload` bytes.
    pub fn new(layout: &VideoLayout, payload: usize) -> Option<Self> {
        let format = checked_format(layout, payload)?;
        let offsets: Option<Vec<usize>> = layout.offsets.iter().map(|offset| usize::try_from(*offset).ok()).collect();
        let [top, bottom, left, right] = layout.padding;
        let aligned = layout.padding != [0; 4] || layout.stride_align != [0; 4];
        Some(Self {
            format,
            width: layout.width,
            height: layout.height,
            flags: gst_video::VideoFrameFlags::from_bits_truncate(layout.frame_flags),
            offsets: offsets?,
            strides: layout.strides.clone(),
            alignment: aligned.then(|| gst_video::VideoAlignment::new(top, bottom, left, right, &layout.stride_align)),
        })
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

/// Is this what an element assumes that knows the caps only?
pub fn is_default(layout: &VideoLayout, info: &VideoInfo) -> bool {
    layout.offsets.iter().copied().eq(info.offset().iter().map(|offset| *offset as u64))
        && layout.strides == info.stride()
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

/// The format, if `layout` stays inside of `payload` bytes.
fn checked_format(layout: &VideoLayout, payload: usize) -> Option<VideoFormat> {
    let format = layout.format.parse::<VideoFormat>().ok()?;
    if matches!(format, VideoFormat::Unknown | VideoFormat::Encoded) {
        return None;
    }
    let finfo = VideoFormatInfo::from_format(format);
    // Sizes of GStreamer are 32 bit at places; no camera comes near.
    let sane = |n: u32| (1..=65_536).contains(&n);
    if !sane(layout.width) || !sane(layout.height) || finfo.n_planes() as usize != layout.strides.len() {
        return None;
    }
    if finfo.is_tiled() {
        // Strides of tiled formats count tiles; only the default layout of these can be checked.
        let info = VideoInfo::builder(format, layout.width, layout.height).build().ok()?;
        return (is_default(layout, &info) && info.size() <= payload).then_some(format);
    }
    let inside = (0..layout.strides.len()).all(|plane| end_of_plane(layout, &finfo, plane) <= Some(payload as u64));
    let known = (0..layout.strides.len()).all(|plane| end_of_plane(layout, &finfo, plane).is_some());
    (inside && known).then_some(format)
}

/// First byte behind a plane's last line; None when there is no such number.
fn end_of_plane(layout: &VideoLayout, finfo: &VideoFormatInfo, plane: usize) -> Option<u64> {
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
        let rows = u64::from(finfo.scale_height(component as u8, layout.height));
        let width = u64::from(finfo.scale_width(component as u8, layout.width));
        // Formats that pack several pixels into words have no pixel stride: then a line is all of its stride.
        let pixel = u64::try_from(finfo.pixel_stride()[component]).ok()?;
        let line = if pixel == 0 || finfo.is_complex() { stride } else { width * pixel };
        let bytes = stride.checked_mul(rows.checked_sub(1)?)?.checked_add(line)?;
        end = end.max(Some(offset.checked_add(bytes)?));
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

    fn restored(layout: &VideoLayout, buffer: &mut gst::Buffer) -> bool {
        let buffer = buffer.get_mut().expect("nobody else has it");
        Checked::new(layout, buffer.size()).is_some_and(|checked| checked.restore(buffer))
    }

    #[test]
    fn default_layout_of_every_format_fits_its_size() {
        gst::init().expect("GStreamer starts");
        for format in VideoFormat::iter_raw() {
            for (width, height) in [(320, 240), (1922, 1081), (1, 1), (17, 3)] {
                let Ok(info) = VideoInfo::builder(format, width, height).build() else { continue };
                let mut buffer = gst::Buffer::with_size(info.size()).expect("memory");
                let found = VideoLayout {
                    offsets: info.offset().iter().map(|offset| *offset as u64).collect(),
                    strides: info.stride().to_vec(),
                    ..layout(format.to_str(), width, height, &[], &[])
                };
                assert!(is_default(&found, &info));
                assert!(restored(&found, &mut buffer), "{format} {width}x{height}");
            }
        }
    }

    #[test]
    fn layout_survives_the_way_through_a_buffer() {
        gst::init().expect("GStreamer starts");
        let padded = VideoLayout { id: 3, frame_flags: 1, ..layout("RGB", 10, 4, &[64], &[40]) };
        let mut buffer = gst::Buffer::with_size(64 + 160).expect("memory");
        assert!(restored(&padded, &mut buffer));
        let meta = buffer.meta::<VideoMeta>().expect("added");
        let back = of(&meta);
        assert_eq!((back.offsets, back.strides, back.format), (padded.offsets, padded.strides, padded.format));
        assert_eq!(back.frame_flags, padded.frame_flags);
    }

    #[test]
    fn layouts_outside_of_the_payload_are_refused() {
        gst::init().expect("GStreamer starts");
        // 10 x 4 RGB with 40 bytes a line needs 3 * 40 + 30.
        let size = 150;
        let refused = |layout: VideoLayout| {
            let mut buffer = gst::Buffer::with_size(size).expect("memory");
            assert!(!restored(&layout, &mut buffer), "{layout:?}");
        };
        let mut exact = gst::Buffer::with_size(size).expect("memory");
        assert!(restored(&layout("RGB", 10, 4, &[0], &[40]), &mut exact));
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
    fn padded_picture_becomes_one_without_padding() {
        gst::init().expect("GStreamer starts");
        let info = VideoInfo::builder(VideoFormat::Gray8, 2, 2).build().expect("valid");
        let stride = info.stride()[0] as usize;
        let mut buffer = gst::Buffer::from_mut_slice(vec![9u8; 64]);
        {
            let buffer = buffer.get_mut().expect("new");
            let mut map = buffer.map_writable().expect("maps");
            map[16..18].copy_from_slice(&[1, 2]);
            map[32..34].copy_from_slice(&[3, 4]);
        }
        assert!(restored(&layout("GRAY8", 2, 2, &[16], &[16]), &mut buffer));
        let copy = to_default(&buffer, &info).expect("copies");
        let map = copy.map_readable().expect("maps");
        assert_eq!((map[0], map[1], map[stride], map[stride + 1]), (1, 2, 3, 4));
    }
}

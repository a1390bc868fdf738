//! The metas of the last frame. Most frames of a stream bring the same ones (where the planes are, and nothing else): then nothing is
//! parsed and checked again, until the caps are others.

use gst_video::VideoInfo;

use super::{
    layout::Checked,
    wire::{self, Record, VideoLayout, WireError},
};

/// What one frame brought, and all others with the same bytes and size.
#[derive(Debug, Default)]
pub struct Known {
    bytes: Vec<u8>,
    payload: usize,
    records: Vec<Record>,
    layout: Option<Checked>,
}

impl Known {
    /// Does a frame of `payload` bytes bring the same metas as the last one?
    pub fn are(&self, bytes: &[u8], payload: usize) -> bool {
        self.payload == payload && self.bytes == bytes
    }

    /// Reads the metas of a frame of `payload` bytes, which `video` describes if the caps are those of raw video. Err: none of them can be
    /// read.
    pub fn read(&mut self, bytes: &[u8], payload: usize, video: Option<&VideoInfo>) -> Result<(), WireError> {
        *self = Self::default();
        self.records = wire::decode(bytes)?;
        let layout = super::video(&self.records).zip(video);
        self.layout = layout.and_then(|(layout, video)| Checked::new(layout, payload, video));
        (self.bytes, self.payload) = (bytes.to_vec(), payload);
        Ok(())
    }

    /// All of them.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Is there nothing but where the planes are?
    pub fn are_layout_only(&self) -> bool {
        matches!(self.records[..], [] | [Record::Video(_)])
    }

    /// Where the writer says that the planes are, and that checked: None when it cannot be.
    pub fn layout(&self) -> Option<(&VideoLayout, Option<&Checked>)> {
        super::video(&self.records).map(|layout| (layout, self.layout.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: u32) -> VideoInfo {
        gst::init().expect("GStreamer starts");
        VideoInfo::builder(gst_video::VideoFormat::Gray8, width, 2).build().expect("valid")
    }

    fn bytes_of(width: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let layout = VideoLayout {
            width,
            height: 2,
            offsets: vec![0],
            strides: vec![4],
            format: "GRAY8".into(),
            ..Default::default()
        };
        wire::encode(&Record::Video(layout), &mut bytes);
        bytes
    }

    #[test]
    fn other_bytes_and_other_sizes_are_not_known() {
        let (video, mut known) = (gray(3), Known::default());
        let mut width = |bytes: &[u8], payload| {
            assert!(!known.are(bytes, payload));
            known.read(bytes, payload, Some(&video)).expect("well formed");
            assert!(known.are(bytes, payload));
            known.layout().map(|(layout, checked)| (layout.width, checked.is_some()))
        };
        assert_eq!(width(&bytes_of(4), 8), Some((4, true)));
        assert_eq!(width(&bytes_of(3), 8), Some((3, true)));
        assert_eq!(width(&bytes_of(3), 5), Some((3, false)), "the last line does not fit");
        assert_eq!(width(&[], 5), None);
    }

    #[test]
    fn after_bytes_that_cannot_be_read_nothing_is_known() {
        let (video, mut known) = (gray(4), Known::default());
        let good = bytes_of(4);
        known.read(&good, 8, Some(&video)).expect("well formed");
        known.read(&good[..good.len() - 1], 8, Some(&video)).expect_err("cut");
        assert!(!known.are(&good[..good.len() - 1], 8));
        assert!(known.records().is_empty() && known.layout().is_none());
        known.read(&good, 8, Some(&video)).expect("well formed");
        assert!(known.layout().is_some());
    }

    #[test]
    fn a_layout_is_right_for_a_picture_only_and_only_for_this_one() {
        let (narrow, wide) = (gray(4), gray(5));
        for (video, right) in [(Some(&narrow), true), (Some(&wide), false), (None, false)] {
            let mut known = Known::default();
            known.read(&bytes_of(4), 8, video).expect("well formed");
            let (_, checked) = known.layout().expect("it has one");
            assert_eq!(checked.is_some(), right, "{video:?}");
        }
    }
}

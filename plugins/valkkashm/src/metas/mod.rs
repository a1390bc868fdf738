//! Which GstMetas pass through a channel, and how they leave and enter a buffer.
//!
//! Video meta (strides and offsets), crop, regions of interest with their parameters, reference timestamps, captions and
//! custom metas pass. A custom meta that is not registered in the reading process is registered there, with the tags
//! that it has in the writing one. Others are counted as dropped: their meaning is known to nobody here.
//! `valkkashmsink` collects, `valkkashmsrc` restores. [`wire`] is the format, [`layout`] knows where a picture's planes may be.

pub mod known;
pub mod layout;
pub mod wire;

use std::{
    ops::ControlFlow,
    str::FromStr,
    sync::{Mutex, OnceLock},
};

use frame_ring::FrameId;
use gst::glib;
use gst_video::{VideoFormat, VideoMeta};

use crate::{events, frame_meta, lock::lock};
use wire::{Record, Region, VideoLayout};

/// Custom meta types stay in a process for its lifetime. A writer cannot make a reader register more than this.
const MAX_NEW_CUSTOM_TYPES: usize = 256;

/// The layout of the last picture, and its record: most pictures of a stream have the same one.
#[derive(Debug, Default)]
pub struct LastLayout(Option<KnownLayout>);

#[derive(Debug)]
struct KnownLayout {
    format: VideoFormat,
    layout: VideoLayout,
    bytes: Vec<u8>,
}

impl LastLayout {
    fn encode(&mut self, meta: &VideoMeta, out: &mut Vec<u8>) {
        // Formats have names only in the record: comparing those takes longer than all the rest.
        let known = self.0.take().filter(|last| last.format == meta.format() && layout::is_of(&last.layout, meta));
        let last = self.0.insert(known.unwrap_or_else(|| KnownLayout::of(meta)));
        out.extend_from_slice(&last.bytes);
    }
}

impl KnownLayout {
    #[cold]
    fn of(meta: &VideoMeta) -> Self {
        let (layout, mut bytes) = (layout::of(meta), Vec::new());
        wire::encode(&Record::Video(layout.clone()), &mut bytes);
        Self { format: meta.format(), layout, bytes }
    }
}

/// What the metas of a buffer say that is for no reader.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// How many are of a kind that does not pass.
    pub unknown: u32,
    /// The frame that the buffer came as, if it came from a channel.
    pub origin: Option<FrameId>,
}

/// Appends the metas of `buffer` to `out`.
pub fn collect(buffer: &gst::BufferRef, last: &mut LastLayout, out: &mut Vec<u8>) -> Beside {
    let mut beside = Beside::default();
    // First, so that readers that look for strides only need not read on.
    if let Some(meta) = buffer.meta::<VideoMeta>() {
        last.encode(&meta, out);
    }
    buffer.foreach_meta(|meta| {
        match record_of(&meta) {
            Passes::Yes(record) => wire::encode(&record, out),
            Passes::NotNeeded => {}
            Passes::Origin(origin) => beside.origin = beside.origin.or(origin),
            Passes::No => beside.unknown += 1,
        }
        ControlFlow::Continue(())
    });
    beside
}

/// Appends the decoding time of a frame that has no PTS, from which it would follow.
pub fn add_decoding_time(channel_time: i64, out: &mut Vec<u8>) {
    wire::encode(&Record::DecodingTime(channel_time), out);
}

/// Adds all metas but the video meta to `buffer` and returns how many could not be restored. `picture` has the size of the
/// buffer's picture, if it has one that is not encoded.
pub fn restore(records: &[Record], buffer: &mut gst::BufferRef, picture: Option<Size>) -> u32 {
    let failed = records.iter().filter(|record| !restore_one(record, buffer, picture)).count();
    u32::try_from(failed).unwrap_or(u32::MAX)
}

/// Of a picture, in pixels.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Across.
    pub width: u32,
    /// Down.
    pub height: u32,
}

impl Size {
    /// Does the rectangle, x, y, width and height, lie in a picture of this size?
    fn contains(self, [x, y, width, height]: [u32; 4]) -> bool {
        let ends_in = |from: u32, length: u32, all: u32| from.checked_add(length).is_some_and(|end| end <= all);
        ends_in(x, width, self.width) && ends_in(y, height, self.height)
    }
}

enum Passes {
    Yes(Record),
    NotNeeded,
    /// The reader of this channel gets a new one.
    Origin(Option<FrameId>),
    No,
}

fn record_of(meta: &gst::MetaRef<'_, gst::Meta>) -> Passes {
    if meta.downcast_ref::<VideoMeta>().is_some() {
        return Passes::NotNeeded;
    }
    record_of_another(meta)
}

#[inline(never)]
fn record_of_another(meta: &gst::MetaRef<'_, gst::Meta>) -> Passes {
    if let Some(region) = meta.downcast_ref::<gst_video::VideoRegionOfInterestMeta>() {
        let (x, y, w, h) = region.rect();
        return Passes::Yes(Record::Region(Region {
            rect: [x, y, w, h],
            id: region.id(),
            parent_id: region.parent_id(),
            kind: region.roi_type().to_string(),
            params: region.params().map(events::text_of).collect(),
        }));
    }
    if let Some(reference) = meta.downcast_ref::<gst::ReferenceTimestampMeta>() {
        return Passes::Yes(Record::Reference {
            timestamp: reference.timestamp().nseconds(),
            duration: reference.duration().map(gst::ClockTime::nseconds),
            caps: reference.reference().to_string(),
        });
    }
    if let Some(crop) = meta.downcast_ref::<gst_video::VideoCropMeta>() {
        let (x, y, width, height) = crop.rect();
        return Passes::Yes(Record::Crop([x, y, width, height]));
    }
    if let Some(caption) = meta.downcast_ref::<gst_video::VideoCaptionMeta>() {
        let kind = glib::translate::IntoGlib::into_glib(caption.caption_type());
        return Passes::Yes(Record::Caption { kind, data: caption.data().to_vec() });
    }
    if let Some(custom) = meta.try_as_custom_meta() {
        let structure = custom.structure();
        if structure.name() == frame_meta::NAME {
            return Passes::Origin(frame_meta::id_in(structure));
        }
        let tags = meta.tags().iter().map(|tag| tag.as_str().to_string()).collect();
        return Passes::Yes(Record::Custom {
            name: structure.name().to_string(),
            tags,
            structure: events::text_of(structure),
        });
    }
    if meta.downcast_ref::<gst::ParentBufferMeta>().is_some() {
        // Keeps other memory alive in the writing process; nothing that a reader could use.
        return Passes::NotNeeded;
    }
    Passes::No
}

fn restore_one(record: &Record, buffer: &mut gst::BufferRef, picture: Option<Size>) -> bool {
    match record {
        // Depends on the payload and on what downstream understands.
        Record::Video(_) => true,
        // A matter of time stamps.
        Record::DecodingTime(_) => true,
        Record::Region(region) => restore_region(region, buffer),
        Record::Reference { timestamp, duration, caps } => {
            let caps = events::parsable(caps.as_bytes()).and_then(|caps| gst::Caps::from_str(caps).ok());
            let Some(caps) = caps else { return false };
            let Some(timestamp) = defined(*timestamp) else { return false };
            gst::ReferenceTimestampMeta::add(buffer, &caps, timestamp, duration.and_then(defined));
            true
        }
        // Elements show or read what it says.
        Record::Crop(rect) if picture.is_some_and(|picture| !picture.contains(*rect)) => false,
        Record::Crop([x, y, width, height]) => {
            gst_video::VideoCropMeta::add(buffer, (*x, *y, *width, *height));
            true
        }
        Record::Caption { kind, data } => restore_caption(*kind, data, buffer),
        Record::Custom { name, tags, structure } => restore_custom(name, tags, structure, buffer),
    }
}

fn restore_region(region: &Region, buffer: &mut gst::BufferRef) -> bool {
    let params: Result<Vec<_>, _> = region.params.iter().map(|text| events::structure_of(text.as_bytes())).collect();
    let (Ok(params), false) = (params, region.kind.contains('\0')) else { return false };
    let [x, y, w, h] = region.rect;
    let mut meta = gst_video::VideoRegionOfInterestMeta::add(buffer, &region.kind, (x, y, w, h));
    meta.set_id(region.id);
    meta.set_parent_id(region.parent_id);
    params.into_iter().for_each(|structure| meta.add_param(structure));
    true
}

fn restore_caption(kind: i32, data: &[u8], buffer: &mut gst::BufferRef) -> bool {
    use gst_video::VideoCaptionType as Type;
    let known = [Type::Cea608Raw, Type::Cea608S3341a, Type::Cea708Raw, Type::Cea708Cdp];
    let Some(kind) = known.into_iter().find(|known| glib::translate::IntoGlib::into_glib(*known) == kind) else {
        return false;
    };
    if data.is_empty() {
        return false;
    }
    gst_video::VideoCaptionMeta::add(buffer, kind, data);
    true
}

fn restore_custom(name: &str, tags: &[String], structure: &str, buffer: &mut gst::BufferRef) -> bool {
    let Ok(structure) = events::structure_of(structure.as_bytes()) else { return false };
    if name == frame_meta::NAME || !ensure_custom_type(name, tags) {
        return false;
    }
    // Fails for the name of a meta that is not a custom one.
    let Ok(mut meta) = gst::meta::CustomMeta::add(buffer, name) else { return false };
    for (field, value) in structure.iter() {
        meta.mut_structure().set_value(field, value.clone());
    }
    true
}

/// Registers the custom meta `name` unless it is registered already. False when it cannot be.
fn ensure_custom_type(name: &str, tags: &[String]) -> bool {
    static REGISTERED: OnceLock<Mutex<usize>> = OnceLock::new();
    // Two elements may meet the same new name at the same time.
    let mut registered = lock(REGISTERED.get_or_init(Mutex::default));
    if is_type_name(name) && gst::meta::CustomMeta::is_registered(name) {
        return true;
    }
    // GLib shouts at names that it does not like or knows already; these come from another process.
    let free = |name: &str| glib::Type::from_name(name).is_none();
    if *registered >= MAX_NEW_CUSTOM_TYPES
        || !is_type_name(name)
        || !free(name)
        || !free(&format!("{name}-api"))
        || tags.iter().any(|tag| tag.contains('\0'))
    {
        return false;
    }
    *registered += 1;
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    gst::meta::CustomMeta::register(name, &tags);
    gst::meta::CustomMeta::is_registered(name)
}

/// What GLib accepts as the name of a type, and not longer than anybody would want.
fn is_type_name(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "-_+".contains(c);
    (3..=128).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(part)
}

fn defined(ns: u64) -> Option<gst::ClockTime> {
    gst::ClockTime::try_from(ns).ok().filter(|time| time.nseconds() != u64::MAX)
}

/// The video meta among `records`.
pub fn video(records: &[Record]) -> Option<&VideoLayout> {
    records.iter().find_map(|record| match record {
        Record::Video(layout) => Some(layout),
        _ => None,
    })
}

/// The decoding time among `records`.
pub fn decoding_time(records: &[Record]) -> Option<i64> {
    records.iter().find_map(|record| match record {
        Record::DecodingTime(time) => Some(*time),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(buffer: &gst::BufferRef) -> gst::Buffer {
        let mut bytes = Vec::new();
        assert_eq!(collect(buffer, &mut LastLayout::default(), &mut bytes), Beside::default());
        let records = wire::decode(&bytes).expect("what was encoded decodes");
        let mut copy = gst::Buffer::new();
        assert_eq!(restore(&records, copy.get_mut().expect("new"), None), 0);
        copy
    }

    #[test]
    fn regions_of_interest_keep_ids_and_parameters() {
        gst::init().expect("GStreamer starts");
        let mut buffer = gst::Buffer::new();
        let param =
            gst::Structure::builder("detection").field("confidence", 0.25f64).field("label", "a; b, \"c\"").build();
        {
            let mut meta =
                gst_video::VideoRegionOfInterestMeta::add(buffer.get_mut().expect("new"), "person", (1, 2, 3, 4));
            meta.set_id(9);
            meta.set_parent_id(8);
            meta.add_param(param.clone());
        }
        let copy = carried(&buffer);
        let meta = copy.meta::<gst_video::VideoRegionOfInterestMeta>().expect("carried");
        assert_eq!((meta.rect(), meta.id(), meta.parent_id(), meta.roi_type()), ((1, 2, 3, 4), 9, 8, "person"));
        assert_eq!(meta.params().collect::<Vec<_>>(), vec![param.as_ref()]);
    }

    #[test]
    fn the_record_of_a_layout_is_that_of_this_picture_and_not_of_the_last_one() {
        gst::init().expect("GStreamer starts");
        let mut last = LastLayout::default();
        let picture = |width: u32, stride: i32, flags: gst_video::VideoFrameFlags| {
            let mut buffer = gst::Buffer::with_size(4096).expect("memory");
            let format = VideoFormat::Nv12;
            let offsets = [0, stride as usize * 16];
            VideoMeta::add_full(buffer.get_mut().expect("new"), flags, format, width, 16, &offsets, &[stride; 2])
                .expect("fits");
            buffer
        };
        let (usual, field) = (gst_video::VideoFrameFlags::empty(), gst_video::VideoFrameFlags::INTERLACED);
        for (width, stride, flags) in
            [(64, 64, usual), (64, 64, usual), (64, 80, usual), (60, 80, usual), (60, 80, field)]
        {
            let buffer = picture(width, stride, flags);
            let (mut remembered, mut anew) = (Vec::new(), Vec::new());
            collect(&buffer, &mut last, &mut remembered);
            collect(&buffer, &mut LastLayout::default(), &mut anew);
            assert_eq!(remembered, anew);
            let meta = buffer.meta::<VideoMeta>().expect("it was added");
            assert_eq!(video(&wire::decode(&remembered).expect("well formed")), Some(&layout::of(&meta)));
        }
    }

    #[test]
    fn several_reference_timestamps_pass() {
        gst::init().expect("GStreamer starts");
        let mut buffer = gst::Buffer::new();
        for (name, ns) in [("timestamp/x-ntp", 7), ("timestamp/x-unix", 8)] {
            let caps = gst::Caps::builder(name).build();
            let time = gst::ClockTime::from_nseconds(ns);
            gst::ReferenceTimestampMeta::add(buffer.get_mut().expect("new"), &caps, time, gst::ClockTime::NONE);
        }
        let copy = carried(&buffer);
        let times: Vec<_> = copy.iter_meta::<gst::ReferenceTimestampMeta>().map(|m| m.timestamp().nseconds()).collect();
        assert_eq!(times, [7, 8]);
    }

    #[test]
    fn one_megabyte_in_a_custom_meta_passes() {
        gst::init().expect("GStreamer starts");
        gst::meta::CustomMeta::register("valkka-test-large", &["video"]);
        let payload: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let mut buffer = gst::Buffer::new();
        gst::meta::CustomMeta::add(buffer.get_mut().expect("new"), "valkka-test-large")
            .expect("registered")
            .mut_structure()
            .set("payload", gst::Buffer::from_slice(payload.clone()));
        let copy = carried(&buffer);
        let meta = gst::meta::CustomMeta::from_buffer(&copy, "valkka-test-large").expect("carried");
        let arrived = meta.structure().get::<gst::Buffer>("payload").expect("payload is there");
        assert!(*arrived.map_readable().expect("maps") == payload[..]);
    }

    #[test]
    fn custom_meta_of_another_process_is_registered_on_arrival() {
        gst::init().expect("GStreamer starts");
        let record = Record::Custom {
            name: "valkka-test-unheard-of".into(),
            tags: vec!["video".into()],
            structure: "valkka-test-unheard-of, n=(int)5;".into(),
        };
        let mut buffer = gst::Buffer::new();
        assert_eq!(restore(&[record], buffer.get_mut().expect("new"), None), 0);
        let meta = gst::meta::CustomMeta::from_buffer(&buffer, "valkka-test-unheard-of").expect("registered and added");
        assert_eq!(meta.structure().get::<i32>("n"), Ok(5));
    }

    #[test]
    fn names_that_are_no_custom_metas_are_refused_quietly() {
        gst::init().expect("GStreamer starts");
        for name in ["GstVideoMeta", "gint", "a b c", "", "x\0y", "../..", frame_meta::NAME] {
            let record = Record::Custom { name: name.into(), tags: vec![], structure: "s;".into() };
            let mut buffer = gst::Buffer::new();
            assert_eq!(restore(&[record], buffer.get_mut().expect("new"), None), 1, "{name:?}");
        }
    }

    #[test]
    fn broken_values_are_counted_and_the_rest_arrives() {
        gst::init().expect("GStreamer starts");
        let records = [
            Record::Region(Region { params: vec!["= = =".into()], ..Default::default() }),
            Record::Reference { timestamp: u64::MAX, duration: None, caps: "a/b".into() },
            Record::Caption { kind: 99, data: vec![1] },
            Record::Crop([1, 2, 3, 4]),
        ];
        let mut buffer = gst::Buffer::new();
        assert_eq!(restore(&records, buffer.get_mut().expect("new"), None), 3);
        assert_eq!(buffer.meta::<gst_video::VideoCropMeta>().expect("arrived").rect(), (1, 2, 3, 4));
    }

    #[test]
    fn crops_lie_in_the_picture_or_are_refused() {
        gst::init().expect("GStreamer starts");
        let picture = Size { width: 8, height: 6 };
        let restored = |rect, picture| {
            let mut buffer = gst::Buffer::new();
            restore(&[Record::Crop(rect)], buffer.get_mut().expect("new"), picture) == 0
        };
        for right in [[0, 0, 8, 6], [7, 5, 1, 1], [2, 2, 3, 3]] {
            assert!(restored(right, Some(picture)), "{right:?}");
        }
        for wrong in [[1, 0, 8, 6], [0, 1, 8, 6], [9, 0, 0, 0], [u32::MAX, 0, 2, 2], [0, 0, u32::MAX, 1]] {
            assert!(!restored(wrong, Some(picture)), "{wrong:?}");
            assert!(restored(wrong, None), "an encoded picture may have any size");
        }
    }
}

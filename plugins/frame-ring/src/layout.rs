//! What lies where in shared memory: fixed sizes, little endian, asserted. `docs/protocol.md` draws it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::frame::FrameInfo;
use crate::queue::Returned;

/// First bytes of the frames memory: "VALKKAFR".
pub(crate) const FRAMES_MAGIC: u64 = u64::from_le_bytes(*b"VALKKAFR");
/// First bytes of a port: "VALKKAPO".
pub(crate) const PORT_MAGIC: u64 = u64::from_le_bytes(*b"VALKKAPO");
/// Version of the two memories.
pub(crate) const LAYOUT_VERSION: u32 = 1;
/// Slots begin on a page, so that planes are aligned for any hardware.
pub(crate) const PAGE: u64 = 4096;
/// Most slots that a generation may have.
pub(crate) const MAX_SLOTS: u32 = 2048;
/// Largest slot: a sanity limit of 1 GiB.
pub(crate) const MAX_SLOT_SIZE: u64 = 1 << 30;
/// Deepest queue.
pub(crate) const MAX_DEPTH: u32 = 1024;

/// Bytes of a slot's header with the metas in it.
pub(crate) const SLOT_HEADER_SIZE: u64 = 1024;
/// Bytes for metas beside the fixed part of a slot's header.
pub(crate) const INLINE_METAS: usize = SLOT_HEADER_SIZE as usize - size_of::<SlotHeader>();

/// At offset 0 of the frames memory. Written before it is shared, but for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct FramesHeader {
    pub magic: u64,
    pub version: u32,
    pub slot_count: u32,
    pub slot_size: u64,
    pub generation: u64,
    pub writer_pid: u32,
    pub reserved: u32,
}

/// Offsets of the counters in the frames memory, each a u64 that the writer stores and anybody may load.
pub(crate) const FRAMES_PUBLISHED: usize = 128;
/// CLOCK_MONOTONIC of the last publishing, or of the beginning.
pub(crate) const FRAMES_HEARTBEAT: usize = 136;

/// Before each frame, at `PAGE + slot * SLOT_HEADER_SIZE`; what is left of the 1024 bytes is for metas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SlotHeader {
    pub seq: u64,
    pub length: u64,
    pub time: i64,
    pub dts_offset: i64,
    pub duration: u64,
    pub published: i64,
    pub utc_offset: i64,
    pub metas_length: u64,
    pub flags: u32,
    pub present: u32,
    pub serial: u32,
    pub checksum: u32,
    pub reserved: [u64; 2],
}

const _: () = {
    assert!(size_of::<FramesHeader>() == 40);
    assert!(size_of::<SlotHeader>() == 96);
    assert!(FRAMES_PUBLISHED >= size_of::<FramesHeader>());
    assert!(FRAMES_PUBLISHED.is_multiple_of(8) && FRAMES_HEARTBEAT.is_multiple_of(8));
    assert!(FRAMES_HEARTBEAT + 8 <= PAGE as usize);
};

/// Bits of [`SlotHeader::present`].
pub(crate) mod present {
    pub const TIME: u32 = 1;
    pub const DTS: u32 = 2;
    pub const DURATION: u32 = 4;
    pub const DELTA: u32 = 8;
    pub const CHECKSUM: u32 = 16;
    /// The metas follow the payload instead of the header.
    pub const METAS_BEHIND: u32 = 32;
}

impl SlotHeader {
    pub fn set_info(&mut self, info: &FrameInfo) {
        let bit = |is: bool, bit: u32| if is { bit } else { 0 };
        self.time = info.time.unwrap_or_default();
        self.dts_offset = info.dts_offset.unwrap_or_default();
        self.duration = info.duration.unwrap_or_default();
        self.flags = info.flags;
        self.present |= bit(info.time.is_some(), present::TIME)
            | bit(info.dts_offset.is_some(), present::DTS)
            | bit(info.duration.is_some(), present::DURATION)
            | bit(info.delta, present::DELTA);
    }

    pub fn info(&self) -> FrameInfo {
        FrameInfo {
            time: self.has(present::TIME).then_some(self.time),
            dts_offset: self.has(present::DTS).then_some(self.dts_offset),
            duration: self.has(present::DURATION).then_some(self.duration),
            delta: self.has(present::DELTA),
            flags: self.flags,
        }
    }

    pub fn has(&self, bit: u32) -> bool {
        self.present & bit != 0
    }
}

/// How large the frames memory of one generation is, and where its slots are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FramesGeometry {
    pub generation: u64,
    pub slot_count: u32,
    /// A multiple of the page size.
    pub slot_size: u64,
}

impl FramesGeometry {
    /// Checked: the numbers may come from the other side.
    pub fn new(generation: u64, slot_count: u32, slot_size: u64) -> Option<Self> {
        let valid = (1..=MAX_SLOTS).contains(&slot_count)
            && (PAGE..=MAX_SLOT_SIZE).contains(&slot_size)
            && slot_size.is_multiple_of(PAGE);
        valid.then_some(Self { generation, slot_count, slot_size })
    }

    /// The slot size for payloads of `bytes`.
    pub fn slot_size_for(bytes: u64) -> u64 {
        bytes.max(1).next_multiple_of(PAGE)
    }

    pub fn header_offset(&self, slot: u32) -> usize {
        (PAGE + u64::from(slot) * SLOT_HEADER_SIZE) as usize
    }

    pub fn slot_offset(&self, slot: u32) -> usize {
        (self.slots_begin() + u64::from(slot) * self.slot_size) as usize
    }

    fn slots_begin(&self) -> u64 {
        (PAGE + u64::from(self.slot_count) * SLOT_HEADER_SIZE).next_multiple_of(PAGE)
    }

    /// Bytes of the whole memory.
    pub fn length(&self) -> u64 {
        self.slots_begin() + u64::from(self.slot_count) * self.slot_size
    }
}

/// At offset 0 of a port. Written before it is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct PortHeader {
    pub magic: u64,
    pub version: u32,
    pub reader: u32,
    pub generation: u64,
    pub depth: u32,
    pub slot_count: u32,
}

const _: () = assert!(size_of::<PortHeader>() == 32);

/// Offsets in a port. What different sides write is 128 bytes apart: cache lines are fetched in pairs.
pub(crate) mod port {
    pub const HEAD: usize = 128;
    pub const TAIL: usize = 256;
    /// u32: the reader sleeps.
    pub const SLEEPING: usize = 384;
    /// u32: the writer waits for this reader.
    pub const WRITER_WAITS: usize = 512;
    /// Counters of the reader, u64 each: claims, for display only.
    pub const COPIED_ON_HOLD: usize = 640;
    pub const LATENCY_LAST: usize = 648;
    pub const LATENCY_MAX: usize = 656;
    /// u64 words: the returned set, and behind it the queue's entries.
    pub const RETURNED: usize = 768;
}

/// How large a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortGeometry {
    pub depth: u32,
    pub slot_count: u32,
}

impl PortGeometry {
    /// Checked: the numbers may come from the other side.
    pub fn new(depth: u32, slot_count: u32) -> Option<Self> {
        ((1..=MAX_DEPTH).contains(&depth) && (1..=MAX_SLOTS).contains(&slot_count))
            .then_some(Self { depth, slot_count })
    }

    pub fn returned_words(&self) -> usize {
        Returned::words(self.slot_count)
    }

    pub fn entries_offset(&self) -> usize {
        (port::RETURNED + self.returned_words() * 8).next_multiple_of(128)
    }

    pub fn entries(&self) -> usize {
        self.depth as usize + 1
    }

    /// Bytes of the whole memory.
    pub fn length(&self) -> u64 {
        ((self.entries_offset() + self.entries() * 8) as u64).next_multiple_of(PAGE)
    }
}

/// A queue entry: the slot, and the low half of the sequence number to tell a stale one.
pub(crate) fn entry_word(slot: u32, seq: u64) -> u64 {
    u64::from(slot) | (seq << 32)
}

/// The slot and the low half of the sequence number.
pub(crate) fn entry_parts(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_frames_memory_do_not_overlap() {
        let geometry = FramesGeometry::new(1, 11, 8192).unwrap();
        assert!(geometry.header_offset(0) >= FRAMES_HEARTBEAT + 8);
        assert!(geometry.header_offset(10) + SLOT_HEADER_SIZE as usize <= geometry.slot_offset(0));
        assert!(geometry.slot_offset(0).is_multiple_of(PAGE as usize));
        assert_eq!(geometry.slot_offset(10) as u64 + 8192, geometry.length());
    }

    #[test]
    fn impossible_geometry_is_refused() {
        for (count, size) in
            [(0, 4096), (MAX_SLOTS + 1, 4096), (1, 0), (1, 4097), (1, u64::MAX), (1, MAX_SLOT_SIZE + PAGE)]
        {
            assert_eq!(FramesGeometry::new(1, count, size), None, "{count} {size}");
        }
        assert_eq!(PortGeometry::new(0, 1), None);
        assert_eq!(PortGeometry::new(u32::MAX, 1), None);
        assert_eq!(PortGeometry::new(1, u32::MAX), None);
    }

    #[test]
    fn info_survives_the_header() {
        let info = FrameInfo { time: Some(-5), dts_offset: None, duration: Some(40), delta: true, flags: 0x40 };
        let mut header = SlotHeader::default();
        header.set_info(&info);
        assert_eq!(header.info(), info);
    }
}

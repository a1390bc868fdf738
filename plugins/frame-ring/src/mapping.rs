//! Shared memory: made, sealed, checked, mapped. The only module with `unsafe` in it.
//!
//! Three views, each safe outside:
//! - [`WriterFrames`]: the writer's frames, readable and writable. A [`Lease`] is exclusive access to one slot's bytes.
//! - [`ReaderFrames`]: a reader's view of them, which the kernel makes read-only. Headers are copied out once.
//! - [`Port`]: what one reader shares with the writer. Only atomics; every value is a claim of the other side.
//!
//! Two rules carry the soundness, and both are the protocol's (DESIGN: "What must always hold"): a writer never writes to a slot
//! that a reader holds, and memory is sealed against shrinking before anybody maps it, so that no access can fault. A writer of ours
//! keeps the first by its ledger of loans; that a *foreign* writer keeps it cannot be proved, as with any shared mapping: a frame
//! may be proved whole by its checksum.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::process::{Resource, getrlimit};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::layout::{
    FRAMES_HEARTBEAT, FRAMES_MAGIC, FRAMES_PUBLISHED, FramesGeometry, FramesHeader, INLINE_METAS, LAYOUT_VERSION, PAGE,
    PORT_MAGIC, PortGeometry, PortHeader, SlotHeader, port,
};
use crate::queue::{Doorbell, Queue, Returned};

/// Memory that cannot be had, or is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The kernel does not give that much.
    #[error(
        "cannot have {bytes} bytes of shared memory ({doing}: {source}); lower the writer's `max-readers` and `slots`, the readers' \
         `queue-size` and `max-held` or the size of the frames, or raise the limit (ulimit -v, container memory)"
    )]
    Unavailable {
        /// How many bytes were asked for.
        bytes: u64,
        /// Which step failed.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A frame larger than any slot may be.
    #[error("a frame of {bytes} bytes is more than a slot may have ({limit} bytes)")]
    FrameTooLarge {
        /// Its size with its metas.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Received memory that is not sealed, too small, or of another kind.
    #[error("the memory that the writer sent cannot be trusted: {0}")]
    Untrusted(&'static str),
}

fn unavailable(bytes: u64, doing: &'static str) -> impl FnOnce(io::Error) -> MemoryError {
    move |source| MemoryError::Unavailable { bytes, doing, source }
}

/// Makes anonymous memory of `length` bytes: sparse, without a name anywhere, gone with its last descriptor and mapping.
fn create(name: &str, length: u64) -> Result<OwnedFd, MemoryError> {
    // Beyond this limit the kernel would not only refuse but end the process by SIGXFSZ.
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < length) {
        let source = io::Error::from(rustix::io::Errno::FBIG);
        return Err(MemoryError::Unavailable { bytes: length, doing: "file size limit, ulimit -f", source });
    }
    let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|e| unavailable(length, "memfd_create")(e.into()))?;
    ftruncate(&memory, length).map_err(|e| unavailable(length, "ftruncate")(e.into()))?;
    Ok(memory)
}

fn map(memory: BorrowedFd<'_>, length: u64, writable: bool) -> Result<MmapRaw, MemoryError> {
    let mut options = MmapOptions::new();
    options.len(length as usize);
    let descriptor = memory.as_raw_fd();
    let mapped = if writable { options.map_raw(descriptor) } else { options.map_raw_read_only(descriptor) };
    let mapped = mapped.map_err(unavailable(length, "mmap"))?;
    // Video does not belong in core dumps. A kernel that cannot do it does no harm.
    let _ = mapped.advise(Advice::DontDump);
    Ok(mapped)
}

/// Is received memory safe to map: large enough, and unable to shrink?
fn check_received(memory: BorrowedFd<'_>, length: u64, must_be_read_only: bool) -> Result<(), MemoryError> {
    let seals = fcntl_get_seals(memory).map_err(|_| MemoryError::Untrusted("it is no sealable memory"))?;
    if !seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL) {
        return Err(MemoryError::Untrusted("it is not sealed against a change of size"));
    }
    if seals.intersects(SealFlags::FUTURE_WRITE | SealFlags::WRITE) != must_be_read_only {
        let why = if must_be_read_only { "it is not sealed against writing" } else { "it is sealed against writing" };
        return Err(MemoryError::Untrusted(why));
    }
    let stat = fstat(memory).map_err(|_| MemoryError::Untrusted("its size cannot be told"))?;
    if u64::try_from(stat.st_size).unwrap_or_default() < length {
        return Err(MemoryError::Untrusted("it is smaller than announced"));
    }
    Ok(())
}

/// Copies `size_of::<T>()` bytes at `offset` out of the mapping, once.
fn read_struct<T: FromBytes + IntoBytes + FromZeros>(map: &MmapRaw, offset: usize) -> T {
    assert!(offset + size_of::<T>() <= map.len(), "the layout keeps structs inside of the memory");
    let mut value = T::new_zeroed();
    // SAFETY: in bounds (asserted); the mapping lives as long as `map`.
    let source = unsafe { map.as_ptr().add(offset) };
    // SAFETY: source is valid for that many bytes, `value` is ours alone, and T takes any bytes (FromBytes). The writer may store at the
    // same time only if it breaks the protocol; the copy is then of mixed bytes, and checked before use like any other.
    unsafe { std::ptr::copy_nonoverlapping(source, value.as_mut_bytes().as_mut_ptr(), size_of::<T>()) };
    value
}

fn write_bytes(map: &MmapRaw, offset: usize, bytes: &[u8]) {
    assert!(offset + bytes.len() <= map.len(), "the layout keeps structs inside of the memory");
    // SAFETY: in bounds (asserted); the mapping lives as long as `map`.
    let target = unsafe { map.as_mut_ptr().add(offset) };
    // SAFETY: target is valid for that many bytes and writable (callers hold a writer's mapping), and `bytes` is not in the mapping.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
}

fn slice(map: &MmapRaw, offset: usize, length: usize) -> &[u8] {
    assert!(offset.checked_add(length).is_some_and(|end| end <= map.len()), "the caller has checked the length");
    // SAFETY: in bounds (asserted).
    let start = unsafe { map.as_ptr().add(offset) };
    // SAFETY: valid for `length` bytes as long as `map`; nobody writes to a slot that is held (the module's first rule).
    unsafe { std::slice::from_raw_parts(start, length) }
}

fn atomic_u64s(map: &MmapRaw, offset: usize, count: usize) -> &[AtomicU64] {
    assert!(offset.is_multiple_of(8) && offset + count * 8 <= map.len(), "the layout aligns its atomics");
    // SAFETY: in bounds (asserted).
    let start = unsafe { map.as_ptr().add(offset) };
    // SAFETY: aligned (mappings begin on a page), in bounds, and accessed by atomics only, on both sides.
    unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), count) }
}

fn atomic_u32(map: &MmapRaw, offset: usize) -> &AtomicU32 {
    assert!(offset.is_multiple_of(4) && offset + 4 <= map.len(), "the layout aligns its atomics");
    // SAFETY: in bounds (asserted).
    let start = unsafe { map.as_mut_ptr().add(offset) };
    // SAFETY: aligned (mappings begin on a page), in bounds, and accessed by atomics only, on both sides.
    unsafe { AtomicU32::from_ptr(start.cast()) }
}

/// The frames of one generation, as their writer sees them.
pub(crate) struct WriterFrames {
    map: MmapRaw,
    memory: OwnedFd,
    geometry: FramesGeometry,
    /// One bit per slot: somebody has its [`Lease`].
    leased: Vec<AtomicU64>,
}

impl WriterFrames {
    /// Makes, maps and seals the memory. Nobody can map it writable again, not even this process.
    pub fn create(geometry: FramesGeometry) -> Result<Self, MemoryError> {
        let length = geometry.length();
        let memory = create("valkka-frames", length)?;
        let map = map(memory.as_fd(), length, true)?;
        let header = FramesHeader {
            magic: FRAMES_MAGIC,
            version: LAYOUT_VERSION,
            slot_count: geometry.slot_count,
            slot_size: geometry.slot_size,
            generation: geometry.generation,
            writer_pid: std::process::id(),
            reserved: 0,
        };
        write_bytes(&map, 0, header.as_bytes());
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        fcntl_add_seals(&memory, seals).map_err(|e| unavailable(length, "sealing (Linux 5.1 or newer)")(e.into()))?;
        let leased = (0..Returned::words(geometry.slot_count)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { map, memory, geometry, leased })
    }

    pub fn geometry(&self) -> FramesGeometry {
        self.geometry
    }

    /// What readers map.
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Fetches the memory of slots `from..to` and of their headers now, so that a shortage is an error here and not a signal later.
    pub fn populate(&self, from: u32, to: u32) -> Result<(), MemoryError> {
        if from >= to {
            return Ok(());
        }
        let page = PAGE as usize;
        let headers = (self.geometry.header_offset(from), self.geometry.header_offset(to));
        let slots = (self.geometry.slot_offset(from), self.geometry.slot_offset(to));
        for (begin, end) in [headers, slots] {
            let begin = begin / page * page;
            let length = end.next_multiple_of(page).min(self.map.len()) - begin;
            match self.map.advise_range(Advice::PopulateWrite, begin, length) {
                // Before Linux 5.14: reserve the pages at least.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                    rustix::fs::fallocate(
                        &self.memory,
                        rustix::fs::FallocateFlags::empty(),
                        begin as u64,
                        length as u64,
                    )
                    .map_err(|e| unavailable(length as u64, "fallocate")(e.into()))?;
                }
                other => other.map_err(unavailable(length as u64, "populating"))?,
            }
        }
        Ok(())
    }

    /// Exclusive access to a slot's bytes; None while somebody has it.
    pub fn lease(self: &Arc<Self>, slot: u32) -> Option<Lease> {
        assert!(slot < self.geometry.slot_count, "slots come from the writer's own ledger");
        let bit = 1 << (slot % 64);
        let taken = self.leased[slot as usize / 64].fetch_or(bit, Ordering::Acquire) & bit != 0;
        (!taken).then(|| Lease { frames: self.clone(), slot })
    }

    /// Which slot do these bytes lie in, from its first byte on?
    pub fn slot_of(&self, payload: &[u8]) -> Option<u32> {
        let base = self.map.as_ptr().addr() + self.geometry.slot_offset(0);
        let offset = payload.as_ptr().addr().checked_sub(base)? as u64;
        let slot = offset / self.geometry.slot_size;
        let starts_a_slot =
            offset.is_multiple_of(self.geometry.slot_size) && slot < u64::from(self.geometry.slot_count);
        (starts_a_slot && payload.len() as u64 <= self.geometry.slot_size).then_some(slot as u32)
    }

    /// Writes a frame's header, and its metas where the header says.
    ///
    /// The slot must be one that no reader holds and that has no lease in use for writing; the push into a queue publishes it.
    pub fn write_header(&self, slot: u32, header: &SlotHeader, metas: &[u8]) {
        let offset = self.geometry.header_offset(slot);
        write_bytes(&self.map, offset, header.as_bytes());
        if header.has(crate::layout::present::METAS_BEHIND) {
            write_bytes(&self.map, self.geometry.slot_offset(slot) + header.length as usize, metas);
        } else {
            assert!(metas.len() <= INLINE_METAS, "the writer has found room for the metas");
            write_bytes(&self.map, offset + size_of::<SlotHeader>(), metas);
        }
    }

    /// For whoever watches: so many frames, at that time.
    pub fn count(&self, published: u64, now: i64) {
        atomic_u64s(&self.map, FRAMES_PUBLISHED, 1)[0].store(published, Ordering::Relaxed);
        atomic_u64s(&self.map, FRAMES_HEARTBEAT, 1)[0].store(now as u64, Ordering::Relaxed);
    }
}

/// Exclusive access to the bytes of one slot, from any thread. Drop ends it.
pub(crate) struct Lease {
    frames: Arc<WriterFrames>,
    slot: u32,
}

impl Lease {
    pub fn slot(&self) -> u32 {
        self.slot
    }

    pub fn frames(&self) -> &Arc<WriterFrames> {
        &self.frames
    }

    fn range(&self) -> (usize, usize) {
        (self.frames.geometry.slot_offset(self.slot), self.frames.geometry.slot_size as usize)
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        let (offset, length) = self.range();
        slice(&self.frames.map, offset, length)
    }
}

impl AsMut<[u8]> for Lease {
    fn as_mut(&mut self) -> &mut [u8] {
        let (offset, length) = self.range();
        assert!(offset + length <= self.frames.map.len(), "the layout keeps slots inside of the memory");
        // SAFETY: in bounds (asserted).
        let start = unsafe { self.frames.map.as_mut_ptr().add(offset) };
        // SAFETY: valid and writable for `length` bytes as long as the mapping, which `self` keeps. A slot has one lease at a time (`leased`),
        // and `&mut self` makes this its only slice; readers do not look before the slot is published.
        unsafe { std::slice::from_raw_parts_mut(start, length) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `lease`: all writes are over.
        self.frames.leased[self.slot as usize / 64].fetch_and(!(1 << (self.slot % 64)), Ordering::Release);
    }
}

/// The frames of one generation, as a reader sees them: read-only, says the kernel.
pub(crate) struct ReaderFrames {
    map: MmapRaw,
    geometry: FramesGeometry,
}

impl ReaderFrames {
    /// Checks and maps what the writer sent.
    pub fn open(memory: BorrowedFd<'_>, geometry: FramesGeometry) -> Result<Self, MemoryError> {
        check_received(memory, geometry.length(), true)?;
        let map = map(memory, geometry.length(), false)?;
        let header: FramesHeader = read_struct(&map, 0);
        let agreed = (header.magic, header.version, header.slot_count, header.slot_size, header.generation)
            == (FRAMES_MAGIC, LAYOUT_VERSION, geometry.slot_count, geometry.slot_size, geometry.generation);
        agreed.then_some(Self { map, geometry }).ok_or(MemoryError::Untrusted("its header says something else"))
    }

    pub fn geometry(&self) -> FramesGeometry {
        self.geometry
    }

    /// A slot's header, copied out once. The slot must be in range.
    pub fn header(&self, slot: u32) -> SlotHeader {
        read_struct(&self.map, self.geometry.header_offset(slot))
    }

    /// The metas in a slot's header. `length` must not be more than [`INLINE_METAS`].
    pub fn inline_metas(&self, slot: u32, length: usize) -> &[u8] {
        assert!(length <= INLINE_METAS, "the caller has checked the length");
        slice(&self.map, self.geometry.header_offset(slot) + size_of::<SlotHeader>(), length)
    }

    /// Part of a slot. It must be inside of the slot.
    pub fn payload(&self, slot: u32, offset: usize, length: usize) -> &[u8] {
        assert!((offset + length) as u64 <= self.geometry.slot_size, "the caller has checked the length");
        slice(&self.map, self.geometry.slot_offset(slot) + offset, length)
    }

    /// The writer's counters: frames published, CLOCK_MONOTONIC of the last one.
    #[cfg(test)]
    pub fn counters(&self) -> (u64, i64) {
        let load = |offset| atomic_u64s(&self.map, offset, 1)[0].load(Ordering::Relaxed);
        (load(FRAMES_PUBLISHED), load(FRAMES_HEARTBEAT) as i64)
    }
}

/// What one reader shares with the writer. Both can write everything in it.
pub(crate) struct Port {
    map: MmapRaw,
    geometry: PortGeometry,
}

impl Port {
    /// Writer: makes the memory. The descriptor is for the reader.
    pub fn create(geometry: PortGeometry, reader: u32, generation: u64) -> Result<(Self, OwnedFd), MemoryError> {
        let length = geometry.length();
        let memory = create("valkka-port", length)?;
        let map = map(memory.as_fd(), length, true)?;
        map.advise(Advice::PopulateWrite).or_else(|_| {
            rustix::fs::fallocate(&memory, rustix::fs::FallocateFlags::empty(), 0, length)
                .map_err(|e| unavailable(length, "fallocate")(e.into()))
        })?;
        let header = PortHeader {
            magic: PORT_MAGIC,
            version: LAYOUT_VERSION,
            reader,
            generation,
            depth: geometry.depth,
            slot_count: geometry.slot_count,
        };
        write_bytes(&map, 0, header.as_bytes());
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(|e| unavailable(length, "sealing")(e.into()))?;
        Ok((Self { map, geometry }, memory))
    }

    /// Reader: checks and maps what the writer sent.
    pub fn open(memory: BorrowedFd<'_>, geometry: PortGeometry, generation: u64) -> Result<Self, MemoryError> {
        check_received(memory, geometry.length(), false)?;
        let map = map(memory, geometry.length(), true)?;
        let header: PortHeader = read_struct(&map, 0);
        let agreed = (header.magic, header.version, header.generation, header.depth, header.slot_count)
            == (PORT_MAGIC, LAYOUT_VERSION, generation, geometry.depth, geometry.slot_count);
        agreed.then_some(Self { map, geometry }).ok_or(MemoryError::Untrusted("the port's header says something else"))
    }

    pub fn queue(&self) -> Queue<'_> {
        Queue {
            head: &atomic_u64s(&self.map, port::HEAD, 1)[0],
            tail: &atomic_u64s(&self.map, port::TAIL, 1)[0],
            entries: atomic_u64s(&self.map, self.geometry.entries_offset(), self.geometry.entries()),
        }
    }

    pub fn returned(&self) -> Returned<'_> {
        Returned(atomic_u64s(&self.map, port::RETURNED, self.geometry.returned_words()))
    }

    /// The reader sleeps, the writer rings.
    pub fn ready(&self) -> Doorbell<'_> {
        Doorbell(atomic_u32(&self.map, port::SLEEPING))
    }

    /// The writer waits, the reader rings.
    pub fn attention(&self) -> Doorbell<'_> {
        Doorbell(atomic_u32(&self.map, port::WRITER_WAITS))
    }

    pub fn copied_on_hold(&self) -> &AtomicU64 {
        &atomic_u64s(&self.map, port::COPIED_ON_HOLD, 1)[0]
    }

    pub fn latency_last(&self) -> &AtomicU64 {
        &atomic_u64s(&self.map, port::LATENCY_LAST, 1)[0]
    }

    pub fn latency_max(&self) -> &AtomicU64 {
        &atomic_u64s(&self.map, port::LATENCY_MAX, 1)[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Arc<WriterFrames> {
        Arc::new(WriterFrames::create(FramesGeometry::new(7, 3, 8192).unwrap()).unwrap())
    }

    #[test]
    fn a_reader_can_map_frames_read_only_and_in_no_other_way() {
        let frames = frames();
        frames.populate(0, 3).unwrap();
        let length = frames.geometry().length() as usize;
        let writable = MmapOptions::new().len(length).map_raw(frames.memory().as_raw_fd());
        assert_eq!(writable.map(|_| ()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(ftruncate(frames.memory(), 0).is_err());
        assert!(rustix::io::pwrite(frames.memory(), b"x", 0).is_err());
        let reader = ReaderFrames::open(frames.memory(), frames.geometry()).unwrap();
        frames.lease(1).unwrap().as_mut().fill(9);
        assert_eq!(reader.payload(1, 0, 8192), [9; 8192]);
        frames.count(5, 77);
        assert_eq!(reader.counters(), (5, 77));
    }

    #[test]
    fn memory_that_may_shrink_is_not_mapped() {
        let geometry = FramesGeometry::new(7, 3, 8192).unwrap();
        let loose = create("loose", geometry.length()).unwrap();
        assert!(matches!(ReaderFrames::open(loose.as_fd(), geometry), Err(MemoryError::Untrusted(_))));
        let small = create("small", 4096).unwrap();
        fcntl_add_seals(&small, SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL)
            .unwrap();
        assert!(matches!(ReaderFrames::open(small.as_fd(), geometry), Err(MemoryError::Untrusted(_))));
        let pipe = rustix::pipe::pipe().unwrap().0;
        assert!(matches!(ReaderFrames::open(pipe.as_fd(), geometry), Err(MemoryError::Untrusted(_))));
    }

    #[test]
    fn a_slot_has_one_lease_at_a_time() {
        let frames = frames();
        let lease = frames.lease(2).unwrap();
        assert!(frames.lease(2).is_none());
        drop(lease);
        assert!(frames.lease(2).is_some());
    }

    #[test]
    fn own_memory_is_known_by_where_it_begins() {
        let frames = frames();
        let lease = frames.lease(1).unwrap();
        assert_eq!(frames.slot_of(lease.as_ref()), Some(1));
        assert_eq!(frames.slot_of(&lease.as_ref()[..10]), Some(1));
        assert_eq!(frames.slot_of(&lease.as_ref()[1..]), None);
        assert_eq!(frames.slot_of(&[0; 10]), None);
    }
}

//! Frames between processes: one writer, many readers, no copies, no daemon.
//!
//! A [`Writer`] publishes frames into a *channel*: sealed shared memory (memfd) whose slots hold one frame each. Every [`Reader`] has a
//! *port* of its own, which it shares with the writer and nobody else: a queue of slot numbers, the set of slots that it has given back, a
//! doorbell (eventfd). Everything that is not a frame goes over its *line*, a socket.
//!
//! # What is important
//!
//! * A frame never changes while a reader holds it, however long. What a reader holds is reserved for it (its budget), so that a reader
//!   that hoards takes nothing from another; above its limit it copies.
//! * A reader can neither stop, slow down nor crash the writer or another reader (unless it is [`Policy::Lossless`] and the writer allows
//!   that). The writer keeps its accounts in private memory; what the other side writes is a claim, checked once, then used.
//! * Everything has an end: readers and writers come, go, crash and come again in any order; a dead reader's slots come back, a dead
//!   writer's frames stay with those who hold them. Nothing has a name but the channel's socket.
//! * `published = taken + dropped + waiting`, for every reader, always, and every drop has a cause.
//! * Publishing to a reader that is awake is no system call, to one that sleeps one.
//!
//! There is no GStreamer in here. The elements `valkkashmsink` and `valkkashmsrc` bring channels to pipelines; a program that only looks
//! at frames needs no more than this crate. `docs/protocol.md` draws the memory and the messages.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use frame_ring::{
//!     Canceller, ChannelAddress, CloseReason, DetachReason, FrameInfo, InitialFrame, Item, Policy, Reader, ReaderOptions, ReaderStats,
//!     Reply, Writer, WriterEvents, WriterOptions, monotonic_now,
//! };
//!
//! struct Quiet;
//! impl WriterEvents for Quiet {
//!     fn reader_added(&self, _: &ReaderStats) {}
//!     fn reader_removed(&self, _: u32, _: &DetachReason) {}
//!     fn reader_slow(&self, _: u32, _: u64) {}
//!     fn reply(&self, _: u32, _: Reply) {}
//!     fn force_key_unit(&self, _: u32) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let address = ChannelAddress::socket(folder.path().join("lobby.rgb"))?;
//! let writer = Writer::open(
//!     WriterOptions { address: address.clone(), slots: 4, max_readers: 8, lossless_timeout: Duration::ZERO, checksum: true },
//!     Arc::new(Quiet),
//! )?;
//! let never = Canceller::new()?;
//! let mut slot = writer.copy_slot(6)?.expect("a slot is free");
//! slot.as_mut()[..6].copy_from_slice(b"pixels");
//! let info = FrameInfo { time: Some(monotonic_now()), ..FrameInfo::default() };
//! let id = writer.publish_copy(slot, 6, &info, b"", &never)?;
//!
//! // Usually in another process:
//! let options =
//!     ReaderOptions { address, policy: Policy::Latest, queue_size: 1, max_held: 2, initial: InitialFrame::Newest };
//! let mut reader = Reader::new(options)?;
//! let frame = loop {
//!     match reader.next()? {
//!         Some(Item::Frame(frame)) => break frame,
//!         Some(_) => {}
//!         None => drop(reader.wait(None)?),
//!     }
//! };
//! assert_eq!((frame.id(), frame.as_ref()), (id, &b"pixels"[..]));
//! writer.close(CloseReason::Restart);
//! assert_eq!(frame.as_ref(), b"pixels", "what is held stays");
//! # Ok(())
//! # }
//! ```

mod address;
mod cancel;
mod frame;
mod layout;
mod line;
mod mapping;
mod message;
mod queue;
mod reader;
mod socket;
mod sync;
mod writer;

pub use address::{AddressError, ChannelAddress, runtime_folder};
pub use cancel::{Cancelled, Canceller};
pub use frame::{
    FrameId, FrameInfo, InitialFrame, Integrity, MAX_REPLY, Policy, Reply, ReplyFormat, StateKind, monotonic_now,
    utc_offset_now,
};
pub use mapping::MemoryError;
pub use message::CloseReason;
pub use reader::{
    Attachment, Counters, Frame, Item, LineHandle, LostReason, ReadError, Reader, ReaderCounters, ReaderOptions,
    SendError, Woken,
};
pub use socket::OpenError;
pub use writer::{
    DetachReason, Dropped, MAX_READERS, PublishError, ReaderStats, SlotMut, Writer, WriterEvents, WriterOptions,
    WriterStats,
};

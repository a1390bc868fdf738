//! The catalogue of messages on a line: what they say, how they are written, how they are read. No I/O here.
//!
//! A message is one packet of a `SOCK_SEQPACKET` socket: a [`Head`], and behind it what the kind says. Parsing is a pure function that
//! returns a checked value or says what is wrong. Numbers are little endian. `docs/protocol.md` draws the ladders.
//!
//! | kind | from | says |
//! | --- | --- | --- |
//! | 1 attach | reader | which versions, policy and limits it wants |
//! | 2 reply | reader | an answer to a frame |
//! | 3 force-key-unit | reader | it needs a keyframe |
//! | 4 pause, 5 resume | reader | it wants no frames, it wants them again |
//! | 6 leave | reader | it takes no more frames; the line hangs up when it holds none any more |
//! | 16 attached | writer | version, reader id, granted limits |
//! | 17 refused | writer | why not, in words |
//! | 18 generation | writer | new memory: geometry, and four descriptors |
//! | 19 state | writer | sticky: caps, tags, latency |
//! | 20 event | writer | passes once |
//! | 21 eos | writer | the stream has ended |
//! | 22 closing | writer | it goes, and why |

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::frame::{FrameId, InitialFrame, MAX_REPLY, Policy, Reply, ReplyFormat, StateKind};
use crate::layout::{FramesGeometry, PortGeometry};

/// The protocol's versions that this code speaks.
pub(crate) const VERSIONS: std::ops::RangeInclusive<u16> = 1..=1;
/// First bytes of an attach: "VALKKA", so that a stray client is told so.
const ATTACH_MAGIC: [u8; 6] = *b"VALKKA";
/// Largest message, head included. Less than the least default send buffer of a socket.
pub(crate) const MAX_MESSAGE: usize = 160 * 1024;
/// Largest state or event.
pub(crate) const MAX_BODY: usize = 128 * 1024;
/// Descriptors that come with a generation: frames, port, ready, attention.
pub(crate) const GENERATION_DESCRIPTORS: usize = 4;

/// Before every message.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    kind: U16,
    reserved: U16,
    /// Bytes behind the head.
    length: U32,
    /// From the writer: how many frames it had published. What the message says holds behind those and before the next.
    after: U64,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AttachWire {
    magic: [u8; 6],
    /// 0: reader. Other roles are for channels that an orchestrator owns.
    role: U16,
    version_min: U16,
    version_max: U16,
    policy: U16,
    initial: U16,
    queue_size: U32,
    max_held: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AttachedWire {
    version: U16,
    reserved: U16,
    reader: U32,
    queue_size: U32,
    max_held: U32,
    writer_pid: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct GenerationWire {
    generation: U64,
    slot_size: U64,
    slot_count: U32,
    depth: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StateWire {
    serial: U32,
    kind: U16,
    reserved: U16,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReplyWire {
    generation: U64,
    seq: U64,
    format: U16,
    /// 1: generation and seq name a frame.
    has_frame: U16,
    reserved: U32,
}

const _: () = {
    assert!(size_of::<Head>() == 16);
    assert!(size_of::<AttachWire>() == 24);
    assert!(size_of::<AttachedWire>() == 20);
    assert!(size_of::<GenerationWire>() == 24);
    assert!(size_of::<StateWire>() == 8);
    assert!(size_of::<ReplyWire>() == 24);
    assert!(size_of::<Head>() + size_of::<ReplyWire>() + MAX_REPLY < MAX_MESSAGE);
    assert!(size_of::<Head>() + size_of::<StateWire>() + MAX_BODY < MAX_MESSAGE);
};

/// What a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attach {
    pub version_min: u16,
    pub version_max: u16,
    pub policy: Policy,
    pub initial: InitialFrame,
    pub queue_size: u32,
    pub max_held: u32,
}

/// What a writer grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached {
    pub version: u16,
    pub reader: u32,
    pub queue_size: u32,
    pub max_held: u32,
    pub writer_pid: u32,
}

/// Why a writer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// It stops or starts anew: wait for the next one.
    Restart,
    /// It cannot go on.
    Error,
    /// The writer has detached this reader: it did not keep up, or did not keep to the protocol.
    Detached,
}

/// From a reader to the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReaderMessage {
    Attach(Attach),
    Reply(Reply),
    ForceKeyUnit,
    Pause(bool),
    Leave,
    /// Of a newer version. It is passed over: a newer peer may say more than we know.
    Unknown(u16),
}

/// From the writer to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriterMessage {
    Attached(Attached),
    Refused(String),
    Generation {
        frames: FramesGeometry,
        port: PortGeometry,
    },
    State {
        serial: u32,
        kind: StateKind,
        bytes: Vec<u8>,
    },
    Event {
        kind: u16,
        bytes: Vec<u8>,
    },
    Eos,
    Closing {
        reason: CloseReason,
        text: String,
    },
    /// Of a newer version: passed over.
    Unknown(u16),
}

/// A message that breaks the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadMessage(pub &'static str);

mod kind {
    pub const ATTACH: u16 = 1;
    pub const REPLY: u16 = 2;
    pub const FORCE_KEY_UNIT: u16 = 3;
    pub const PAUSE: u16 = 4;
    pub const RESUME: u16 = 5;
    pub const LEAVE: u16 = 6;
    pub const ATTACHED: u16 = 16;
    pub const REFUSED: u16 = 17;
    pub const GENERATION: u16 = 18;
    pub const STATE: u16 = 19;
    pub const EVENT: u16 = 20;
    pub const EOS: u16 = 21;
    pub const CLOSING: u16 = 22;
}

fn packet(kind: u16, after: u64, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let head = Head { kind: kind.into(), reserved: 0.into(), length: (length as u32).into(), after: after.into() };
    let mut packet = Vec::with_capacity(size_of::<Head>() + length);
    packet.extend_from_slice(head.as_bytes());
    for part in parts {
        packet.extend_from_slice(part);
    }
    packet
}

/// Kind, `after`, and what is behind the head.
fn open(packet: &[u8]) -> Result<(u16, u64, &[u8]), BadMessage> {
    let (head, body) = Head::ref_from_prefix(packet).map_err(|_| BadMessage("a message without a whole head"))?;
    if head.length.get() as usize != body.len() {
        return Err(BadMessage("a message whose length is not the packet's"));
    }
    Ok((head.kind.get(), head.after.get(), body))
}

fn whole<T: FromBytes + KnownLayout + Immutable + Unaligned>(body: &[u8]) -> Result<&T, BadMessage> {
    // Longer is fine: a newer version appends.
    T::ref_from_prefix(body).map(|(value, _)| value).map_err(|_| BadMessage("a message that is too short"))
}

fn split<T: FromBytes + KnownLayout + Immutable + Unaligned>(body: &[u8]) -> Result<(&T, &[u8]), BadMessage> {
    T::ref_from_prefix(body).map_err(|_| BadMessage("a message that is too short"))
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(1024)]).into_owned()
}

impl ReaderMessage {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Attach(attach) => packet(kind::ATTACH, 0, &[AttachWire::from(attach).as_bytes()]),
            Self::Reply(reply) => {
                let wire = ReplyWire {
                    generation: reply.frame.map_or(0, |frame| frame.generation).into(),
                    seq: reply.frame.map_or(0, |frame| frame.seq).into(),
                    format: match reply.format {
                        ReplyFormat::Json => 0,
                        ReplyFormat::Structure => 1,
                    }
                    .into(),
                    has_frame: u16::from(reply.frame.is_some()).into(),
                    reserved: 0.into(),
                };
                packet(kind::REPLY, 0, &[wire.as_bytes(), &reply.payload])
            }
            Self::ForceKeyUnit => packet(kind::FORCE_KEY_UNIT, 0, &[]),
            Self::Pause(true) => packet(kind::PAUSE, 0, &[]),
            Self::Pause(false) => packet(kind::RESUME, 0, &[]),
            Self::Leave => packet(kind::LEAVE, 0, &[]),
            Self::Unknown(kind) => packet(*kind, 0, &[]),
        }
    }

    pub fn parse(packet: &[u8]) -> Result<Self, BadMessage> {
        let (kind, _, body) = open(packet)?;
        Ok(match kind {
            kind::ATTACH => Self::Attach(Attach::try_from(whole::<AttachWire>(body)?)?),
            kind::REPLY => {
                let (wire, payload) = split::<ReplyWire>(body)?;
                if payload.len() > MAX_REPLY {
                    return Err(BadMessage("a reply of more than 64 KiB"));
                }
                let frame = FrameId { generation: wire.generation.get(), seq: wire.seq.get() };
                Self::Reply(Reply {
                    frame: (wire.has_frame.get() == 1).then_some(frame),
                    format: match wire.format.get() {
                        0 => ReplyFormat::Json,
                        1 => ReplyFormat::Structure,
                        _ => return Err(BadMessage("a reply of an unknown format")),
                    },
                    payload: payload.to_vec(),
                })
            }
            kind::FORCE_KEY_UNIT => Self::ForceKeyUnit,
            kind::PAUSE => Self::Pause(true),
            kind::RESUME => Self::Pause(false),
            kind::LEAVE => Self::Leave,
            other => Self::Unknown(other),
        })
    }
}

impl From<&Attach> for AttachWire {
    fn from(attach: &Attach) -> Self {
        Self {
            magic: ATTACH_MAGIC,
            role: 0.into(),
            version_min: attach.version_min.into(),
            version_max: attach.version_max.into(),
            policy: match attach.policy {
                Policy::Latest => 0,
                Policy::Queue => 1,
                Policy::Lossless => 2,
            }
            .into(),
            initial: match attach.initial {
                InitialFrame::Newest => 0,
                InitialFrame::Next => 1,
            }
            .into(),
            queue_size: attach.queue_size.into(),
            max_held: attach.max_held.into(),
        }
    }
}

impl TryFrom<&AttachWire> for Attach {
    type Error = BadMessage;

    fn try_from(wire: &AttachWire) -> Result<Self, BadMessage> {
        if wire.magic != ATTACH_MAGIC {
            return Err(BadMessage("an attach without its magic: this is no reader of Valkka"));
        }
        if wire.role.get() != 0 {
            return Err(BadMessage("an attach in a role that a lone writer does not serve"));
        }
        Ok(Self {
            version_min: wire.version_min.get(),
            version_max: wire.version_max.get(),
            policy: match wire.policy.get() {
                0 => Policy::Latest,
                1 => Policy::Queue,
                2 => Policy::Lossless,
                _ => return Err(BadMessage("an attach with an unknown policy")),
            },
            initial: match wire.initial.get() {
                0 => InitialFrame::Newest,
                _ => InitialFrame::Next,
            },
            queue_size: wire.queue_size.get(),
            max_held: wire.max_held.get(),
        })
    }
}

impl WriterMessage {
    /// `after`: how many frames have been published.
    pub fn encode(&self, after: u64) -> Vec<u8> {
        match self {
            Self::Attached(attached) => {
                let wire = AttachedWire {
                    version: attached.version.into(),
                    reserved: 0.into(),
                    reader: attached.reader.into(),
                    queue_size: attached.queue_size.into(),
                    max_held: attached.max_held.into(),
                    writer_pid: attached.writer_pid.into(),
                };
                packet(kind::ATTACHED, after, &[wire.as_bytes()])
            }
            Self::Refused(reason) => packet(kind::REFUSED, after, &[reason.as_bytes()]),
            Self::Generation { frames, port } => {
                let wire = GenerationWire {
                    generation: frames.generation.into(),
                    slot_size: frames.slot_size.into(),
                    slot_count: frames.slot_count.into(),
                    depth: port.depth.into(),
                };
                packet(kind::GENERATION, after, &[wire.as_bytes()])
            }
            Self::State { serial, kind, bytes } => {
                let wire = StateWire { serial: (*serial).into(), kind: kind.0.into(), reserved: 0.into() };
                packet(kind::STATE, after, &[wire.as_bytes(), bytes])
            }
            Self::Event { kind, bytes } => packet(kind::EVENT, after, &[&kind.to_le_bytes(), bytes]),
            Self::Eos => packet(kind::EOS, after, &[]),
            Self::Closing { reason, text } => {
                let reason: u16 = match reason {
                    CloseReason::Restart => 0,
                    CloseReason::Error => 1,
                    CloseReason::Detached => 2,
                };
                packet(kind::CLOSING, after, &[&reason.to_le_bytes(), text.as_bytes()])
            }
            Self::Unknown(kind) => packet(*kind, after, &[]),
        }
    }

    /// The message, and how many frames were published before it.
    pub fn parse(packet: &[u8]) -> Result<(Self, u64), BadMessage> {
        let (kind, after, body) = open(packet)?;
        let message = match kind {
            kind::ATTACHED => {
                let wire = whole::<AttachedWire>(body)?;
                Self::Attached(Attached {
                    version: wire.version.get(),
                    reader: wire.reader.get(),
                    queue_size: wire.queue_size.get(),
                    max_held: wire.max_held.get(),
                    writer_pid: wire.writer_pid.get(),
                })
            }
            kind::REFUSED => Self::Refused(text(body)),
            kind::GENERATION => {
                let wire = whole::<GenerationWire>(body)?;
                let slots = wire.slot_count.get();
                let frames = FramesGeometry::new(wire.generation.get(), slots, wire.slot_size.get())
                    .ok_or(BadMessage("a generation of impossible size"))?;
                let port = PortGeometry::new(wire.depth.get(), slots).ok_or(BadMessage("a port of impossible size"))?;
                Self::Generation { frames, port }
            }
            kind::STATE => {
                let (wire, bytes) = split::<StateWire>(body)?;
                Self::State { serial: wire.serial.get(), kind: StateKind(wire.kind.get()), bytes: bytes.to_vec() }
            }
            kind::EVENT => {
                let (kind, bytes) = split::<U16>(body)?;
                Self::Event { kind: kind.get(), bytes: bytes.to_vec() }
            }
            kind::EOS => Self::Eos,
            kind::CLOSING => {
                let (reason, rest) = split::<U16>(body)?;
                let reason = match reason.get() {
                    0 => CloseReason::Restart,
                    2 => CloseReason::Detached,
                    // A reason of a newer version is no good news.
                    _ => CloseReason::Error,
                };
                Self::Closing { reason, text: text(rest) }
            }
            other => Self::Unknown(other),
        };
        Ok((message, after))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader_messages() -> Vec<ReaderMessage> {
        let reply = |frame, format| ReaderMessage::Reply(Reply { frame, format, payload: b"{}".to_vec() });
        vec![
            ReaderMessage::Attach(Attach {
                version_min: 1,
                version_max: 3,
                policy: Policy::Lossless,
                initial: InitialFrame::Next,
                queue_size: 7,
                max_held: 2,
            }),
            reply(Some(FrameId { generation: 1, seq: u64::MAX }), ReplyFormat::Json),
            reply(None, ReplyFormat::Structure),
            ReaderMessage::ForceKeyUnit,
            ReaderMessage::Pause(true),
            ReaderMessage::Pause(false),
            ReaderMessage::Leave,
            ReaderMessage::Unknown(999),
        ]
    }

    fn writer_messages() -> Vec<WriterMessage> {
        vec![
            WriterMessage::Attached(Attached { version: 1, reader: 4, queue_size: 1, max_held: 4, writer_pid: 77 }),
            WriterMessage::Refused("no".into()),
            WriterMessage::Generation {
                frames: FramesGeometry::new(9, 12, 8192).unwrap(),
                port: PortGeometry::new(3, 12).unwrap(),
            },
            WriterMessage::State { serial: 3, kind: StateKind::CAPS, bytes: b"video/x-raw".to_vec() },
            WriterMessage::Event { kind: 2, bytes: vec![0; 10] },
            WriterMessage::Eos,
            WriterMessage::Closing { reason: CloseReason::Restart, text: "bye".into() },
            WriterMessage::Unknown(1000),
        ]
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        for message in reader_messages() {
            assert_eq!(ReaderMessage::parse(&message.encode()), Ok(message));
        }
        for message in writer_messages() {
            assert_eq!(WriterMessage::parse(&message.encode(42)), Ok((message, 42)));
        }
    }

    #[test]
    fn every_truncation_is_an_error_and_no_panic() {
        for packet in reader_messages().iter().map(ReaderMessage::encode) {
            (0..packet.len()).for_each(|end| assert!(ReaderMessage::parse(&packet[..end]).is_err()));
        }
        for packet in writer_messages().iter().map(|message| message.encode(0)) {
            (0..packet.len()).for_each(|end| assert!(WriterMessage::parse(&packet[..end]).is_err()));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ReaderMessage::parse(&bytes);
            let _ = WriterMessage::parse(&bytes);
        }

        #[test]
        fn any_body_is_read_or_refused(kind in 0u16..30, body in prop::collection::vec(any::<u8>(), 0..100)) {
            let packet = packet(kind, 1, &[&body]);
            let _ = ReaderMessage::parse(&packet);
            let _ = WriterMessage::parse(&packet);
        }
    }
}

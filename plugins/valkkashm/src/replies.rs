//! Replies between GstStructures and the bytes on a reader's line.
//!
//! A reply is about a frame when it has the fields `generation` and `seq`, which stand in the frame's meta
//! `valkka-frame`. A structure with nothing else than a string field `json` travels as that JSON, so that programs
//! without GStreamer can read it, and theirs arrives here in the same way. Any other structure travels serialised.
//! `valkkashmsrc` encodes, `valkkashmsink` decodes; the sink adds the field `reader`.

use frame_ring::{FrameId, MAX_REPLY, Reply, ReplyFormat};

use crate::events::{self, EventError};

/// Name of the structure: of the upstream event at both elements, and of the sink's message.
pub const NAME: &str = "valkka-reply";

/// Why a reply cannot be sent or understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The protocol has a limit.
    #[error("a reply of {0} bytes is too long, {MAX_REPLY} are the limit")]
    TooLong(usize),
    /// The peer's payload is not what its format says.
    #[error("reply is not understood: {0}")]
    NotParsed(#[from] EventError),
    /// Text that is none.
    #[error("JSON reply is not UTF-8")]
    NotText,
}

/// The reply that `structure` says.
pub fn encode(structure: &gst::StructureRef) -> Result<Reply, ReplyError> {
    let frame = match (unsigned(structure, "generation"), unsigned(structure, "seq")) {
        (Some(generation), Some(seq)) => Some(FrameId { generation, seq }),
        _ => None,
    };
    let json = structure.get::<String>("json").ok();
    // A relay's reader has put its number there; the next one puts its own.
    let only_json = structure.fields().all(|field| matches!(field.as_str(), "json" | "generation" | "seq" | "reader"));
    let (format, payload) = match json {
        Some(json) if only_json => (ReplyFormat::Json, json.into_bytes()),
        _ => (ReplyFormat::Structure, events::text_of(structure).into_bytes()),
    };
    if payload.len() > MAX_REPLY {
        return Err(ReplyError::TooLong(payload.len()));
    }
    Ok(Reply { frame, format, payload })
}

/// What the writer's side shows of a reply of `reader`.
pub fn decode(reader: u32, reply: Reply) -> Result<gst::Structure, ReplyError> {
    let mut structure = match reply.format {
        ReplyFormat::Json => {
            let json = String::from_utf8(reply.payload).map_err(|_| ReplyError::NotText)?;
            if json.contains('\0') {
                return Err(ReplyError::NotText);
            }
            gst::Structure::builder(NAME).field("json", json).build()
        }
        ReplyFormat::Structure => {
            let mut structure = events::structure_of(&reply.payload)?;
            structure.set_name(NAME);
            structure
        }
    };
    // The line says whose reply it is; what the payload claims does not count.
    structure.set("reader", reader);
    structure.remove_fields(["generation", "seq"]);
    if let Some(frame) = reply.frame {
        structure.set("generation", frame.generation);
        structure.set("seq", frame.seq);
    }
    Ok(structure)
}

/// Bindings of dynamic languages make small integers of what was a guint64.
fn unsigned(structure: &gst::StructureRef, field: &str) -> Option<u64> {
    structure.get::<u64>(field).ok().or_else(|| {
        let signed = structure.get::<i64>(field).ok().or_else(|| structure.get::<i32>(field).ok().map(i64::from));
        signed.and_then(|n| u64::try_from(n).ok()).or_else(|| structure.get::<u32>(field).ok().map(u64::from))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: FrameId = FrameId { generation: 3, seq: 9 };

    #[test]
    fn json_arrives_as_json_with_the_frame_and_the_reader() {
        gst::init().expect("GStreamer starts");
        let json = r#"{"boxes":[[1,2,3,4]],"text":"é"}"#;
        let sent =
            gst::Structure::builder(NAME).field("json", json).field("generation", 3u64).field("seq", 9i32).build();
        let reply = encode(&sent).expect("fits");
        assert_eq!((reply.format, reply.frame, &reply.payload[..]), (ReplyFormat::Json, Some(FRAME), json.as_bytes()));
        let arrived = decode(5, reply).expect("is JSON");
        assert_eq!(arrived.name(), NAME);
        assert_eq!(arrived.get::<&str>("json"), Ok(json));
        assert_eq!(
            (arrived.get("reader"), arrived.get("generation"), arrived.get("seq")),
            (Ok(5u32), Ok(3u64), Ok(9u64))
        );
    }

    #[test]
    fn any_other_structure_arrives_as_it_was() {
        gst::init().expect("GStreamer starts");
        let sent = gst::Structure::builder(NAME).field("json", "1").field("n", 5i32).build();
        let reply = encode(&sent).expect("fits");
        assert_eq!((reply.format, reply.frame), (ReplyFormat::Structure, None));
        let arrived = decode(5, reply).expect("parses");
        assert_eq!((arrived.get("n"), arrived.get::<&str>("json")), (Ok(5i32), Ok("1")));
        assert!(!arrived.has_field("generation"));
    }

    #[test]
    fn payload_cannot_claim_another_reader_or_frame() {
        gst::init().expect("GStreamer starts");
        let payload = b"other-name, reader=(uint)1, generation=(guint64)7, seq=(guint64)7;".to_vec();
        let reply = Reply { frame: Some(FRAME), format: ReplyFormat::Structure, payload };
        let arrived = decode(5, reply).expect("parses");
        assert_eq!(arrived.name(), NAME);
        assert_eq!(
            (arrived.get("reader"), arrived.get("generation"), arrived.get("seq")),
            (Ok(5u32), Ok(3u64), Ok(9u64))
        );
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        gst::init().expect("GStreamer starts");
        let reply = |format, payload: &[u8]| Reply { frame: None, format, payload: payload.to_vec() };
        assert_eq!(decode(1, reply(ReplyFormat::Json, b"\xff")), Err(ReplyError::NotText));
        assert_eq!(decode(1, reply(ReplyFormat::Json, b"a\0b")), Err(ReplyError::NotText));
        assert!(decode(1, reply(ReplyFormat::Structure, b"= =")).is_err());
    }

    #[test]
    fn replies_have_a_limit() {
        gst::init().expect("GStreamer starts");
        let sent = |n| gst::Structure::builder(NAME).field("json", "x".repeat(n)).build();
        assert!(encode(&sent(MAX_REPLY)).is_ok());
        assert!(matches!(encode(&sent(MAX_REPLY + 1)), Err(ReplyError::TooLong(n)) if n == MAX_REPLY + 1));
    }
}

//! How messages lie on the socket: a length, and that many bytes of JSON.
//!
//! ```text
//!  ┌────────────────┬──────────────────────────┬────────────────┬────
//!  │ length: u32 LE │ JSON, `length` bytes      │ length         │ …
//!  └────────────────┴──────────────────────────┴────────────────┴────
//! ```
//!
//! A length of more than [`MAX_MESSAGE`] is an error that ends the conversation: what follows cannot be understood.

use std::io::{self, Read};

use crate::message::Message;

/// The longest message, in bytes of JSON.
pub const MAX_MESSAGE: usize = 1 << 20;

const LENGTH: usize = 4;
/// So much is asked of the socket at a time.
const CHUNK: usize = 64 * 1024;

/// What a peer has said that cannot be understood. The conversation is over then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is too long: at most {MAX_MESSAGE} are allowed")]
    TooLong(usize),
    /// Not text.
    #[error("a message is not UTF-8")]
    NotUtf8,
    /// Text, but not JSON, or with fields of other types.
    #[error("a message is not the JSON that was agreed: {0}")]
    NotJson(String),
    /// JSON, but no message.
    #[error("{0}")]
    Incomplete(&'static str),
}

/// A message as it goes to the socket.
pub fn encode(message: &Message) -> Result<Vec<u8>, ProtocolError> {
    let json = message.to_json();
    let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= MAX_MESSAGE);
    let length = length.ok_or(ProtocolError::TooLong(json.len()))?;
    let mut bytes = Vec::with_capacity(LENGTH + json.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

/// Cuts what comes from a socket into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Those before are done with.
    start: usize,
}

impl Decoder {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has been received. Take the messages out before the next: then no more than one is ever kept.
    pub fn push(&mut self, bytes: &[u8]) {
        self.forget_what_is_done();
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes what `from` has to offer at once; 0 at its end.
    pub fn read(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.forget_what_is_done();
        let before = self.bytes.len();
        self.bytes.resize(before + CHUNK, 0);
        let read = from.read(&mut self.bytes[before..]);
        self.bytes.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }

    /// The next whole message, if there is one.
    #[expect(clippy::should_implement_trait, reason = "more may come after None")]
    pub fn next(&mut self) -> Result<Option<Message>, ProtocolError> {
        let rest = &self.bytes[self.start..];
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_MESSAGE {
            return Err(ProtocolError::TooLong(length));
        }
        let Some(json) = rest.get(..length) else { return Ok(None) };
        let message = Message::from_json(json);
        self.start += LENGTH + length;
        message.map(Some)
    }

    fn forget_what_is_done(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
        // One long message is no reason to keep its room for ever.
        if self.bytes.is_empty() {
            self.bytes.shrink_to(2 * CHUNK);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Event;

    fn event(text: &str) -> Message {
        Message::Event(Event::new("said", text).unwrap())
    }

    /// All messages of `bytes`, which come in chunks of these sizes; `None` after an error.
    fn decode(bytes: &[u8], chunks: &[usize]) -> (Vec<String>, Option<ProtocolError>) {
        let (mut decoder, mut rest, mut messages) = (Decoder::new(), bytes, Vec::new());
        let mut chunks = chunks.iter().cycle();
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*chunks.next().unwrap_or(&1)).clamp(1, rest.len()));
            decoder.push(now);
            rest = later;
            loop {
                match decoder.next() {
                    Ok(Some(message)) => messages.push(String::from_utf8(message.to_json()).unwrap()),
                    Ok(None) => break,
                    Err(error) => return (messages, Some(error)),
                }
            }
        }
        (messages, None)
    }

    #[test]
    fn the_longest_message_passes_and_one_byte_more_does_not() {
        let frame = MAX_MESSAGE - event("").to_json().len();
        let bytes = encode(&event(&"x".repeat(frame))).unwrap();
        assert_eq!(decode(&bytes, &[CHUNK]).0.len(), 1);
        assert_eq!(encode(&event(&"x".repeat(frame + 1))), Err(ProtocolError::TooLong(MAX_MESSAGE + 1)));
        assert_eq!(decode(&u32::MAX.to_le_bytes(), &[4]).1, Some(ProtocolError::TooLong(u32::MAX as usize)));
    }

    proptest! {
        #[test]
        fn messages_arrive_whole_however_they_are_cut(texts in prop::collection::vec(".{0,300}", 0..8),
                                                      chunks in prop::collection::vec(1_usize..700, 1..6)) {
            let sent: Vec<_> = texts.iter().map(|text| event(text)).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|message| encode(message).unwrap()).collect();
            let (messages, error) = decode(&bytes, &chunks);
            prop_assert_eq!(error, None);
            let sent: Vec<_> = sent.iter().map(|message| String::from_utf8(message.to_json()).unwrap()).collect();
            prop_assert_eq!(messages, sent);
        }

        #[test]
        fn noise_is_refused_or_awaited_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..2000),
                                                        chunk in 1_usize..100) {
            decode(&bytes, &[chunk]);
        }

        #[test]
        fn framed_noise_is_refused(noise in "[\\[\\]{}\",:a-z0-9 \\\\\u{0}-\u{1f}é]{0,200}") {
            let mut bytes = (noise.len() as u32).to_le_bytes().to_vec();
            bytes.extend_from_slice(noise.as_bytes());
            let (messages, error) = decode(&bytes, &[64]);
            prop_assert!(messages.is_empty() == error.is_some());
        }
    }
}

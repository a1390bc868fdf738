//! Opus (RFC 6716): how long a packet lasts, and the dOps box ("Encapsulation of Opus in ISOBMFF", 4.3.2).

use super::Error;
use crate::mp4::write::{halves, put, words};

/// Opus counts in 48 kHz, whatever the sound was sampled at.
pub const RATE: u32 = 48_000;

/// A stream of Opus packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opus {
    /// In the decoded sound.
    pub channels: u8,
    /// Samples that a decoder leaves out at the start.
    pub pre_skip: u16,
    /// Of the source, for information.
    pub input_rate: u32,
    /// For the decoder to apply, in 1/256 dB.
    pub gain: i16,
    /// Channel mapping family, and for others than 0 the table.
    mapping: Vec<u8>,
}

impl Opus {
    /// One or two channels, of which nothing else is known.
    pub fn new(channels: u8, input_rate: u32) -> Self {
        Self { channels, pre_skip: 0, input_rate, gain: 0, mapping: vec![0] }
    }

    /// By an `OpusHead` (RFC 7845, 5.1), which is little-endian.
    pub fn by_head(head: &[u8]) -> Result<Self, Error> {
        let Some([version, channels, p0, p1, r0, r1, r2, r3, g0, g1, mapping @ ..]) = head.strip_prefix(b"OpusHead")
        else {
            return Err(Error::Configuration("OpusHead"));
        };
        let table = if mapping.first() == Some(&0) { 1 } else { 3 + usize::from(*channels) };
        let mapping = mapping.get(..table).filter(|_| version >> 4 == 0 && *channels > 0);
        Ok(Self {
            channels: *channels,
            pre_skip: u16::from_le_bytes([*p0, *p1]),
            input_rate: u32::from_le_bytes([*r0, *r1, *r2, *r3]),
            gain: i16::from_le_bytes([*g0, *g1]),
            mapping: mapping.ok_or(Error::Configuration("OpusHead"))?.to_vec(),
        })
    }

    /// Appends the box that sets up a decoder. The same fields, but big-endian, and version 0.
    pub fn put_configuration(&self, out: &mut Vec<u8>) {
        put(out, b"dOps", |out| {
            out.extend([0, self.channels]);
            halves(out, &[self.pre_skip]);
            words(out, &[self.input_rate]);
            halves(out, &[self.gain.cast_unsigned()]);
            out.extend_from_slice(&self.mapping);
        });
    }
}

/// Samples in a packet, at 48 kHz (RFC 6716, 3.1 and 3.2).
pub fn duration(packet: &[u8]) -> u32 {
    let Some(&toc) = packet.first() else { return 0 };
    let frame = match toc >> 3 {
        silk @ 0..=11 => [480, 960, 1920, 2880][usize::from(silk % 4)],
        hybrid @ 12..=15 => [480, 960][usize::from(hybrid % 2)],
        celt => [120, 240, 480, 960][usize::from(celt % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1).map_or(0, |count| count & 0x3f)),
    };
    // 120 ms are the most that a packet may hold.
    (frame * frames).min(5760)
}

/// A packet whose frames have no bytes: decoders fade out what they played before, and then there is silence (RFC 6716, 3.2.1).
pub fn silence(like: &[u8]) -> Option<Vec<u8>> {
    let toc = *like.first()?;
    Some(match toc & 3 {
        0 => vec![toc],
        1 | 2 => vec![toc & !3 | 1],
        // The same number of frames, of constant length and without padding.
        _ => vec![toc, like.get(1)? & 0x3f],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_as_long_as_the_packet() {
        for packet in [&[0xfc, 1][..], &[0x19, 1], &[0x1a, 1, 1], &[0xe3, 0xc3, 9]] {
            let silence = silence(packet).expect("a packet");
            assert_eq!(duration(&silence), duration(packet));
            assert!(silence.len() <= 2);
        }
        assert_eq!(silence(&[]), None);
    }

    #[test]
    fn a_packet_tells_its_duration() {
        assert_eq!(duration(&[0xfc]), 960); // CELT, 20 ms, one frame
        assert_eq!(duration(&[0x18 | 1]), 2 * 2880); // SILK, 60 ms, two frames
        assert_eq!(duration(&[0x60]), 480); // hybrid, 10 ms
        assert_eq!(duration(&[0xe3, 0x83]), 3 * 120); // CELT, 2.5 ms, three frames
        assert_eq!(duration(&[0xff, 0xff]), 5760);
        assert_eq!(duration(&[]), 0);
    }

    #[test]
    fn a_head_is_turned_to_the_boxs_byte_order() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
        let mut out = Vec::new();
        Opus::by_head(head).expect("a valid head").put_configuration(&mut out);
        assert_eq!(out, b"\0\0\0\x13dOps\0\x02\x01\x38\0\0\xbb\x80\0\0\0");
        assert!(Opus::by_head(&head[..18]).is_err());
        assert!(Opus::by_head(b"OpusTags").is_err());
    }
}

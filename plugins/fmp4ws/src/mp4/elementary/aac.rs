//! AAC (ISO/IEC 14496-3): what AudioSpecificConfig says, and the esds box (ISO/IEC 14496-1, 7.2.6).

use super::Error;
use super::bits::Bits;
use crate::mp4::write::put_full;

/// Sampling frequencies by index (ISO/IEC 14496-3, table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// raw_data_block() (4.4.2.1) of one single channel element, or of one channel pair element, without a coefficient: all
/// fields 0 (long windows, no scale factor bands), then ID_END.
const SILENT_MONO: &[u8] = &[0, 0, 0, 0x07];
const SILENT_STEREO: &[u8] = &[0x20, 0, 0, 0, 0, 0, 0x0e];

/// A stream of raw AAC frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aac {
    low_complexity: bool,
    /// AudioSpecificConfig.
    config: Vec<u8>,
    /// Samples in a second, of the core coder.
    pub rate: u32,
    /// Samples in a frame, at that rate.
    pub samples: u32,
    /// By the configuration; 0 when it is told in the stream.
    pub channels: u16,
}

impl Aac {
    /// By `codec_data`.
    pub fn new(config: &[u8]) -> Result<Self, Error> {
        Self::read(config).ok_or(Error::Configuration("AudioSpecificConfig"))
    }

    /// A frame in which nothing is heard, of one or two channels.
    pub fn silence(&self) -> Option<&'static [u8]> {
        match self.channels {
            1 if self.low_complexity => Some(SILENT_MONO),
            2 if self.low_complexity => Some(SILENT_STEREO),
            _ => None,
        }
    }

    fn read(config: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(config);
        let mut object_type = bits.take(5)?;
        if object_type == 31 {
            object_type = 32 + bits.take(6)?;
        }
        let rate = sampling_frequency(&mut bits)?;
        let channels = match bits.take(4)? {
            channels @ 0..=6 => channels as u16,
            7 => 8,
            _ => return None,
        };
        // SBR and PS, signalled in front: the core coder's type follows (1.6.2.1).
        if matches!(object_type, 5 | 29) {
            sampling_frequency(&mut bits)?;
            bits.take(5)?;
        }
        // frameLengthFlag is the first bit of GASpecificConfig (4.4.1).
        let samples = if bits.flag()? { 960 } else { 1024 };
        Some(Self { low_complexity: object_type == 2, config: config.to_vec(), rate, samples, channels })
    }

    /// Appends the box that sets up a decoder.
    pub fn put_configuration(&self, out: &mut Vec<u8>) {
        put_full(out, b"esds", 0, 0, |out| {
            let specific = descriptor(0x05, &self.config);
            // Object type MPEG-4 audio, stream type audio, no buffer size, and no bit rates told.
            let decoder = descriptor(0x04, &[&[0x40, 0x15][..], &[0; 11], &specific].concat());
            let sync = descriptor(0x06, &[2]);
            out.extend(descriptor(0x03, &[&[0, 0, 0][..], &decoder, &sync].concat()));
        });
    }
}

fn sampling_frequency(bits: &mut Bits) -> Option<u32> {
    match bits.take(4)? {
        15 => bits.take(24),
        index => RATES.get(index as usize).copied(),
    }
    .filter(|&rate| rate > 0)
}

/// Tag, length of four bytes, body. What is too long for that is cut, and no configuration is.
fn descriptor(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut out = vec![tag];
    out.extend([21, 14, 7].map(|shift| 0x80 | (length >> shift & 0x7f) as u8));
    out.push((length & 0x7f) as u8);
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::codec::codec_string;

    #[test]
    fn the_configuration_tells_rate_channels_and_length() {
        let stereo = Aac::new(&[0x12, 0x10]).expect("AAC-LC, 44100 Hz, 2 channels");
        assert_eq!((stereo.rate, stereo.channels, stereo.samples), (44_100, 2, 1024));
        let explicit = Aac::new(&[0x2b, 0x11, 0x88, 0x00]).expect("HE-AAC, 24000 Hz core");
        assert_eq!((explicit.rate, explicit.samples), (24_000, 1024));
        assert_eq!(Aac::new(&[0x11]), Err(Error::Configuration("AudioSpecificConfig")));
        assert!(Aac::new(&[]).is_err());
    }

    #[test]
    fn the_box_names_the_codec() {
        let mut out = Vec::new();
        Aac::new(&[0x11, 0x90]).expect("AAC-LC, 48000 Hz").put_configuration(&mut out);
        assert_eq!(codec_string(*b"mp4a", &out), "mp4a.40.2");
    }
}

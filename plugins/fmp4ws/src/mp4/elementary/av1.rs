//! AV1 ("AV1 Bitstream & Decoding Process"): the sequence header, keyframes, and the av1C box ("AV1 Codec ISO Media File
//! Format Binding").

use super::bits::Bits;
use super::{Entry, Error, Picture};
use crate::mp4::write::put;

/// OBU types (6.2.2).
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// What is known of a stream of temporal units.
#[derive(Debug, Default)]
pub struct Av1 {
    /// The newest sequence header, as an OBU with a size.
    header: Option<(Vec<u8>, Sequence)>,
}

impl Av1 {
    /// A stream of which nothing is known beforehand.
    pub fn new() -> Self {
        Self::default()
    }

    /// `av1c` is the body of an av1C box (`codec_data`); its sequence header may be missing, and then comes in the stream.
    pub fn by_configuration(av1c: &[u8]) -> Result<Self, Error> {
        let [0x81, _, _, _, obus @ ..] = av1c else { return Err(Error::Configuration("av1C")) };
        let mut stream = Self::new();
        for obu in Obus(obus) {
            stream.learn(&obu.map_err(|_| Error::Configuration("av1C"))?);
        }
        Ok(stream)
    }

    /// Appends the temporal unit as a sample: every OBU with a size, and without what must not be in a sample (section 2.4).
    pub fn sample(&mut self, unit: &[u8], out: &mut Vec<u8>) -> Result<Picture, Error> {
        let (mut first_frame, mut pictures) = (None, false);
        for obu in Obus(unit) {
            let obu = obu?;
            match obu.kind {
                TEMPORAL_DELIMITER | TILE_LIST | PADDING => continue,
                SEQUENCE_HEADER => self.learn(&obu),
                FRAME | FRAME_HEADER => {
                    pictures = true;
                    let reduced = self.header.as_ref().is_some_and(|(_, sequence)| sequence.reduced);
                    first_frame.get_or_insert_with(|| reduced || begins_with_key_frame(obu.payload));
                }
                _ => {}
            }
            obu.put(out);
        }
        Ok(Picture { keyframe: first_frame == Some(true), empty: !pictures })
    }

    fn learn(&mut self, obu: &Obu) {
        if obu.kind == SEQUENCE_HEADER
            && let Some(sequence) = Sequence::read(obu.payload)
        {
            let mut header = Vec::with_capacity(obu.payload.len() + 4);
            obu.put(&mut header);
            self.header = Some((header, sequence));
        }
    }

    /// What the init segment says; `None` until a sequence header has come.
    pub fn entry(&self) -> Option<Entry> {
        let (header, sequence) = self.header.as_ref()?;
        let mut configuration = Vec::new();
        put(&mut configuration, b"av1C", |out| {
            out.extend(sequence.configuration());
            out.extend_from_slice(header);
        });
        let Sequence { width, height, .. } = *sequence;
        // Frames are shown in the order of their temporal units.
        Some(Entry { format: *b"av01", configuration, width, height, reorder: Some(0) })
    }
}

/// show_existing_frame 0, frame_type KEY_FRAME, show_frame 1 (5.9.2).
fn begins_with_key_frame(payload: &[u8]) -> bool {
    payload.first().is_some_and(|byte| byte & 0b1111_0000 == 0b0001_0000)
}

/// The parts of a temporal unit (5.3).
struct Obus<'a>(&'a [u8]);

struct Obu<'a> {
    kind: u8,
    /// Temporal and spatial layer, if there are any.
    extension: Option<u8>,
    payload: &'a [u8],
}

impl<'a> Iterator for Obus<'a> {
    type Item = Result<Obu<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let obu = self.read();
        if obu.is_none() {
            self.0 = &[];
        }
        Some(obu.ok_or(Error::CutShort))
    }
}

impl<'a> Obus<'a> {
    fn read(&mut self) -> Option<Obu<'a>> {
        let (&header, mut rest) = self.0.split_first()?;
        let mut extension = None;
        if header & 0x80 != 0 {
            return None;
        }
        if header & 0b100 != 0 {
            extension = Some(*rest.first()?);
            rest = &rest[1..];
        }
        // Only the last one may leave its size out.
        let mut size = rest.len();
        if header & 0b10 != 0 {
            size = 0;
            for index in 0..8 {
                let (&byte, more) = rest.split_first()?;
                rest = more;
                size |= usize::from(byte & 0x7f).checked_shl(7 * index)?;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        let (payload, rest) = rest.split_at_checked(size)?;
        self.0 = rest;
        Some(Obu { kind: header >> 3 & 0xf, extension, payload })
    }
}

impl Obu<'_> {
    /// With a size (leb128, 4.10.5).
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.kind << 3 | u8::from(self.extension.is_some()) << 2 | 0b10);
        out.extend(self.extension);
        let mut size = self.payload.len();
        while size >= 0x80 {
            out.push(size as u8 | 0x80);
            size >>= 7;
        }
        out.push(size as u8);
        out.extend_from_slice(self.payload);
    }
}

/// What is needed of a sequence header (5.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sequence {
    profile: u8,
    level: u8,
    tier: bool,
    high_bitdepth: bool,
    twelve_bit: bool,
    monochrome: bool,
    subsampling: (bool, bool),
    sample_position: u8,
    /// reduced_still_picture_header: every frame is a key frame.
    reduced: bool,
    width: u16,
    height: u16,
}

impl Sequence {
    fn read(payload: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(payload);
        let mut sequence = Self { profile: bits.take(3)? as u8, ..Self::default() };
        bits.flag()?; // still_picture
        sequence.reduced = bits.flag()?;
        if sequence.reduced {
            sequence.level = bits.take(5)? as u8;
        } else {
            sequence.read_operating_points(&mut bits)?;
        }
        let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
        sequence.width = u16::try_from(bits.take(width_bits)? + 1).ok()?;
        sequence.height = u16::try_from(bits.take(height_bits)? + 1).ok()?;
        sequence.skip_tools(&mut bits)?;
        sequence.read_colors(&mut bits)?;
        Some(sequence)
    }

    fn read_operating_points(&mut self, bits: &mut Bits) -> Option<()> {
        let (mut decoder_model, mut delay_bits) = (false, 0);
        if bits.flag()? {
            bits.skip(64)?; // num_units_in_display_tick, time_scale
            if bits.flag()? {
                bits.ue()?; // num_ticks_per_picture_minus_1
            }
            decoder_model = bits.flag()?;
            if decoder_model {
                delay_bits = bits.take(5)? as usize + 1;
                bits.skip(42)?; // num_units_in_decoding_tick, lengths
            }
        }
        let display_delay = bits.flag()?;
        for point in 0..=bits.take(5)? {
            bits.skip(12)?; // operating_point_idc
            let level = bits.take(5)? as u8;
            let tier = level > 7 && bits.flag()?;
            if point == 0 {
                (self.level, self.tier) = (level, tier);
            }
            if decoder_model && bits.flag()? {
                bits.skip(2 * delay_bits + 1)?;
            }
            if display_delay && bits.flag()? {
                bits.skip(4)?;
            }
        }
        Some(())
    }

    /// From frame_id_numbers_present_flag to film grain, of which only the order matters.
    fn skip_tools(&self, bits: &mut Bits) -> Option<()> {
        if !self.reduced && bits.flag()? {
            bits.skip(7)?; // delta_frame_id_length_minus_2, additional_frame_id_length_minus_1
        }
        bits.skip(3)?; // 128x128 superblocks, filter intra, intra edge filter
        if !self.reduced {
            bits.skip(4)?; // interintra, masked compound, warped motion, dual filter
            let order_hint = bits.flag()?;
            if order_hint {
                bits.skip(2)?; // jnt_comp, ref_frame_mvs
            }
            let forced_tools = if bits.flag()? { 2 } else { bits.take(1)? };
            if forced_tools > 0 && !bits.flag()? {
                bits.skip(1)?; // seq_force_integer_mv
            }
            if order_hint {
                bits.skip(3)?; // order_hint_bits_minus_1
            }
        }
        bits.skip(3) // superres, cdef, restoration
    }

    /// color_config() (5.5.2).
    fn read_colors(&mut self, bits: &mut Bits) -> Option<()> {
        self.high_bitdepth = bits.flag()?;
        self.twelve_bit = self.profile == 2 && self.high_bitdepth && bits.flag()?;
        self.monochrome = self.profile != 1 && bits.flag()?;
        // Unspecified, unless told.
        let (mut primaries, mut transfer, mut matrix) = (2, 2, 2);
        if bits.flag()? {
            (primaries, transfer, matrix) = (bits.take(8)?, bits.take(8)?, bits.take(8)?);
        }
        self.subsampling = (true, true);
        if self.monochrome {
            return Some(());
        }
        if (primaries, transfer, matrix) == (1, 13, 0) {
            self.subsampling = (false, false); // sRGB
            return Some(());
        }
        bits.flag()?; // color_range
        self.subsampling = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if self.twelve_bit => {
                let x = bits.flag()?;
                (x, x && bits.flag()?)
            }
            _ => (true, false),
        };
        if self.subsampling == (true, true) {
            self.sample_position = bits.take(2)? as u8;
        }
        Some(())
    }

    /// The first four bytes of av1C (section 2.3.3).
    fn configuration(&self) -> [u8; 4] {
        let flags =
            [self.tier, self.high_bitdepth, self.twelve_bit, self.monochrome, self.subsampling.0, self.subsampling.1];
        let flags = flags.iter().fold(0, |byte, &flag| byte << 1 | u8::from(flag));
        [0x81, self.profile << 5 | self.level, flags << 2 | self.sample_position, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::codec::codec_string;
    use crate::mp4::samples::AV1_HEADER as HEADER;
    use proptest::prelude::*;

    /// Frames that begin with the header of a key frame, and of another one.
    const KEY: [u8; 5] = [0x32, 0x03, 0x10, 0x00, 0x9f];
    const INTER: [u8; 5] = [0x32, 0x03, 0x30, 0x00, 0x9f];
    const DELIMITER: [u8; 2] = [0x12, 0];

    fn sample(stream: &mut Av1, unit: &[&[u8]]) -> (Picture, Vec<u8>) {
        let mut out = Vec::new();
        (stream.sample(&unit.concat(), &mut out).expect("a valid unit"), out)
    }

    #[test]
    fn the_sequence_header_tells_size_and_codec() {
        let mut stream = Av1::new();
        assert_eq!(stream.entry(), None);
        let (picture, data) = sample(&mut stream, &[&DELIMITER, &HEADER, &KEY]);
        assert_eq!((picture.keyframe, picture.empty), (true, false));
        assert_eq!(data, [&HEADER[..], &KEY].concat());
        let entry = stream.entry().expect("the header has come");
        assert_eq!((entry.width, entry.height), (320, 240));
        assert_eq!(codec_string(*b"av01", &entry.configuration), "av01.0.00M.08");
        assert!(entry.configuration.ends_with(&HEADER));
        let again = Av1::by_configuration(&entry.configuration[8..]).expect("it was just written");
        assert_eq!(again.entry(), Some(entry));
    }

    #[test]
    fn frames_that_need_others_are_no_keyframes() {
        let mut stream = Av1::new();
        assert!(!sample(&mut stream, &[&DELIMITER, &INTER]).0.keyframe);
        assert!(!sample(&mut stream, &[&INTER, &KEY]).0.keyframe);
        assert!(sample(&mut stream, &[&DELIMITER]).0.empty);
    }

    #[test]
    fn every_part_gets_a_size() {
        let unsized_last = [&HEADER[..], &[0x30, 0x10, 0, 0x9f]].concat();
        assert_eq!(sample(&mut Av1::new(), &[&unsized_last]).1, [&HEADER[..], &KEY].concat());
        let long = vec![7; 300];
        let (_, data) = sample(&mut Av1::new(), &[&[0x30], &long]);
        assert_eq!(data, [&[0x32, 0xac, 0x02][..], &long].concat());
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..19, value in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut unit = [&HEADER[..], &KEY].concat();
            unit[at] = value;
            let mut stream = Av1::new();
            let _ = stream.sample(&unit, &mut Vec::new());
            let _ = stream.sample(&noise, &mut Vec::new());
            let _ = stream.entry();
            let _ = Av1::by_configuration(&noise);
        }
    }
}

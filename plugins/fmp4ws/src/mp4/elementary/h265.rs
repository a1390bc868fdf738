//! H.265 (ITU-T H.265): parameter sets, keyframes, and the hvcC box (ISO/IEC 14496-15, 8.3.3).

use super::bits::{Bits, unescaped};
use super::nal::{self, Framing};
use super::{Entry, Error, Picture};
use crate::mp4::write::{halves, put};

/// NAL unit types (table 7-1).
const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
const DELIMITER: u8 = 35;
const FILLER: u8 = 38;

/// What is known of a stream of access units.
#[derive(Debug)]
pub struct H265 {
    framing: Framing,
    sets: Sets,
}

/// Video, sequence and picture parameter sets.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sets([Vec<Vec<u8>>; 3]);

impl Sets {
    fn of(&mut self, kind: u8) -> Option<&mut Vec<Vec<u8>>> {
        self.0.get_mut(usize::from(kind.checked_sub(VPS)?))
    }
}

impl H265 {
    /// A stream with start codes: parameter sets come in it.
    pub fn byte_stream() -> Self {
        Self { framing: Framing::StartCodes, sets: Sets::default() }
    }

    /// A stream with lengths; `hvcc` is the body of an hvcC box (`codec_data`).
    pub fn hvc(hvcc: &[u8]) -> Result<Self, Error> {
        Self::read(hvcc).ok_or(Error::Configuration("hvcC"))
    }

    fn read(hvcc: &[u8]) -> Option<Self> {
        // 21 bytes repeat what the parameter sets say; then the size of lengths, and arrays of NAL units.
        let (&[lengths, arrays], mut rest) = hvcc.get(21..)?.split_first_chunk()?;
        let mut sets = Sets::default();
        for _ in 0..arrays {
            let (&[kind, count @ ..], mut units) = rest.split_first_chunk::<3>()?;
            for _ in 0..u16::from_be_bytes(count) {
                let (length, more) = units.split_first_chunk::<2>()?;
                let (unit, more) = more.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                if let Some(of_kind) = sets.of(kind & 0x3f).filter(|_| unit.len() > 2) {
                    of_kind.push(unit.to_vec());
                }
                units = more;
            }
            rest = units;
        }
        Some(Self { framing: Framing::Lengths(usize::from(lengths & 3) + 1), sets })
    }

    /// Appends the access unit as a sample: lengths instead of start codes, and without parameter sets, which are kept
    /// for [`Self::entry`].
    pub fn sample(&mut self, unit: &[u8], out: &mut Vec<u8>) -> Result<Picture, Error> {
        let mut here = Sets::default();
        let (mut keyframe, mut pictures) = (false, 0);
        for nal in nal::units(unit, self.framing) {
            let nal = nal?;
            let kind = nal[0] >> 1 & 0x3f;
            match (kind, here.of(kind)) {
                (_, Some(of_kind)) => {
                    if nal.len() > 2 {
                        of_kind.push(nal.to_vec());
                    }
                }
                (DELIMITER | FILLER, _) => {}
                _ => {
                    // Intra random access points: BLA, IDR, CRA (table 7-1).
                    keyframe |= (16..=23).contains(&kind);
                    pictures += usize::from(kind < 32);
                    nal::put(out, nal)?;
                }
            }
        }
        self.learn(here);
        Ok(Picture { keyframe, empty: pictures == 0 })
    }

    /// Another sequence begins with sets of its own, or with those as before that it does not bring.
    fn learn(&mut self, here: Sets) {
        let (Sets([vps, sps, pps]), Sets(new)) = (&mut self.sets, here);
        let [new_vps, new_sps, new_pps] = new;
        if !new_sps.is_empty() && new_sps != *sps && !new_pps.is_empty() {
            pps.clear();
        }
        for (known, new) in [(vps, new_vps), (sps, new_sps)] {
            if !new.is_empty() {
                *known = new;
            }
        }
        nal::take_in(pps, new_pps, 2);
    }

    /// What the init segment says; `None` until all kinds of parameter sets are known.
    pub fn entry(&self) -> Option<Entry> {
        let Sets([vps, sps, pps]) = &self.sets;
        let first = Sps::read(sps.first()?)?;
        vps.first()?;
        pps.first()?;
        let mut configuration = Vec::new();
        put(&mut configuration, b"hvcC", |out| {
            out.push(1);
            out.extend_from_slice(&first.profile_tier_level);
            // No spatial segmentation, no parallelism known.
            out.extend([0xf0, 0, 0xfc, 0xfc | first.chroma_format, 0xf8 | first.luma_depth, 0xf8 | first.chroma_depth]);
            halves(out, &[0]); // average frame rate: unknown
            let nested = u8::from(first.temporal_id_nested);
            out.extend([first.temporal_layers << 3 | nested << 2 | 3, 3]);
            for (kind, sets) in [(VPS, vps), (SPS, sps), (PPS, pps)] {
                put_sets(out, kind, sets);
            }
        });
        let Sps { width, height, reorder, .. } = first;
        Some(Entry { format: *b"hvc1", configuration, width, height, reorder: Some(reorder) })
    }
}

/// All of a kind; that there are no others in the samples is what hvc1 means.
fn put_sets(out: &mut Vec<u8>, kind: u8, sets: &[Vec<u8>]) {
    let fitting = || sets.iter().filter_map(|set| Some((u16::try_from(set.len()).ok()?, set)));
    out.push(0x80 | kind);
    halves(out, &[u16::try_from(fitting().count()).unwrap_or(u16::MAX)]);
    for (length, set) in fitting().take(usize::from(u16::MAX)) {
        halves(out, &[length]);
        out.extend_from_slice(set);
    }
}

/// What is needed of a sequence parameter set (7.3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sps {
    /// general_profile_space to general_level_idc, as hvcC has them.
    profile_tier_level: [u8; 12],
    temporal_layers: u8,
    temporal_id_nested: bool,
    chroma_format: u8,
    /// Bits above 8.
    luma_depth: u8,
    chroma_depth: u8,
    /// Pixels, after the conformance window.
    width: u16,
    height: u16,
    /// sps_max_num_reorder_pics of the highest layer.
    reorder: u32,
}

impl Sps {
    /// Reads a NAL unit.
    fn read(nal: &[u8]) -> Option<Self> {
        let payload = unescaped(nal.get(2..)?);
        let mut bits = Bits::new(&payload);
        bits.skip(4)?; // sps_video_parameter_set_id
        let sub_layers = bits.take(3)?;
        let temporal_id_nested = bits.flag()?;
        let profile_tier_level = *payload.get(1..)?.first_chunk()?;
        bits.skip(96)?;
        skip_sub_layers(&mut bits, sub_layers)?;
        bits.ue()?; // sps_seq_parameter_set_id
        let chroma_format = bits.ue().filter(|&format| format <= 3)?;
        if chroma_format == 3 {
            bits.flag()?; // separate_colour_plane_flag
        }
        let (mut width, mut height) = (bits.ue()?, bits.ue()?);
        if bits.flag()? {
            let (unit_x, unit_y) = match chroma_format {
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            let mut cut = |unit: u32| bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit);
            width = width.checked_sub(cut(unit_x)?)?;
            height = height.checked_sub(cut(unit_y)?)?;
        }
        let (luma_depth, chroma_depth) = (bits.ue().filter(|&d| d <= 8)?, bits.ue().filter(|&d| d <= 8)?);
        bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        let each_layer = bits.flag()?;
        let mut reorder = 0;
        for _ in if each_layer { 0 } else { sub_layers }..=sub_layers {
            bits.ue()?; // sps_max_dec_pic_buffering_minus1
            reorder = bits.ue()?;
            bits.ue()?; // sps_max_latency_increase_plus1
        }
        Some(Self {
            profile_tier_level,
            temporal_layers: sub_layers as u8 + 1,
            temporal_id_nested,
            chroma_format: chroma_format as u8,
            luma_depth: (luma_depth as u8).min(7),
            chroma_depth: (chroma_depth as u8).min(7),
            width: u16::try_from(width).ok()?,
            height: u16::try_from(height).ok()?,
            reorder,
        })
    }
}

/// profile_tier_level() of the lower layers (7.3.3).
fn skip_sub_layers(bits: &mut Bits, sub_layers: u32) -> Option<()> {
    if sub_layers == 0 {
        return Some(());
    }
    let mut present = Vec::new();
    for layer in 0..8 {
        let flags = (bits.flag()?, bits.flag()?);
        if layer < sub_layers {
            present.push(flags);
        }
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::codec::codec_string;
    use proptest::prelude::*;

    /// x265, 320x240: the hvcC that h265parse makes.
    const HVCC: [u8; 118] = [
        0x01, 0x01, 0x60, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3f, 0xf0, 0x00, 0xfc, 0xfd, 0xf8,
        0xf8, 0x00, 0x00, 0x0f, 0x03, 0x20, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60,
        0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f, 0x95, 0x98, 0x09, 0x21, 0x00,
        0x01, 0x00, 0x31, 0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x03, 0x00, 0x3f, 0xa0, 0x0a, 0x08, 0x0f, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xff, 0xc0, 0x00, 0x40, 0x00,
        0x5a, 0x83, 0x03, 0x03, 0x02, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x32, 0x10, 0x22, 0x00,
        0x01, 0x00, 0x07, 0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40,
    ];

    #[test]
    fn what_is_written_is_what_h265parse_writes() {
        let stream = H265::hvc(&HVCC).expect("a valid hvcC");
        let entry = stream.entry().expect("it has all sets");
        assert_eq!((entry.width, entry.height, entry.reorder), (320, 240, Some(2)));
        assert_eq!(codec_string(*b"hvc1", &entry.configuration), "hvc1.1.6.L63.90");
        let again = H265::hvc(&entry.configuration[8..]).expect("it was just written");
        assert_eq!((again.framing, again.sets == stream.sets), (Framing::Lengths(4), true));
        // Profile, tier, level, chroma format and depths; h265parse leaves the number of layers open.
        assert_eq!(entry.configuration[8..8 + 19], HVCC[..19]);
    }

    #[test]
    fn sets_in_the_stream_are_learnt_and_left_out_of_samples() {
        let [vps, sps, pps] = H265::hvc(&HVCC).expect("a valid hvcC").sets.0.map(|mut sets| sets.remove(0));
        let unit = [&[0, 0, 0, 1][..], &vps, &[0, 0, 1], &sps, &[0, 0, 1], &pps, &[0, 0, 1, 0x26, 1, 7]].concat();
        let mut stream = H265::byte_stream();
        let mut sample = Vec::new();
        assert_eq!(stream.sample(&unit, &mut sample), Ok(Picture { keyframe: true, empty: false }));
        assert_eq!(sample, [0, 0, 0, 3, 0x26, 1, 7]);
        assert_eq!(stream.entry(), H265::hvc(&HVCC).expect("a valid hvcC").entry());
        let trailing = [0, 0, 1, 0x02, 1, 7];
        assert_eq!(stream.sample(&trailing, &mut sample), Ok(Picture { keyframe: false, empty: false }));
    }

    #[test]
    fn a_configuration_that_is_cut_short_is_refused() {
        for length in 0..HVCC.len() {
            let stream = H265::hvc(&HVCC[..length]);
            assert!(stream.is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..118, value in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut hvcc = HVCC;
            hvcc[at] = value;
            let _ = H265::hvc(&hvcc).map(|stream| stream.entry());
            let _ = Sps::read(&noise);
            let _ = H265::byte_stream().sample(&[&[0, 0, 1][..], &noise].concat(), &mut Vec::new());
        }
    }
}

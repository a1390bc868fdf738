//! H.264 (ITU-T H.264): parameter sets, keyframes, and the avcC box (ISO/IEC 14496-15, 5.3.3).

use super::bits::{Bits, unescaped};
use super::nal::{self, Framing};
use super::{Entry, Error, Picture};
use crate::mp4::write::put;

/// NAL unit types (table 7-1).
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const SPS_EXTENSION: u8 = 13;

/// Profiles whose parameter sets tell the chroma format (7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// What is known of a stream of access units.
#[derive(Debug)]
pub struct H264 {
    framing: Framing,
    sets: Sets,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sets {
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
    extensions: Vec<Vec<u8>>,
}

impl H264 {
    /// A stream with start codes: parameter sets come in it.
    pub fn byte_stream() -> Self {
        Self { framing: Framing::StartCodes, sets: Sets::default() }
    }

    /// A stream with lengths; `avcc` is the body of an avcC box (`codec_data`).
    pub fn avc(avcc: &[u8]) -> Result<Self, Error> {
        let broken = || Error::Configuration("avcC");
        let [1, _, _, _, lengths, sps_count, rest @ ..] = avcc else { return Err(broken()) };
        let mut sets = Sets::default();
        let mut rest = take_sets(rest, sps_count & 0x1f, &mut sets.sps).ok_or_else(broken)?;
        if let Some((&pps_count, more)) = rest.split_first() {
            rest = take_sets(more, pps_count, &mut sets.pps).ok_or_else(broken)?;
        }
        // Chroma format and depths, which are in the SPS as well, then the extensions.
        if let [_, _, _, count, more @ ..] = rest {
            let _ = take_sets(more, *count, &mut sets.extensions);
        }
        Ok(Self { framing: Framing::Lengths(usize::from(lengths & 3) + 1), sets })
    }

    /// Appends the access unit as a sample: lengths instead of start codes, and without parameter sets, which are kept
    /// for [`Self::entry`]. `keyframe_hint`: what the pipeline thinks of it.
    pub fn sample(&mut self, unit: &[u8], keyframe_hint: bool, out: &mut Vec<u8>) -> Result<Picture, Error> {
        let mut here = Sets::default();
        let (mut idr, mut recovery, mut pictures) = (false, false, 0);
        for nal in nal::units(unit, self.framing) {
            let nal = nal?;
            match nal[0] & 0x1f {
                SPS => here.sps.push(nal.to_vec()),
                PPS => here.pps.push(nal.to_vec()),
                SPS_EXTENSION => here.extensions.push(nal.to_vec()),
                DELIMITER | FILLER => {}
                kind => {
                    idr |= kind == IDR;
                    recovery |= kind == SEI && recovers_at_once(nal);
                    pictures += usize::from(matches!(kind, 1..=5));
                    nal::put(out, nal)?;
                }
            }
        }
        self.learn(here);
        // Encoders without IDR pictures mark where a decoder may begin all the same (D.1.8, recovery point).
        Ok(Picture { keyframe: idr || recovery && keyframe_hint, empty: pictures == 0 })
    }

    /// Another sequence begins with sets of its own, or with the PPS as before.
    fn learn(&mut self, here: Sets) {
        if !here.sps.is_empty() {
            if here.sps != self.sets.sps && !here.pps.is_empty() {
                self.sets.pps.clear();
            }
            self.sets.sps = here.sps;
            self.sets.extensions = here.extensions;
        }
        nal::take_in(&mut self.sets.pps, here.pps, 1);
    }

    /// What the init segment says; `None` until both kinds of parameter sets are known.
    pub fn entry(&self) -> Option<Entry> {
        let Sets { sps, pps, extensions } = &self.sets;
        let first = Sps::read(sps.first()?)?;
        pps.first()?;
        let mut avcc = vec![1, sps[0][1], sps[0][2], sps[0][3], 0xff];
        put_sets(&mut avcc, 0xe0, sps);
        put_sets(&mut avcc, 0, pps);
        if HIGH_PROFILES.contains(&first.profile) {
            avcc.extend([0xfc | first.chroma_format, 0xf8 | first.luma_depth, 0xf8 | first.chroma_depth]);
            put_sets(&mut avcc, 0, extensions);
        }
        let mut configuration = Vec::with_capacity(avcc.len() + 8);
        put(&mut configuration, b"avcC", |out| out.extend_from_slice(&avcc));
        let reorder = first.reorder();
        Some(Entry { format: *b"avc1", configuration, width: first.width, height: first.height, reorder })
    }
}

/// Whether the first parameter set in the body of an avcC box leaves open how far pictures are reordered: decoders in hardware then
/// hold back as many as fit into their memory, up to 16.
pub fn unbounded(avcc: &[u8]) -> bool {
    let sps = H264::avc(avcc).ok().and_then(|stream| Sps::read(stream.sets.sps.first()?));
    sps.is_some_and(|sps| sps.reorder().is_none())
}

fn take_sets<'a>(mut rest: &'a [u8], count: u8, sets: &mut Vec<Vec<u8>>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let (length, more) = rest.split_first_chunk::<2>()?;
        let (set, more) = more.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        if !set.is_empty() {
            sets.push(set.to_vec());
        }
        rest = more;
    }
    Some(rest)
}

fn put_sets(out: &mut Vec<u8>, count_mask: u8, sets: &[Vec<u8>]) {
    let fitting = || sets.iter().filter_map(|set| Some((u16::try_from(set.len()).ok()?, set))).take(31);
    out.push(count_mask | fitting().count() as u8);
    for (length, set) in fitting() {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(set);
    }
}

/// A recovery point SEI of 0 frames: decoding can begin at this picture.
fn recovers_at_once(sei: &[u8]) -> bool {
    let payload = unescaped(&sei[1..]);
    let mut rest = &payload[..];
    // Type and size are sums of bytes that end with one below 255 (7.3.2.3.1).
    let number = |rest: &mut &[u8]| {
        let mut sum = 0usize;
        while let Some((&byte, more)) = rest.split_first() {
            *rest = more;
            sum += usize::from(byte);
            if byte < 255 {
                return Some(sum);
            }
        }
        None
    };
    while let Some((kind, size)) = number(&mut rest).and_then(|kind| Some((kind, number(&mut rest)?))) {
        let Some((body, more)) = rest.split_at_checked(size) else { return false };
        if kind == 6 {
            return Bits::new(body).ue() == Some(0);
        }
        rest = more;
    }
    false
}

/// What is needed of a sequence parameter set (7.3.2.1.1, annex E).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sps {
    pub profile: u8,
    /// constraint_set3_flag: with some profiles, a stream of intra pictures.
    pub intra: bool,
    pub chroma_format: u8,
    /// Bits above 8.
    pub luma_depth: u8,
    pub chroma_depth: u8,
    /// Pixels, after cropping.
    pub width: u16,
    pub height: u16,
    /// VUI max_num_reorder_frames; `None` without bitstream_restriction.
    pub max_reorder: Option<u32>,
}

impl Sps {
    /// Reads a NAL unit.
    pub fn read(nal: &[u8]) -> Option<Self> {
        let payload = unescaped(nal.get(1..)?);
        let &[profile, constraints, _, ..] = &payload[..] else { return None };
        let mut bits = Bits::new(&payload[3..]);
        bits.ue()?; // seq_parameter_set_id
        let (mut chroma_format, mut luma_depth, mut chroma_depth) = (1, 0, 0);
        let mut separate_planes = false;
        if HIGH_PROFILES.contains(&profile) {
            chroma_format = bits.ue().filter(|&format| format <= 3)?;
            separate_planes = chroma_format == 3 && bits.flag()?;
            luma_depth = bits.ue().filter(|&depth| depth <= 6)?;
            chroma_depth = bits.ue().filter(|&depth| depth <= 6)?;
            bits.flag()?; // qpprime_y_zero_transform_bypass_flag
            if bits.flag()? {
                skip_scaling_lists(&mut bits, if chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        bits.ue()?; // log2_max_frame_num_minus4
        skip_order_count(&mut bits)?;
        bits.ue()?; // max_num_ref_frames
        bits.flag()?; // gaps_in_frame_num_value_allowed_flag
        let macroblocks_wide = bits.ue()?.checked_add(1)?;
        let units_high = bits.ue()?.checked_add(1)?;
        let frames_only = bits.flag()?;
        let fields = if frames_only { 1 } else { 2 };
        if !frames_only {
            bits.flag()?; // mb_adaptive_frame_field_flag
        }
        bits.flag()?; // direct_8x8_inference_flag
        let mut crop = [0; 4];
        if bits.flag()? {
            for side in &mut crop {
                *side = bits.ue()?;
            }
        }
        let chroma = if separate_planes { 0 } else { chroma_format };
        let (unit_x, unit_y) = match chroma {
            1 => (2, 2 * fields),
            2 => (2, fields),
            _ => (1, fields),
        };
        let width =
            macroblocks_wide.checked_mul(16)?.checked_sub(crop[0].checked_add(crop[1])?.checked_mul(unit_x)?)?;
        let height =
            units_high.checked_mul(16 * fields)?.checked_sub(crop[2].checked_add(crop[3])?.checked_mul(unit_y)?)?;
        let max_reorder = if bits.flag()? { max_reorder(&mut bits).unwrap_or(None) } else { None };
        Some(Self {
            profile,
            intra: constraints & 0x10 != 0,
            chroma_format: chroma_format as u8,
            luma_depth: luma_depth as u8,
            chroma_depth: chroma_depth as u8,
            width: u16::try_from(width).ok()?,
            height: u16::try_from(height).ok()?,
            max_reorder,
        })
    }

    /// How many pictures may come before one that is shown earlier; `None` when only the stream can tell.
    pub fn reorder(&self) -> Option<u32> {
        if self.never_reorders() { Some(0) } else { self.max_reorder }
    }

    /// Baseline has no B pictures; nor have the intra profiles.
    fn never_reorders(&self) -> bool {
        self.profile == 66 || self.intra && [44, 86, 100, 110, 122, 244].contains(&self.profile)
    }
}

fn skip_scaling_lists(bits: &mut Bits, lists: u32) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last.wrapping_add(bits.se()?)).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

fn skip_order_count(bits: &mut Bits) -> Option<()> {
    match bits.ue()? {
        0 => {
            bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.flag()?; // delta_pic_order_always_zero_flag
            bits.se()?; // offset_for_non_ref_pic
            bits.se()?; // offset_for_top_to_bottom_field
            for _ in 0..bits.ue().filter(|&count| count < 256)? {
                bits.se()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// VUI (E.1.1) up to max_num_reorder_frames: the outer `None` is a VUI that is cut short.
fn max_reorder(bits: &mut Bits) -> Option<Option<u32>> {
    if bits.flag()? && bits.take(8)? == 255 {
        bits.skip(32)?; // sar_width, sar_height
    }
    if bits.flag()? {
        bits.flag()?; // overscan_appropriate_flag
    }
    if bits.flag()? {
        bits.skip(4)?; // video_format, video_full_range_flag
        if bits.flag()? {
            bits.skip(24)?; // colour_description
        }
    }
    if bits.flag()? {
        bits.ue()?; // chroma_sample_loc_type_top_field
        bits.ue()?; // ... bottom_field
    }
    if bits.flag()? {
        bits.skip(65)?; // timing_info
    }
    let nal_hrd = bits.flag()?;
    if nal_hrd {
        skip_hrd(bits)?;
    }
    let vcl_hrd = bits.flag()?;
    if vcl_hrd {
        skip_hrd(bits)?;
    }
    if nal_hrd || vcl_hrd {
        bits.flag()?; // low_delay_hrd_flag
    }
    bits.flag()?; // pic_struct_present_flag
    if !bits.flag()? {
        return Some(None);
    }
    bits.flag()?; // motion_vectors_over_pic_boundaries_flag
    for _ in 0..4 {
        bits.ue()?; // max_bytes_per_pic_denom ... log2_max_mv_length_vertical
    }
    Some(Some(bits.ue()?))
}

fn skip_hrd(bits: &mut Bits) -> Option<()> {
    let count = bits.ue().filter(|&count| count < 32)? + 1;
    bits.skip(8)?; // bit_rate_scale, cpb_size_scale
    for _ in 0..count {
        bits.ue()?;
        bits.ue()?;
        bits.flag()?;
    }
    bits.skip(20) // lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x264, 320x240, once with `tune=zerolatency` and once with two B-frames.
    const ZEROLATENCY: [u8; 29] = [
        0x67, 0x64, 0x00, 0x14, 0xac, 0xb2, 0x02, 0x83, 0xf6, 0x02, 0xd4, 0x18, 0x18, 0x1a, 0x94, 0x00, 0x00, 0x03,
        0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xca, 0x3c, 0x50, 0xa9, 0x20,
    ];
    const REORDERED: [u8; 29] = [
        0x67, 0x64, 0x00, 0x14, 0xac, 0xd9, 0x41, 0x41, 0xfb, 0x01, 0x6a, 0x0c, 0x0c, 0x0d, 0x4a, 0x00, 0x00, 0x03,
        0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x65, 0x1e, 0x28, 0x53, 0x2c,
    ];
    const PPS: [u8; 6] = [0x68, 0xeb, 0xec, 0xb2, 0x2c, 0x80];

    /// Baseline, 1920x1088 cropped to 1080 lines, without VUI: what many cameras send.
    fn plain(profile: u8) -> Vec<u8> {
        // The bits of: ids and log2s 0 0 0 0 (ue: 1), one reference frame, no gaps, 120 x 68 macroblocks, frames only, direct 8x8,
        // cropped by 4 units at the bottom, no VUI.
        let mut bits = String::from("1");
        if profile == 100 {
            bits += "010110"; // 4:2:0, depths 8 and 8, no bypass, no lists
            bits.insert(6, '1');
        }
        bits += "1"; // log2_max_frame_num
        bits += "1"; // pic_order_cnt_type
        bits += "1"; // its log2
        bits += "010"; // one reference frame
        bits += "0";
        bits += "0000001111000"; // 119
        bits += "0000001000100"; // 67
        bits += "11";
        bits += "1111"; // cropping; left, right, top 0
        bits += "00101"; // bottom 4
        bits += "01"; // no VUI; stop bit
        while bits.len() % 8 != 0 {
            bits += "0";
        }
        let bytes = bits.as_bytes().chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')));
        [0x67, profile, 0, 0x28].into_iter().chain(bytes).collect()
    }

    #[test]
    fn a_parameter_set_tells_size_and_order() {
        let sps = Sps::read(&ZEROLATENCY).expect("x264 writes valid ones");
        assert_eq!((sps.width, sps.height, sps.profile, sps.max_reorder), (320, 240, 100, Some(0)));
        assert_eq!(Sps::read(&REORDERED).expect("x264 writes valid ones").reorder(), Some(2));
        let baseline = Sps::read(&plain(66)).expect("it is valid");
        assert_eq!(
            (baseline.width, baseline.height, baseline.max_reorder, baseline.reorder()),
            (1920, 1080, None, Some(0))
        );
        let main = Sps::read(&plain(77)).expect("it is valid");
        assert_eq!((main.width, main.height, main.reorder()), (1920, 1080, None));
        let high = Sps::read(&plain(100)).expect("it is valid");
        assert_eq!((high.width, high.height, high.chroma_format, high.reorder()), (1920, 1080, 1, None));
    }

    #[test]
    fn a_stream_that_leaves_its_order_open_is_found() {
        let avcc = |sps: &[u8]| {
            let mut stream = H264::byte_stream();
            stream.learn(Sets { sps: vec![sps.to_vec()], pps: vec![PPS.to_vec()], extensions: vec![] });
            stream.entry().expect("complete").configuration[8..].to_vec()
        };
        assert!(unbounded(&avcc(&plain(100))));
        assert!(!unbounded(&avcc(&plain(66))));
        assert!(!unbounded(&avcc(&ZEROLATENCY)));
        assert!(!unbounded(b""));
    }

    #[test]
    fn what_is_written_from_a_stream_is_what_was_read_of_an_avcc() {
        let mut stream = H264::byte_stream();
        let unit =
            [&[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1][..], &REORDERED, &[0, 0, 1], &PPS, &[0, 0, 1, 0x65, 1, 2]].concat();
        let mut sample = Vec::new();
        assert_eq!(stream.entry(), None);
        let picture = stream.sample(&unit, false, &mut sample);
        assert_eq!(picture, Ok(Picture { keyframe: true, empty: false }));
        assert_eq!(sample, [0, 0, 0, 3, 0x65, 1, 2]);
        let entry = stream.entry().expect("both sets have come");
        let again = H264::avc(&entry.configuration[8..]).expect("it was just written");
        assert_eq!((again.framing, again.entry()), (Framing::Lengths(4), Some(entry)));
    }

    #[test]
    fn sets_that_come_one_by_one_are_kept_together() {
        let mut stream = H264::byte_stream();
        let unit = |sets: &[&[u8]]| sets.iter().flat_map(|set| [&[0, 0, 1][..], set].concat()).collect::<Vec<u8>>();
        let mut entry = |sets: &[&[u8]]| {
            stream.sample(&unit(sets), false, &mut Vec::new()).expect("valid");
            stream.entry().map(|entry| entry.configuration)
        };
        let second = [&[0x68, 0b0100_0000][..], &PPS[2..]].concat();
        let one = entry(&[&REORDERED, &PPS]);
        let both = entry(&[&second]);
        assert_ne!(one, both);
        // A keyframe with one of them changes nothing, another sequence everything.
        assert_eq!(entry(&[&REORDERED, &PPS]), both);
        assert_eq!(entry(&[&ZEROLATENCY, &PPS]).map(|avcc| avcc.len()), one.map(|avcc| avcc.len()));
    }

    #[test]
    fn a_recovery_point_is_a_keyframe_where_the_pipeline_says_so() {
        let mut stream = H264::byte_stream();
        let at_once = [0, 0, 1, 6, 1, 1, 0xff, 6, 1, 0xc4, 0x80, 0, 0, 1, 0x41, 7];
        let later = [0, 0, 1, 6, 6, 1, 0x44, 0x80, 0, 0, 1, 0x41, 7];
        let mut keyframe = |unit: &[u8], hint| stream.sample(unit, hint, &mut Vec::new()).expect("valid").keyframe;
        assert_eq!((keyframe(&at_once, true), keyframe(&at_once, false), keyframe(&later, true)), (true, false, false));
    }

    #[test]
    fn a_unit_without_a_picture_is_none() {
        let unit = [0, 0, 1, 9, 0xf0, 0, 0, 1, 6, 1, 1, 7, 0x80];
        assert!(H264::byte_stream().sample(&unit, true, &mut Vec::new()).expect("valid").empty);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..60, value in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut sps = REORDERED;
            sps[at % 29] = value;
            let _ = Sps::read(&sps);
            let _ = Sps::read(&noise);
            let _ = H264::avc(&noise);
            let mut stream = H264::byte_stream();
            let _ = stream.sample(&[&[0, 0, 1][..], &sps, &[0, 0, 1], &PPS, &[0, 0, 1], &noise].concat(), true, &mut Vec::new());
            let _ = stream.entry();
        }
    }
}

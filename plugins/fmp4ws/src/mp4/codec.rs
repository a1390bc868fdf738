//! What a track is called in `video/mp4; codecs="..."` (RFC 6381, ISO/IEC 14496-15 annex E), read from its sample entry.

use super::boxes;
use mp4_atom::{Atom, Av1c, Esds, Hvcc, VpcC};

/// Bytes of a visual sample entry before its child boxes (ISO/IEC 14496-12, 12.1.3).
pub const VISUAL_ENTRY: usize = 78;
/// Bytes of an audio sample entry before its child boxes (12.2.3).
pub const AUDIO_ENTRY: usize = 28;

/// The codec string of a sample entry named `format`, whose child boxes are `children`.
///
/// A configuration that cannot be read still gives a name (its four characters): the init segment is worth sending, and
/// the browser has the last word.
pub fn codec_string(format: [u8; 4], children: &[u8]) -> String {
    let config = |kind| boxes::child(children, kind).map(|child| child.body);
    let plain = || format.escape_ascii().to_string();
    match &format {
        b"avc1" | b"avc3" => config(b"avcC")
            .and_then(|body| body.get(1..4))
            .map(|id| format!("{}.{:02X}{:02X}{:02X}", plain(), id[0], id[1], id[2])),
        b"hvc1" | b"hev1" => {
            config(b"hvcC").and_then(decode::<Hvcc>).map(|hvcc| format!("{}.{}", plain(), hevc(&hvcc)))
        }
        b"av01" => config(b"av1C").and_then(av1),
        b"vp08" | b"vp09" => config(b"vpcC")
            .and_then(decode::<VpcC>)
            .map(|vpcc| format!("{}.{:02}.{:02}.{:02}", plain(), vpcc.profile, vpcc.level, vpcc.bit_depth)),
        b"mp4a" => config(b"esds").and_then(decode::<Esds>).map(|esds| mpeg4_audio(&esds)),
        b"Opus" => Some("opus".into()),
        b"fLaC" => Some("flac".into()),
        _ => None,
    }
    .unwrap_or_else(plain)
}

fn decode<A: Atom>(mut body: &[u8]) -> Option<A> {
    A::decode_body(&mut body).ok()
}

/// `1.6.L93.B0`: profile, compatibility bits in reverse, tier and level, constraint bytes without trailing zeros.
fn hevc(hvcc: &Hvcc) -> String {
    let space = ["", "A", "B", "C"][usize::from(hvcc.general_profile_space & 3)];
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let constraints = &hvcc.general_constraint_indicator_flags;
    let used = constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let constraints: String = constraints[..used].iter().map(|byte| format!(".{byte:X}")).collect();
    format!("{space}{}.{compatibility:X}.{tier}{}{constraints}", hvcc.general_profile_idc, hvcc.general_level_idc)
}

/// `av01.0.04M.08` (AV1 in ISOBMFF, section 5). mp4mux 1.22 writes an av1C without the sequence header; its four fixed bytes suffice.
fn av1(body: &[u8]) -> Option<String> {
    let config = decode::<Av1c>(body)?;
    let depth = match (config.high_bitdepth, config.twelve_bit) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    let tier = if config.seq_tier_0 { 'H' } else { 'M' };
    Some(format!("av01.{}.{:02}{tier}.{depth:02}", config.seq_profile, config.seq_level_idx_0))
}

/// `mp4a.40.2`: object type, then for MPEG-4 audio the audio object type (ISO/IEC 14496-3, 1.6.2.1).
fn mpeg4_audio(esds: &Esds) -> String {
    let config = &esds.es_desc.dec_config;
    let object_type = config.object_type_indication;
    let specific = config.dec_specific.as_ref().map_or(&[][..], |specific| &specific.raw);
    let audio_type = match specific {
        [first, second, ..] if first >> 3 == 31 => Some(32 + (((first & 7) << 3) | (second >> 5))),
        [first, ..] => Some(first >> 3),
        [] => None,
    };
    match audio_type {
        Some(audio_type) if object_type == 0x40 => format!("mp4a.40.{audio_type}"),
        _ => format!("mp4a.{object_type:02X}"),
    }
}

/// Codecs are compared by family, as go2rtc does: players list a few profiles of each and play the others as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// avc1, avc3
    H264,
    /// hvc1, hev1
    H265,
    /// av01
    Av1,
    /// vp09
    Vp9,
    /// mp4a, but not MP3 in it
    Aac,
    /// opus
    Opus,
    /// flac
    Flac,
    /// mp3, or mp4a.6B
    Mp3,
}

/// The family of one codec string, in the spelling of MSE or of go2rtc.
pub fn family(codec: &str) -> Option<Family> {
    let codec = codec.trim();
    let (name, rest) = codec.split_once('.').unwrap_or((codec, ""));
    Some(match name {
        "avc1" | "avc3" => Family::H264,
        "hvc1" | "hev1" => Family::H265,
        "av01" => Family::Av1,
        "vp09" | "vp9" => Family::Vp9,
        "mp4a" if matches!(rest, "6B" | "6b" | "69" | "40.34") => Family::Mp3,
        "mp4a" => Family::Aac,
        "opus" | "Opus" => Family::Opus,
        "flac" | "fLaC" => Family::Flac,
        "mp3" => Family::Mp3,
        _ => return None,
    })
}

/// The families in a comma-separated list, as a player sends it.
pub fn families(codecs: &str) -> Vec<Family> {
    codecs.split(',').filter_map(family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    #[test]
    fn avc_is_named_by_profile_constraints_and_level() {
        let avcc = boxed(b"avcC", &[1, 0x64, 0x00, 0x1f, 0xff, 0xe0, 0]);
        assert_eq!(codec_string(*b"avc1", &avcc), "avc1.64001F");
        assert_eq!(codec_string(*b"avc3", &avcc), "avc3.64001F");
    }

    #[test]
    fn hevc_is_named_as_the_standard_spells_it() {
        let mut body = vec![1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93];
        body.extend([0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0]);
        assert_eq!(codec_string(*b"hvc1", &boxed(b"hvcC", &body)), "hvc1.1.6.L93.B0");
    }

    #[test]
    fn av1_is_named_without_a_sequence_header() {
        assert_eq!(codec_string(*b"av01", &boxed(b"av1C", &[0x81, 0x04, 0x0c, 0x00])), "av01.0.04M.08");
    }

    #[test]
    fn aac_is_named_by_its_audio_object_type() {
        let esds = b"\0\0\0\0\x03\x19\0\0\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x12\x10\x06\x01\x02";
        assert_eq!(codec_string(*b"mp4a", &boxed(b"esds", esds)), "mp4a.40.2");
    }

    #[test]
    fn what_cannot_be_read_keeps_its_name() {
        assert_eq!(codec_string(*b"avc1", &[]), "avc1");
        assert_eq!(codec_string(*b"hvc1", &boxed(b"hvcC", &[1, 2])), "hvc1");
        assert_eq!(codec_string(*b"wxyz", b"\xff\xff"), "wxyz");
    }

    #[test]
    fn lists_are_compared_by_family() {
        let list = families("avc1.640029,hvc1.1.6.L153.B0, mp4a.40.5,opus,unknown");
        assert_eq!(list, [Family::H264, Family::H265, Family::Aac, Family::Opus]);
        assert!(family("avc1.4D401F").is_some_and(|family| list.contains(&family)));
        assert!(!list.contains(&Family::Av1));
    }
}

//! What muxers write wrongly into an init segment and browsers refuse, put right.
//!
//! | muxer | what is wrong | what is done |
//! | --- | --- | --- |
//! | mp4mux 1.22 | dOps in little-endian | its numbers are turned, where that gives a sampling rate and the other way round none |
//! | mp4mux 1.22 | av1C without anything in it | made of the sequence header in the first keyframe; the init segment waits for it |
//!
//! What fragments need is in [`super::fragment`].

use super::boxes;
use super::codec::{AUDIO_ENTRY, VISUAL_ENTRY};
use super::elementary::Av1;

/// A box on the way to another one: its name, and how many bytes of its body come before its children.
type Step<'a> = (&'a [u8; 4], usize);

const SAMPLE_ENTRIES: [Step; 6] = [(b"moov", 0), (b"trak", 0), (b"mdia", 0), (b"minf", 0), (b"stbl", 0), (b"stsd", 8)];

/// No sound is sampled faster.
const FASTEST: u32 = 768_000;

/// Turns a dOps that is in little-endian. `data` is an init segment.
pub fn opus(data: &mut [u8]) {
    let path = [&SAMPLE_ENTRIES[..], &[(b"Opus", AUDIO_ENTRY), (b"dOps", 0)]].concat();
    let Some(&start) = find(data, 0, &path).as_deref().and_then(<[usize]>::last) else { return };
    let Some(body) = data.get_mut(start + 8..).and_then(|rest| rest.first_chunk_mut::<10>()) else { return };
    let rate: [u8; 4] = [body[4], body[5], body[6], body[7]];
    if u32::from_be_bytes(rate) > FASTEST && (1..=FASTEST).contains(&u32::from_le_bytes(rate)) {
        // Version and channels, then pre-skip, input sampling rate, output gain.
        body[2..4].reverse();
        body[4..8].reverse();
        body[8..10].reverse();
    }
}

/// Whether an AV1 track lacks its configuration. `data` is an init segment.
pub fn lacks_av1_configuration(data: &[u8]) -> bool {
    let Some(path) = av1_entry(data) else { return false };
    let (_, configuration) = av1_configuration(data, &path);
    // Marker and version (AV1-ISOBMFF, 2.3.3), and three bytes more.
    !configuration.is_some_and(|body| body.len() >= 4 && body[0] == 0x81)
}

/// The same init segment with the configuration that `sample` (the first keyframe) gives; `None` when it gives none.
pub fn with_av1_configuration(data: &[u8], sample: &[u8]) -> Option<Vec<u8>> {
    let path = av1_entry(data)?;
    let mut stream = Av1::new();
    // What follows the sequence header does not matter, whole or not.
    let _ = stream.sample(sample, &mut Vec::new());
    let configuration = stream.entry()?.configuration;
    let (place, _) = av1_configuration(data, &path);
    let mut repaired = [&data[..place.start], &configuration, &data[place.end..]].concat();
    for start in path {
        let size = repaired.get_mut(start..)?.first_chunk_mut::<4>()?;
        let old = u32::from_be_bytes(*size);
        // 0 and 1 say that the size is elsewhere; no muxer does that in a moov.
        let new = (u64::from(old) + configuration.len() as u64).checked_sub(place.len() as u64)?;
        *size = u32::try_from(new).ok().filter(|_| old > 1)?.to_be_bytes();
    }
    Some(repaired)
}

/// Where the boxes start that lead to the AV1 sample entry, and it itself.
fn av1_entry(data: &[u8]) -> Option<Vec<usize>> {
    find(data, 0, &[&SAMPLE_ENTRIES[..], &[(b"av01", VISUAL_ENTRY)]].concat())
}

/// Where av1C stands or should stand, and its body.
fn av1_configuration<'a>(data: &'a [u8], path: &[usize]) -> (std::ops::Range<usize>, Option<&'a [u8]>) {
    let entry = path.last().map_or(0, |start| start + 8 + VISUAL_ENTRY);
    let children = path.last().and_then(|start| boxes::children(&data[*start..]).next()?.body.get(VISUAL_ENTRY..));
    match children.and_then(|children| boxes::child(children, b"av1C")) {
        Some(found) => {
            let start = entry + found.start;
            (start..start + found.header_len + found.body.len(), Some(found.body))
        }
        None => (entry.min(data.len())..entry.min(data.len()), None),
    }
}

/// Where the boxes of the first such path start. `base` is where `bytes` starts.
fn find(bytes: &[u8], base: usize, path: &[Step]) -> Option<Vec<usize>> {
    let (&(kind, skip), deeper) = path.split_first()?;
    boxes::children(bytes).filter(|child| &child.kind == kind).find_map(|child| {
        let mut starts = vec![base + child.start];
        if !deeper.is_empty() {
            starts.extend(find(child.body.get(skip..)?, base + child.body_start() + skip, deeper)?);
        }
        Some(starts)
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{boxed, trak_of};
    use super::super::{Error, Output, Parser, samples};
    use super::*;

    /// What mp4mux 1.22 writes.
    const EMPTY_AV1C: [u8; 5] = [0; 5];
    const LITTLE_DOPS: [u8; 11] = [0, 2, 0x38, 0x01, 0x80, 0xbb, 0, 0, 0, 0, 0];
    const BIG_DOPS: [u8; 11] = [0, 2, 0x01, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0];

    fn init(entry: &[u8]) -> Vec<u8> {
        let handler = if &entry[4..8] == b"Opus" { b"soun" } else { b"vide" };
        let trex = samples::full(b"trex", 0, 0, &[1, 1, 40, 0, 0]);
        let moov = [trak_of(1, handler, 48_000, entry), boxed(b"mvex", &trex)].concat();
        [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"moov", &moov)].concat()
    }

    fn opus_init(dops: &[u8]) -> Vec<u8> {
        init(&boxed(b"Opus", &[vec![0; AUDIO_ENTRY], boxed(b"dOps", dops)].concat()))
    }

    fn av1_init(configuration: Option<&[u8]>) -> Vec<u8> {
        let av1c = configuration.map_or(vec![], |body| boxed(b"av1C", body));
        init(&boxed(b"av01", &[vec![0; VISUAL_ENTRY], av1c, boxed(b"free", b"after")].concat()))
    }

    #[test]
    fn opus_is_turned_and_only_where_it_is_wrong() {
        for (written, read) in [(LITTLE_DOPS, BIG_DOPS), (BIG_DOPS, BIG_DOPS)] {
            let mut data = opus_init(&written);
            opus(&mut data);
            assert_eq!(data, opus_init(&read));
        }
        // Without a rate, nothing can be told from it.
        let mut unknown = opus_init(&[0; 11]);
        opus(&mut unknown);
        assert_eq!(unknown, opus_init(&[0; 11]));
        opus(&mut opus_init(b"cut"));
    }

    #[test]
    fn av1_gets_its_configuration_from_the_first_keyframe() {
        let key = [&[0x12, 0][..], &samples::AV1_HEADER, &[0x32, 1, 0x10]].concat();
        for broken in [av1_init(Some(&EMPTY_AV1C)), av1_init(None)] {
            let bytes = [broken, samples::fragment(1, 0, false, b"\x32\x01\x30"), samples::fragment(1, 40, true, &key)];
            let outputs = samples::parse(&bytes.concat());
            let [Output::Init(init), Output::Fragment(first)] = &outputs[..] else { panic!("{outputs:?}") };
            assert_eq!((init.codecs().as_str(), first.keyframe), ("av01.0.00M.08", true));
            let configuration = [&[0x81, 0, 0x0c, 0][..], &samples::AV1_HEADER].concat();
            assert_eq!(init.data, av1_init(Some(&configuration)));
        }
    }

    #[test]
    fn av1_that_has_its_configuration_does_not_wait() {
        let whole = av1_init(Some(&[0x81, 4, 0x0c, 0]));
        assert!(matches!(&samples::parse(&whole)[..], [Output::Init(init)] if init.data == whole));
    }

    #[test]
    fn av1_that_never_tells_its_configuration_is_refused() {
        let fragments = samples::fragment(1, 0, true, b"\x32\x01\x10").repeat(1000);
        let bytes = [av1_init(Some(&EMPTY_AV1C)), fragments].concat();
        let error = Parser::default().push(&bytes, &mut Vec::new());
        assert_eq!(error, Err(Error::Av1Configuration));
    }
}

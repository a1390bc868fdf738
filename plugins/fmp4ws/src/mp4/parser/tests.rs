use super::super::samples::{boxed, fragment, full, init, parse, parse_parts, trak};
use super::*;
use proptest::prelude::*;

fn error_of(bytes: &[u8]) -> Error {
    Parser::default().push(bytes, &mut Vec::new()).expect_err("these bytes are not a valid stream")
}

/// A fragment of track 1 with this tfhd and these truns.
fn custom(tfhd: Vec<u8>, truns: &[Vec<u8>]) -> Vec<u8> {
    let traf = [tfhd, full(b"tfdt", 0, 0, &[7]), truns.concat()].concat();
    [boxed(b"moof", &boxed(b"traf", &traf)), boxed(b"mdat", b"payload")].concat()
}

fn only_fragment(tfhd: Vec<u8>, truns: &[Vec<u8>]) -> Arc<Fragment> {
    parse_parts(&[init(false), custom(tfhd, truns)].concat()).1.remove(0)
}

#[test]
fn a_stream_is_cut_into_init_and_fragments() {
    let bytes =
        [init(true), fragment(1, 80, true, b"key"), fragment(2, 9, true, b"snd"), fragment(1, 120, false, b"d")];
    let (init, fragments) = parse_parts(&bytes.concat());
    assert_eq!(init.data, bytes[0]);
    assert_eq!(init.mime(), "video/mp4; codecs=\"avc1.64001F,opus\"");
    assert_eq!((init.main().width, init.main().height, init.main().timescale), (320, 240, 1000));
    let datas: Vec<_> = fragments.iter().map(|fragment| fragment.data.to_vec()).collect();
    assert_eq!(datas, bytes[1..]);
    let seen: Vec<_> = fragments.iter().map(|f| (f.keyframe, f.frames, f.runs[0].tfdt, f.runs[0].duration)).collect();
    assert_eq!(seen, [(true, 1, 80, 40), (false, 0, 9, 960), (false, 1, 120, 40)]);
}

#[test]
fn boxes_that_browsers_do_not_need_are_left_out() {
    let styp = boxed(b"styp", b"msdh\0\0\0\0");
    let plain = [init(false), fragment(1, 0, true, b"k")].concat();
    let noisy = [init(false), styp.clone(), boxed(b"sidx", &[0; 99]), fragment(1, 0, true, b"k"), styp].concat();
    assert_eq!(parse(&noisy), parse(&plain));
}

#[test]
fn a_box_between_moof_and_mdat_stays_where_the_sample_positions_expect_it() {
    let whole = fragment(1, 0, true, b"k");
    let (moof, mdat) = whole.split_at(whole.len() - 9);
    let bytes = [init(false), moof.to_vec(), boxed(b"free", b"gap"), mdat.to_vec()].concat();
    let (_, fragments) = parse_parts(&bytes);
    assert_eq!(fragments[0].data.len(), whole.len() + 11);
}

#[test]
fn keyframes_are_found_in_the_order_of_the_standard() {
    let delta = 0x0001_0000;
    let bare = || full(b"tfhd", 0, 0x02_0000, &[1]);
    let tfhd = |flags| full(b"tfhd", 0, 0x02_0020, &[1, flags]);
    let plain_trun = || full(b"trun", 0, 0, &[2]);
    // The trex of these tests says non-sync.
    assert!(!only_fragment(bare(), &[plain_trun()]).keyframe);
    assert!(only_fragment(tfhd(0x0200_0000), &[plain_trun()]).keyframe);
    assert!(only_fragment(tfhd(delta), &[full(b"trun", 0, 0x004, &[2, 0])]).keyframe);
    assert!(!only_fragment(tfhd(0), &[full(b"trun", 0, 0x004, &[2, delta])]).keyframe);
    assert!(only_fragment(tfhd(delta), &[full(b"trun", 0, 0x400, &[2, 0, delta])]).keyframe);
    assert!(!only_fragment(tfhd(0), &[full(b"trun", 0, 0x404, &[2, 0, delta, 0])]).keyframe);
}

#[test]
fn durations_and_composition_offsets_are_summed_and_signed() {
    let tfhd = full(b"tfhd", 0, 0x02_0008, &[1, 25]);
    let truns = [full(b"trun", 1, 0x900, &[2, 30, (-3i32).cast_unsigned(), 31, 0]), full(b"trun", 0, 0, &[2])];
    let fragment = only_fragment(tfhd, &truns);
    let run = &fragment.runs[0];
    assert_eq!((run.samples, run.duration, run.tfdt, run.shown), (4, 30 + 31 + 25 + 25, 7, 4));
}

#[test]
fn the_edit_list_shifts_what_is_shown() {
    let elst = boxed(b"edts", &full(b"elst", 0, 0, &[1, 0, 80, 0x0001_0000]));
    let mut moov = trak(1, b"vide", 1000, &elst);
    moov.extend(boxed(b"mvex", &full(b"trex", 0, 0, &[1, 1, 40, 0, 0])));
    let bytes = [boxed(b"moov", &moov), fragment(1, 100, true, b"k")].concat();
    assert_eq!(parse_parts(&bytes).1[0].runs[0].shown, 20);
}

#[test]
fn positions_are_made_to_count_from_the_moof() {
    // As mp4mux writes it: no base, and the flag unset.
    let fragment = only_fragment(full(b"tfhd", 0, 0x38, &[1, 40, 7, 0]), &[full(b"trun", 0, 0, &[1])]);
    assert_eq!(fragment.data[24..28], [0, 2, 0, 0x38]);
    // As ffmpeg writes it without default_base_moof: the moof's own position.
    let base = init(false).len() as u32;
    let fragment = only_fragment(full(b"tfhd", 0, 0x29, &[1, 0, base, 40, 0]), &[full(b"trun", 0, 0, &[1])]);
    let tfhd = [full(b"tfhd", 0, 0x02_0028, &[1, 40, 0]), boxed(b"free", b"")].concat();
    assert_eq!(fragment.data[16..16 + tfhd.len()], tfhd);
    assert!(fragment.keyframe);
    // Any other position cannot be kept.
    let bytes = [init(false), custom(full(b"tfhd", 0, 1, &[1, 0, 99]), &[])].concat();
    assert_eq!(error_of(&bytes), Error::Offsets);
}

#[test]
fn a_child_that_cannot_be_read_does_not_lose_the_moov() {
    let init_segment = init;
    let mut bytes = init(false);
    let at = bytes.windows(4).position(|window| window == b"avcC").expect("the sample has an avcC");
    bytes[at..at + 4].copy_from_slice(b"free");
    let (init, fragments) = parse_parts(&[bytes, fragment(1, 0, true, b"k")].concat());
    assert_eq!((init.codecs().as_str(), fragments.len()), ("avc1", 1));
    // Whichever box it is: as long as one track is left, the stream goes on.
    for kind in [b"tkhd", b"mdhd", b"hdlr", b"stsd", b"stbl", b"Opus", b"trex"] {
        let mut bytes = init_segment(true);
        let at = bytes.windows(4).rposition(|window| window == kind).expect("the sound has this box");
        bytes[at..at + 4].copy_from_slice(b"free");
        let (init, fragments) = parse_parts(&[bytes, fragment(1, 0, true, b"k")].concat());
        assert!(init.codecs().starts_with("avc1.64001F") && fragments.len() == 1, "{}", init.codecs());
    }
}

#[test]
fn what_is_not_a_live_stream_is_refused_in_words() {
    let ftyp = boxed(b"ftyp", b"isom\0\0\0\0");
    let progressive = [ftyp.clone(), boxed(b"moov", &trak(1, b"vide", 1000, &[]))].concat();
    assert_eq!(error_of(&progressive), Error::NotFragmented);
    assert_eq!(error_of(&[ftyp.clone(), boxed(b"mdat", b"samples")].concat()), Error::NotFragmented);
    assert_eq!(error_of(&fragment(1, 0, true, b"k")), Error::NoInit);
    assert_eq!(error_of(&[init(false), b"\0\0\0\0moof".to_vec()].concat()), Error::Endless(FourCc(*b"moof")));
    assert!(matches!(error_of(b"this is not a movie"), Error::TooLarge { position: 0, .. }));
    assert!(matches!(error_of(&[init(false), vec![0; 64]].concat()), Error::Garbage { .. }));
}

#[test]
fn a_length_is_only_a_claim() {
    let mut parser = Parser::default();
    let mut outputs = Vec::new();
    parser.push(&init(false), &mut outputs).expect("the init segment is valid");
    parser.push(b"\x03\xff\xff\xffmoof", &mut outputs).expect("64 MiB are allowed");
    assert!(parser.collected.capacity() < 4096);
    let huge = [init(false), b"\0\0\0\x01moof\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()].concat();
    assert!(matches!(error_of(&huge), Error::TooLarge { size: u64::MAX, .. }));
}

#[test]
fn a_sample_count_is_only_a_claim() {
    let per_sample = custom(full(b"tfhd", 0, 0x02_0000, &[1]), &[full(b"trun", 0, 0x100, &[u32::MAX, 1])]);
    assert!(matches!(error_of(&[init(false), per_sample].concat()), Error::Malformed { kind: FourCc([b't', ..]), .. }));
    let fragment = only_fragment(full(b"tfhd", 0, 0x02_0000, &[1]), &[full(b"trun", 0, 0, &[u32::MAX])]);
    assert_eq!(fragment.runs[0].duration, 40 * u64::from(u32::MAX));
}

#[test]
fn boxes_between_moof_and_mdat_are_limited_together() {
    let whole = fragment(1, 0, true, b"k");
    let (moof, mdat) = whole.split_at(whole.len() - 9);
    let gaps = |count| [moof, &boxed(b"free", &[0; 92]).repeat(count), mdat].concat();
    let limits = Limits { init: 4096, fragment: 500 };
    let push = |bytes: &[u8]| {
        let mut parser = Parser::with_limits(limits);
        parser.push(&init(false), &mut Vec::new()).expect("the init segment is valid");
        parser.push(bytes, &mut Vec::new()).map(|()| parser.collected.capacity())
    };
    assert!(push(&gaps(5)).is_ok());
    assert!(matches!(push(&gaps(100)), Err(Error::TooMuch { kind: FourCc([b'f', ..]), limit: 1000, .. })));
}

#[test]
fn the_first_sample_is_announced() {
    let mut parser = Parser::default();
    let mut outputs = Vec::new();
    let whole = [init(false), fragment(1, 0, true, b"key")].concat();
    let (head, samples) = whole.split_at(whole.len() - 3);
    parser.push(&head[..head.len() - 1], &mut outputs).expect("valid");
    assert!(!parser.at_first_sample());
    parser.push(&head[head.len() - 1..], &mut outputs).expect("valid");
    assert!(parser.at_first_sample());
    parser.push(&samples[..1], &mut outputs).expect("valid");
    assert!(!parser.at_first_sample());
}

#[test]
fn the_run_that_comes_first_is_found_by_its_place() {
    let traf = |track: u32, at: u32| {
        let tfhd = full(b"tfhd", 0, 0x02_0000, &[track]);
        boxed(b"traf", &[tfhd, full(b"tfdt", 0, 0, &[7]), full(b"trun", 0, 0x201, &[1, at, 1])].concat())
    };
    let first_track = |picture: u32, sound: u32| {
        let moof = boxed(b"moof", &[traf(1, picture), traf(2, sound)].concat());
        let (_, fragments) = parse_parts(&[init(true), moof, boxed(b"mdat", b"ps")].concat());
        fragments[0].first_run().map(|run| run.track)
    };
    // moof has 8 bytes, each traf 64, mdat's header 8.
    assert_eq!([first_track(144, 145), first_track(145, 144)], [Some(1), Some(2)]);
    assert_eq!(first_track(99, 98), None);
}

#[test]
fn after_an_error_only_a_reset_helps() {
    let mut parser = Parser::default();
    let mut outputs = Vec::new();
    assert!(parser.push(&[0; 8], &mut outputs).is_err());
    assert!(parser.push(&init(false), &mut outputs).is_err());
    parser.reset();
    parser.push(&init(false), &mut outputs).expect("it starts anew");
    assert_eq!(outputs.len(), 1);
}

#[test]
fn a_stream_goes_on_after_a_flush_without_another_init_segment() {
    let mut parser = Parser::default();
    let mut outputs = Vec::new();
    let [before, after] = [fragment(1, 0, true, b"before"), fragment(1, 40, true, b"after")];
    parser.push(&[init(false), before[..before.len() - 3].to_vec()].concat(), &mut outputs).expect("valid");
    parser.flush();
    parser.push(&after, &mut outputs).expect("the init segment is known");
    assert_eq!(outputs, parse(&[init(false), after].concat()));
}

/// Outputs and the error, with the stream cut at these places.
fn chunked(bytes: &[u8], cuts: &[usize]) -> (Vec<Output>, Option<Error>) {
    let mut parser = Parser::default();
    let mut outputs = Vec::new();
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut start = 0;
    for cut in cuts {
        if let Err(error) = parser.push(&bytes[start..cut], &mut outputs) {
            return (outputs, Some(error));
        }
        start = cut;
    }
    (outputs, None)
}

fn stream() -> Vec<u8> {
    let long = [b"\0\0\0\x01free\0\0\0\0\0\0\0\x14".as_slice(), b"long"].concat();
    let parts = [
        init(true),
        fragment(1, 0, true, b"keyframe"),
        long,
        fragment(2, 0, true, b"sound"),
        boxed(b"free", b""),
        init(false),
        fragment(1, 40, true, &[7; 300]),
        boxed(b"mfra", &[0; 20]),
    ];
    parts.concat()
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same(cuts in prop::collection::vec(any::<usize>(), 0..40)) {
        let bytes = stream();
        let (outputs, error) = chunked(&bytes, &cuts);
        prop_assert_eq!(error, None);
        prop_assert_eq!(outputs, parse(&bytes));
    }

    #[test]
    fn a_cut_stream_gives_a_part_of_the_whole(len in 0usize..2000) {
        let bytes = stream();
        let bytes = &bytes[..len.min(bytes.len())];
        let (outputs, error) = chunked(bytes, &[]);
        prop_assert_eq!(error, None);
        prop_assert!(parse(&stream()).starts_with(&outputs));
    }

    #[test]
    fn damage_never_panics_and_chunks_agree_on_it(
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..12),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut bytes = stream();
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        prop_assert_eq!(chunked(&bytes, &cuts), chunked(&bytes, &[]));
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = chunked(&bytes, &[]);
        let _ = chunked(&[init(true), bytes].concat(), &[]);
    }
}

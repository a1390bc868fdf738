use super::*;
use crate::mp4::elementary::{Aac, H264, Opus};
use crate::mp4::{Fragment, Parser};

const MS: i64 = 1_000_000;

/// 320x240, level 2, without B-frames, of x264.
const SPS: [u8; 29] = [
    0x67, 0x64, 0x00, 0x14, 0xac, 0xb2, 0x02, 0x83, 0xf6, 0x02, 0xd4, 0x18, 0x18, 0x1a, 0x94, 0x00, 0x00, 0x03, 0x00,
    0x04, 0x00, 0x00, 0x03, 0x00, 0xca, 0x3c, 0x50, 0xa9, 0x20,
];
const PPS: [u8; 6] = [0x68, 0xeb, 0xcc, 0xb2, 0x2c, 0x80];

fn avc() -> Video {
    Video::H264(H264::byte_stream())
}

fn keyframe() -> Vec<u8> {
    [&[0, 0, 0, 1][..], &SPS, &[0, 0, 1], &PPS, &[0, 0, 1, 0x65, 0x88, 0x84]].concat()
}

fn delta() -> Vec<u8> {
    vec![0, 0, 1, 0x41, 0x9a, 0x24]
}

fn aac() -> Audio {
    Audio::Aac(Aac::new(&[0x11, 0x90]).expect("AAC-LC, 48 kHz"))
}

#[derive(Default)]
struct Bench {
    muxer: Muxer,
    outputs: Vec<Output>,
}

impl Bench {
    fn new(sound: bool) -> Self {
        let mut bench = Self::default();
        bench.muxer.set_video(avc(), (1, 1));
        bench.muxer.expect_sound(sound);
        bench
    }

    fn frame<'a>(data: &'a [u8], ms: i64) -> Frame<'a> {
        Frame { data, shown: ms * MS, decode: None, length: None, keyframe: false, arrived: ms * MS }
    }

    fn picture(&mut self, data: &[u8], ms: i64) {
        self.muxer.video(Self::frame(data, ms), &mut self.outputs).expect("a valid frame");
    }

    fn sound(&mut self, ms: i64) {
        self.muxer.sound(Self::frame(b"frame", ms), &mut self.outputs).expect("a valid frame");
    }

    /// What came out since the last time: "I codecs", "K ms" for a keyframe, "d ms", "s ms" for sound.
    fn heard(&mut self) -> Vec<String> {
        let name = |output| match output {
            Output::Init(init) => format!("I {}", init.codecs()),
            Output::Fragment(fragment) => {
                let run = &fragment.runs[0];
                let scale = if run.track == moov::VIDEO { 90_000 } else { 48_000 };
                let kind = if run.track == moov::AUDIO {
                    's'
                } else if fragment.keyframe {
                    'K'
                } else {
                    'd'
                };
                format!("{kind} {}", run.shown * 1000 / scale)
            }
        };
        std::mem::take(&mut self.outputs).into_iter().map(name).collect()
    }
}

#[test]
fn a_frame_is_a_fragment_at_once() {
    let mut bench = Bench::new(false);
    bench.picture(&delta(), 960);
    assert_eq!(bench.heard(), [""; 0]);
    assert!(bench.muxer.take_keyframe_wanted());
    bench.picture(&keyframe(), 1000);
    assert_eq!(bench.heard(), ["I avc1.640014", "K 0"]);
    bench.picture(&delta(), 1040);
    assert_eq!(bench.heard(), ["d 40"]);
    assert_eq!(bench.muxer.origin(), Some(1000 * MS));
}

#[test]
fn what_is_written_is_what_the_parser_reads() {
    let mut bench = Bench::new(true);
    bench.muxer.set_sound(aac());
    bench.picture(&keyframe(), 1000);
    bench.sound(1000);
    bench.picture(&delta(), 1040);
    bench.sound(1021);
    let bytes: Vec<u8> = bench
        .outputs
        .iter()
        .flat_map(|output| match output {
            Output::Init(init) => init.data.to_vec(),
            Output::Fragment(fragment) => fragment.data.to_vec(),
        })
        .collect();
    let mut parsed = Vec::new();
    Parser::default().push(&bytes, &mut parsed).expect("valid");
    assert_eq!(parsed, bench.outputs);
    let Output::Init(init) = &parsed[0] else { panic!("{parsed:?}") };
    assert_eq!((init.mime().as_str(), init.main().width), ("video/mp4; codecs=\"avc1.640014,mp4a.40.2\"", 320));
    let Output::Fragment(first) = &parsed[1] else { panic!("{parsed:?}") };
    // Lengths instead of start codes, and no parameter sets.
    assert!(first.data.ends_with(b"mdat\0\0\0\x03\x65\x88\x84"));
}

#[test]
fn sound_waits_for_the_picture_and_not_the_other_way_round() {
    let mut bench = Bench::new(true);
    bench.muxer.set_sound(aac());
    bench.sound(900);
    bench.sound(1000);
    bench.picture(&keyframe(), 1000);
    assert_eq!(bench.heard(), ["I avc1.640014,mp4a.40.2", "K 0", "s 0"]);
    bench.sound(1021);
    bench.sound(1042);
    assert_eq!(bench.heard(), ["s 21"]);
    bench.picture(&delta(), 1040);
    assert_eq!(bench.heard(), ["d 40", "s 42"]);
    bench.sound(1064);
    bench.sound(1085);
    assert_eq!(bench.heard(), ["s 64"]);
    bench.muxer.finish_video(&mut bench.outputs);
    bench.sound(1106);
    assert_eq!(bench.heard(), ["s 85", "s 106"]);
    assert!(!bench.muxer.has_ended());
    bench.muxer.finish_sound();
    assert!(bench.muxer.has_ended());
}

#[test]
fn a_hole_in_the_sound_is_filled_with_silence() {
    let mut bench = Bench::new(true);
    bench.muxer.set_sound(aac());
    bench.sound(1000);
    bench.picture(&keyframe(), 1000);
    bench.heard();
    bench.sound(1107);
    bench.picture(&delta(), 1120);
    assert_eq!(
        bench
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Fragment(f) if f.data.ends_with(b"\x0e")))
            .count(),
        4
    );
    assert_eq!(bench.heard(), ["d 120", "s 21", "s 42", "s 64", "s 85", "s 106"]);
}

#[test]
fn sound_that_never_comes_holds_nothing_up_for_long() {
    let mut bench = Bench::new(true);
    bench.picture(&keyframe(), 0);
    (1..25).for_each(|frame| bench.picture(&delta(), 40 * frame));
    assert_eq!(bench.heard(), [""; 0]);
    bench.picture(&delta(), 1000);
    let heard = bench.heard();
    assert_eq!((&heard[..2], heard.len()), (&["I avc1.640014".to_owned(), "K 0".to_owned()][..], 27));
}

#[test]
fn late_sound_joins_at_a_keyframe_and_lost_sound_leaves_at_one() {
    let mut bench = Bench::new(true);
    bench.picture(&keyframe(), 0);
    bench.picture(&delta(), 1000);
    bench.heard();
    bench.muxer.set_sound(aac());
    bench.sound(1040);
    bench.picture(&delta(), 1040);
    assert_eq!(bench.heard(), ["d 1040"]);
    assert!(bench.muxer.take_keyframe_wanted());
    bench.picture(&keyframe(), 1080);
    assert_eq!(bench.heard(), ["I avc1.640014,mp4a.40.2", "K 1080", "s 1040"]);
    bench.picture(&delta(), 4000);
    assert!(!bench.muxer.take_keyframe_wanted());
    bench.picture(&delta(), 4080);
    assert!(bench.muxer.take_keyframe_wanted());
    bench.heard();
    bench.picture(&keyframe(), 4120);
    assert_eq!(bench.heard(), ["I avc1.640014", "K 4120"]);
    // It is back, and what was missing meanwhile is no hole.
    bench.sound(9000);
    bench.picture(&keyframe(), 9000);
    assert_eq!(bench.heard(), ["I avc1.640014,mp4a.40.2", "K 9000", "s 9000"]);
}

#[test]
fn other_parameter_sets_give_another_init_segment() {
    let mut bench = Bench::new(false);
    bench.picture(&keyframe(), 0);
    bench.picture(&keyframe(), 40);
    assert_eq!(bench.heard(), ["I avc1.640014", "K 0", "K 40"]);
    let mut other = keyframe();
    other[7] = 0x15;
    bench.picture(&other, 80);
    assert_eq!(bench.heard(), ["I avc1.640015", "K 80"]);
    // Other caps, the same stream in them: nobody notices.
    bench.muxer.set_video(avc(), (1, 1));
    bench.picture(&delta(), 120);
    assert!(bench.muxer.take_keyframe_wanted());
    bench.picture(&other, 160);
    assert_eq!(bench.heard(), ["K 160"]);
}

#[test]
fn a_source_that_starts_again_goes_on_in_media_time() {
    let mut bench = Bench::new(false);
    bench.picture(&keyframe(), 10_000);
    bench.picture(&delta(), 10_040);
    bench.heard();
    bench.muxer.flush(true);
    bench.picture(&keyframe(), 0);
    bench.picture(&delta(), 40);
    assert_eq!(bench.heard(), ["K 80", "d 120"]);
    assert_eq!(bench.muxer.origin(), Some(-80 * MS));
}

#[test]
fn one_picture_that_is_stamped_far_ahead_costs_none_but_itself() {
    for ahead in [5000, 3_600_000] {
        let mut bench = Bench::new(true);
        bench.muxer.set_sound(aac());
        let mut stamped = |ms, shown| {
            bench.sound(ms);
            bench.picture(if ms % 1000 == 0 { keyframe() } else { delta() }.as_slice(), shown);
        };
        (0..40).for_each(|frame| stamped(frame * 40, frame * 40));
        stamped(1600, 1600 + ahead);
        (41..100).for_each(|frame| stamped(frame * 40, frame * 40));
        let inits = bench.outputs.iter().filter(|output| matches!(output, Output::Init(_))).count();
        assert_eq!(inits, 1, "the sound stays");
        let runs = bench.outputs.iter().filter_map(|output| match output {
            Output::Fragment(fragment) if fragment.frames > 0 => Some(fragment.runs[0].clone()),
            _ => None,
        });
        let runs: Vec<_> = runs.collect();
        assert_eq!(runs.len(), 100);
        for (frame, run) in runs.iter().enumerate().filter(|(frame, _)| *frame != 40) {
            let offset = (run.shown - i64::try_from(run.tfdt).expect("not that long")).abs();
            assert!(offset <= 90 * 80, "frame {frame} of {ahead}: {run:?}");
        }
        let passed = runs[99].shown - runs[41].shown;
        assert_eq!(passed, 58 * 40 * 90);
    }
}

#[test]
fn pictures_out_of_order_at_a_low_rate_are_no_new_beginning() {
    let mut bench = Bench::new(false);
    bench.picture(&keyframe(), 0);
    // P B B, a picture in four seconds.
    let groups = (0..12).map(|group| group * 12_000);
    groups.flat_map(|at| [at + 12_000, at + 4000, at + 8000]).for_each(|ms| bench.picture(&delta(), ms));
    let heard = bench.heard();
    assert_eq!(heard[2..5], ["d 12000", "d 4000", "d 8000"]);
    assert_eq!(heard[35..], ["d 144000", "d 136000", "d 140000"]);
}

#[test]
fn sound_of_a_source_that_starts_again_stays() {
    let mut bench = Bench::new(true);
    bench.muxer.set_sound(aac());
    bench.sound(10_000);
    bench.picture(&keyframe(), 10_000);
    bench.heard();
    [true, false].into_iter().for_each(|pictures| bench.muxer.flush(pictures));
    bench.picture(&keyframe(), 0);
    bench.sound(0);
    // Within the tolerance of stamps, it joins to what was heard before.
    assert_eq!(bench.heard(), ["K 40", "s 21"]);
    // It does not come back this time.
    [true, false].into_iter().for_each(|pictures| bench.muxer.flush(pictures));
    bench.picture(&keyframe(), 5000);
    bench.picture(&keyframe(), 6400);
    assert_eq!(bench.heard(), ["K 5040", "K 6440"]);
    bench.picture(&keyframe(), 8000);
    assert_eq!(bench.heard(), ["I avc1.640014", "K 8040"]);
}

#[test]
fn pictures_do_not_stand_still_until_a_keyframe_takes_lost_sound_out() {
    let mut bench = Bench::new(true);
    bench.muxer.set_sound(aac());
    bench.sound(0);
    bench.picture(&keyframe(), 0);
    bench.picture(&delta(), 1480);
    assert_eq!(bench.heard(), ["I avc1.640014,mp4a.40.2", "K 0", "s 0", "d 1480"]);
    bench.picture(&delta(), 1520);
    let heard = bench.heard();
    assert_eq!((&heard[..2], heard.len()), (&["d 1520".to_owned(), "s 21".to_owned()][..], 71), "{heard:?}");
    bench.picture(&delta(), 1560);
    assert_eq!(bench.heard(), ["d 1560", "s 1514", "s 1536"]);
    // Too late to be heard, and then in time.
    bench.sound(1400);
    bench.sound(1557);
    bench.picture(&delta(), 1600);
    assert_eq!(bench.heard(), ["s 1557", "d 1600"]);
}

#[test]
fn sound_that_is_stamped_far_ahead_keeps_back_none_that_comes_after_it() {
    let mut bench = Bench::new(true);
    bench.muxer.set_sound(aac());
    bench.sound(1000);
    bench.picture(&keyframe(), 1000);
    bench.heard();
    bench.sound(3_600_000);
    bench.sound(1021);
    bench.picture(&delta(), 1040);
    assert_eq!(bench.heard(), ["s 21", "d 40"]);
}

#[test]
fn sound_that_jumps_ahead_gives_way_to_silence_until_the_pictures_are_there() {
    let mut bench = Bench::new(true);
    bench.muxer.set_sound(aac());
    bench.sound(0);
    bench.picture(&keyframe(), 0);
    bench.heard();
    let mut silent_until = 0;
    for ms in (40..8000).step_by(40) {
        bench.sound(8000 + ms - 40);
        bench.picture(&delta(), ms);
        let heard = bench.heard();
        silent_until =
            heard.iter().filter_map(|heard| heard.strip_prefix("s ")?.parse().ok()).fold(silent_until, i64::max);
        assert!(ms - silent_until <= 1600, "at {ms} ms there is sound up to {silent_until}");
    }
    bench.picture(&delta(), 8000);
    let heard = bench.heard();
    assert!(heard.len() < 7 && heard.last().is_some_and(|heard| heard.starts_with("s 80")), "{heard:?}");
}

#[test]
fn a_frame_that_cannot_be_read_costs_itself() {
    let mut bench = Bench::default();
    let avcc = [&[1, 0x64, 0, 0x14, 0xff, 0xe1, 0, SPS.len() as u8][..], &SPS, &[1, 0, 6], &PPS].concat();
    bench.muxer.set_video(Video::H264(H264::avc(&avcc).expect("valid")), (1, 1));
    bench.picture(&[0, 0, 0, 2, 0x65, 0x88], 0);
    let broken = Bench::frame(&[0, 0, 0, 9, 0x41], 40);
    assert_eq!(bench.muxer.video(broken, &mut bench.outputs), Err(Error::CutShort));
    bench.picture(&[0, 0, 0, 2, 0x41, 0x88], 80);
    assert_eq!(bench.heard(), ["I avc1.640014", "K 0", "d 80"]);
}

#[test]
fn sound_that_lasts_for_nothing_is_left_out() {
    let mut bench = Bench::new(true);
    bench.muxer.set_sound(Audio::Opus(Opus::new(2, 48_000)));
    // Three says that the number of frames follows, and none does.
    let heard = bench.muxer.sound(Bench::frame(&[0xff, 0], 0), &mut bench.outputs);
    assert_eq!(heard, Err(Error::CutShort));
}

#[test]
fn stretched_pixels_are_told() {
    let mut muxer = Muxer::default();
    let mut outputs = Vec::new();
    muxer.set_video(avc(), (4, 3));
    muxer.video(Bench::frame(&keyframe(), 0), &mut outputs).expect("valid");
    let Output::Init(init) = &outputs[0] else { panic!("{outputs:?}") };
    assert!(init.data.windows(16).any(|bytes| bytes == b"\0\0\0\x10pasp\0\0\0\x04\0\0\0\x03"));
}

#[test]
fn fragments_are_numbered() {
    let mut bench = Bench::new(false);
    bench.picture(&keyframe(), 0);
    bench.picture(&delta(), 40);
    let number = |fragment: &Fragment| fragment.data[20..24].to_vec();
    let numbers: Vec<_> = bench
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Fragment(fragment) => Some(number(fragment)),
            Output::Init(_) => None,
        })
        .collect();
    assert_eq!(numbers, [[0, 0, 0, 1], [0, 0, 0, 2]]);
}

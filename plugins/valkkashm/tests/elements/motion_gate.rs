//! The motion gate in a pipeline: what passes it, what it says, and what it does to frames (nothing).

use gst::prelude::*;

use crate::stage::{DEADLINE, Play};

const WIDTH: usize = 320;
const HEIGHT: usize = 180;

/// A gate between a source `in` and a sink `out`.
fn gate(format: &str, properties: &str) -> Play {
    let caps = format!("video/x-raw,format={format},width={WIDTH},height={HEIGHT},framerate=10/1");
    Play::launch(&format!(
        "appsrc name=in format=time caps=\"{caps}\" ! valkkamotiongate name=gate {properties} \
         ! appsink name=out sync=false max-buffers=1000"
    ))
}

/// Pushes a grey picture a tenth of a second after the one before; with a bright square on it.
fn show(play: &Play, number: u64, square: Option<usize>) {
    let mut picture = vec![70; WIDTH * HEIGHT];
    if let Some(left) = square {
        picture.chunks_exact_mut(WIDTH).skip(60).take(40).for_each(|row| row[left..left + 40].fill(220));
    }
    let mut buffer = gst::Buffer::from_slice(picture);
    buffer.get_mut().expect("it is ours alone").set_pts(gst::ClockTime::from_mseconds(number * 100));
    play.push(buffer);
}

/// The numbers of the frames that have passed, once all have been judged.
fn passed(play: &Play, shown: u64) -> Vec<u64> {
    let gate = play.element("gate");
    play.input().end_of_stream().expect("the source takes its end");
    let out = play.output();
    let limit = gst::ClockTime::try_from(DEADLINE).expect("fits");
    let mut numbers = Vec::new();
    while let Some(sample) = out.try_pull_sample(limit) {
        let buffer = sample.buffer().expect("a sample has a buffer");
        numbers.push(buffer.pts().expect("it was given one").mseconds() / 100);
    }
    assert!(out.is_eos(), "all came within {DEADLINE:?}");
    let count = |name: &str| gate.property::<u64>(name);
    assert_eq!((count("passed"), count("passed") + count("dropped")), (numbers.len() as u64, shown));
    numbers
}

#[test]
fn frames_pass_while_something_moves_and_one_a_second_while_nothing_does() {
    let play = gate("GRAY8", "hold=500000000");
    for number in 0..80 {
        show(&play, number, (20..23).contains(&number).then_some(number as usize * 10));
    }
    let numbers = passed(&play, 80);
    // Until five tenths after the first, then one a second; from the first that moves until the scene has been for five tenths as it was.
    assert_eq!(numbers[..7], [0, 1, 2, 3, 4, 5, 15]);
    assert_eq!(numbers[7..15], [20, 21, 22, 23, 24, 25, 26, 27]);
    let last = numbers.len() - 1;
    assert_eq!((numbers[last] - numbers[last - 1], numbers[last - 1] - numbers[last - 2]), (10, 10), "{numbers:?}");
}

#[test]
fn it_says_when_it_opens_and_shuts() {
    let play = gate("GRAY8", "hold=200000000 interval=0");
    let told = |open: bool| {
        let message = play.wait_for_element_message("valkka-motion");
        assert_eq!(message.get::<bool>("open"), Ok(open), "{message}");
        message.get::<f64>("share").expect("it says how much has changed")
    };
    show(&play, 0, None);
    told(true);
    (1..10).for_each(|number| show(&play, number, None));
    assert_eq!(told(false), 0.0);
    assert!(!play.element("gate").property::<bool>("open"));
    show(&play, 10, Some(100));
    // 40x40 pixels of 320x180.
    let share = told(true);
    assert!((0.02..0.05).contains(&share), "{share}");
}

#[test]
fn everything_passes_when_no_motion_is_enough() {
    let play = gate("GRAY8", "min-area=0");
    (0..40).for_each(|number| show(&play, number, None));
    assert_eq!(passed(&play, 40), (0..40).collect::<Vec<_>>());
}

#[test]
fn every_format_is_judged_by_its_brightness() {
    for format in ["GRAY8", "RGB", "BGRx", "xRGB", "ARGB", "I420", "NV12", "Y444", "YUY2"] {
        let caps = format!("video/x-raw,format={format},width=322,height=180,framerate=10/1");
        let gate = "valkkamotiongate name=gate hold=0 interval=0 min-area=0.001";
        let out = "fakesink name=out sync=false";
        let still = Play::launch(&format!("videotestsrc num-buffers=30 pattern=smpte75 ! {caps} ! {gate} ! {out}"));
        still.wait_for_eos();
        assert_eq!(still.element("gate").property::<u64>("passed"), 1, "{format}: nothing moves but the first");
        let moving = Play::launch(&format!(
            "videotestsrc num-buffers=30 pattern=ball animation-mode=frames ! {caps} ! {gate} ! {out}"
        ));
        moving.wait_for_eos();
        let passed = moving.element("gate").property::<u64>("passed");
        assert!(passed > 20, "{format}: {passed} of 30 pass");
    }
}

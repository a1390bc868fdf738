//! Each example does what its README says.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::stage::browser::Browser;
use crate::stage::guide::Guide;
use crate::stage::runtime::CHECKOUT;
use crate::stage::{Runtime, SOON};

const BUILT: Duration = Duration::from_secs(300);

fn example(name: &str) -> Guide {
    let guide = Guide::read(&Path::new("examples").join(name).join("README.md"), "\n");
    assert_eq!(guide.len(), 2, "an example has two terminals");
    guide
}

#[test]
fn share_rgb_has_a_slow_reader_and_one_that_misses_nothing() {
    let (runtime, example) = (Runtime::new(), example("share-rgb"));
    let _writer = example.paste(&runtime, 0);
    let readers = example.paste(&runtime, 1);
    // It reports once a second, if the machine has the time.
    let slow = |reader: &str| reader.lines().filter(|line| line.contains("progressreport0 (")).count();
    let sums =
        |reader: &str| reader.lines().filter(|line| line.split(' ').nth(1).is_some_and(|sum| sum.len() == 40)).count();
    readers.line("progressreport0 (", BUILT);
    let (reports, before) = (slow(&readers.output()), sums(&readers.output()));
    let later =
        readers.until("prints three more reports of the slow reader", SOON, |output| slow(output) >= reports + 3);
    // The slow one gets five frames a second.
    assert!(sums(&later) - before > 30, "in three seconds the other one gets more than {}", sums(&later) - before);
}

#[test]
fn browser_plays_and_the_sink_knows_its_viewers() {
    let (runtime, example) = (Runtime::new(), example("browser"));
    let server = example.paste(&runtime, 0);
    let mut streams = example.paste(&runtime, 1);
    // It may ask before the server is there: its first terminal has to look at the build.
    if !streams.wait(BUILT).success() {
        server.line("PLAYING", BUILT);
        streams = example.paste(&runtime, 1);
    }
    assert!(streams.finish(SOON).contains("lobby"));

    let browser = Browser::start(&runtime);
    browser.open(&format!("http://127.0.0.1:{}/", example.port));
    browser.ask_until("return all('valkka-video').some((player) => player.stats.width === 640)", SOON);
    let before = browser.ask("return all('valkka-video')[0].utc()");
    browser.ask_until(&format!("return all('valkka-video')[0].utc() > {before} + 2"), SOON);
    let told: Value = serde_json::from_str(&example.paste(&runtime, 1).finish(SOON)).expect("the sink answers in JSON");
    assert_eq!(told["lobby"]["viewers"].as_array().map(Vec::len), Some(1), "{told}");
}

#[test]
fn reply_arrives_at_the_writer_as_a_message() {
    let (runtime, example) = (Runtime::new(), example("reply"));
    let writer = example.paste(&runtime, 0);
    let reader = example.paste(&runtime, 1);
    reader.line("brightness", BUILT);
    // White and black, in the range of video.
    reader.line("brightness 235", SOON);
    reader.line("brightness 16", SOON);
    let message = writer.line("valkka-reply", SOON);
    for field in ["brightness=(double)", "generation=", "seq=", "reader="] {
        assert!(message.contains(field), "{field} in {message}");
    }
}

#[test]
fn every_example_has_a_test() {
    let folders = fs::read_dir(CHECKOUT.join("examples")).expect("the checkout has examples").flatten();
    let mut names: Vec<_> = folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["browser", "reply", "share-rgb"], "an example without a test, or the other way round");
}

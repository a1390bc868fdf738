//! Processes are killed at random moments, hundreds of times: the others run on, and nothing is left behind.
//!
//! `VALKKA_TEST_SEED=N` repeats a run.

use std::thread;
use std::time::Duration;

use crate::stage::kernel::named_memory;
use crate::stage::{Process, Runtime, SOON, eventually};

const CAMERA: &str = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=160,height=120,framerate=200/1";
const POLICIES: [&str; 3] = ["latest", "queue", "lossless"];

fn dice() -> fastrand::Rng {
    let seed = std::env::var("VALKKA_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("VALKKA_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

fn writer(runtime: &Runtime) -> Process {
    runtime.launch(&format!("{CAMERA} ! valkkashmsink channel=a sync=false lossless-timeout=200000000"))
}

fn reader(runtime: &Runtime, policy: &str) -> Process {
    runtime.launch(&format!("valkkashmsrc channel=a policy={policy} ! checksumsink sync=false"))
}

/// A moment in the life of a process that takes about 80 ms to start: before, while and after it attaches.
fn some_moment(dice: &mut fastrand::Rng) {
    thread::sleep(Duration::from_micros(dice.u64(0..250_000)));
}

#[test]
fn a_writer_survives_two_hundred_readers_that_are_killed() {
    let (runtime, mut dice) = (Runtime::new(), dice());
    let mut writer = writer(&runtime);
    let survivor = reader(&runtime, "latest");
    survivor.lines_more(10, SOON);
    let before = writer.descriptors();

    let mut victims = Vec::new();
    for _ in 0..200 {
        victims.push(reader(&runtime, POLICIES[dice.usize(0..3)]));
        some_moment(&mut dice);
        while victims.len() > dice.usize(0..4) {
            victims.swap_remove(dice.usize(0..victims.len())).crash();
        }
    }
    drop(victims);

    survivor.lines_more(50, SOON);
    let back = || (writer.descriptors() <= before).then_some(());
    eventually("the writer has given back the descriptors of its dead readers", SOON, back);
    assert!(writer.is_running());
}

#[test]
fn readers_survive_a_hundred_writers_that_are_killed() {
    let (runtime, mut dice) = (Runtime::new(), dice());
    let survivors = ["latest", "queue"].map(|policy| reader(&runtime, policy));
    let first = writer(&runtime);
    survivors.iter().for_each(|survivor| survivor.lines_more(10, SOON));
    let before: Vec<_> = survivors.iter().map(Process::descriptors).collect();
    first.crash();

    for _ in 0..100 {
        let victim = writer(&runtime);
        some_moment(&mut dice);
        victim.crash();
        assert!(runtime.files().len() <= 1, "{:?}", runtime.files());
    }

    let _last = writer(&runtime);
    for (survivor, before) in survivors.iter().zip(before) {
        survivor.lines_more(20, SOON);
        let back = || (survivor.descriptors() <= before).then_some(());
        eventually("the reader has given back the descriptors of dead writers", SOON, back);
    }
}

#[test]
fn nothing_is_left_when_everybody_is_killed() {
    let (runtime, mut dice) = (Runtime::new(), dice());
    let names_before = named_memory();
    let mut crowd: Vec<Process> = Vec::new();
    for _ in 0..100 {
        let policy = POLICIES[dice.usize(0..3)];
        crowd.push(if dice.u8(0..4) == 0 { writer(&runtime) } else { reader(&runtime, policy) });
        some_moment(&mut dice);
        while crowd.len() > dice.usize(2..7) {
            crowd.swap_remove(dice.usize(0..crowd.len())).crash();
        }
    }
    crowd.into_iter().for_each(Process::crash);

    assert!(runtime.files().len() <= 1, "at most one empty socket file: {:?}", runtime.files());
    // Other programs of this machine may have come or gone meanwhile: only names of ours count.
    let new: Vec<_> =
        named_memory().difference(&names_before).filter(|name| name.contains("valkka")).cloned().collect();
    assert_eq!(new, Vec::<String>::new());

    let _writer = writer(&runtime);
    reader(&runtime, "latest").lines_more(10, SOON);
}

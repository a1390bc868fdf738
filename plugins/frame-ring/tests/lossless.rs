//! Readers that are promised every frame: who waits for whom, how long, and what is told.

mod end;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use end::{TestChannel, fill_line, next_frame, next_item, publish, publish_all, wait_until};
use frame_ring::{
    Canceller, CloseReason, DetachReason, FrameId, FrameInfo, Item, LostReason, Policy, PublishError, ReadError,
    Reader, StateKind, Writer,
};

#[test]
fn lossless_is_refused_unless_the_writer_allows_it() {
    let channel = TestChannel::new();
    let _writer = channel.writer();
    let mut reader = channel.reader(Policy::Lossless, 4, 4);
    let refused = loop {
        match reader.next() {
            Ok(None) => drop(reader.wait(None).unwrap()),
            Ok(Some(item)) => panic!("{item:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, ReadError::Refused(why) if why.contains("lossless-timeout")), "{refused}");
    assert!(refused.should_retry());
}

#[test]
fn lossless_loses_nothing_and_the_writer_waits() {
    let channel = TestChannel::new();
    let writer = channel.writer_with(|options| options.lossless_timeout = Duration::from_secs(20));
    let mut reader = channel.reader(Policy::Lossless, 3, 3);
    channel.attach(&writer, &mut reader);
    let publisher = thread::spawn({
        let writer = writer.clone();
        move || publish_all(&writer, (0..2000u32).map(|n| n.to_le_bytes()))
    });
    for n in 0..2000u32 {
        let frame = next_frame(&mut reader);
        assert_eq!((frame.as_ref(), frame.lost_before()), (&n.to_le_bytes()[..], 0));
    }
    publisher.join().unwrap();
    let stats = writer.stats().readers[0];
    assert_eq!((stats.published, stats.taken, stats.dropped.total()), (2000, 2000, 0));
}

#[test]
fn lossless_waits_also_for_room_for_what_is_said_between_the_frames() {
    const FRAMES: u8 = 40;
    let channel = TestChannel::new();
    let writer = channel.writer_with(|options| options.lossless_timeout = Duration::from_secs(20));
    // In the queue there is room for all frames.
    let mut reader = channel.reader(Policy::Lossless, 64, 4);
    channel.attach(&writer, &mut reader);
    let publisher = thread::spawn({
        let writer = writer.clone();
        move || {
            for n in 0..FRAMES {
                writer.set_state(StateKind::TAGS, vec![n; 100_000]);
                publish(&writer, &[n]);
            }
        }
    });
    let stands = || {
        let before = writer.stats().frames;
        thread::sleep(Duration::from_millis(50));
        before > 0 && writer.stats().frames == before
    };
    wait_until("the line is full", stands);
    assert!(writer.stats().frames < u64::from(FRAMES), "the line has no room for 4 MB");
    for n in 0..FRAMES {
        assert!(
            matches!(next_item(&mut reader), Item::State { kind: StateKind::TAGS, bytes } if bytes[..] == [n; 100_000])
        );
        assert!(
            matches!(next_item(&mut reader), Item::Frame(frame) if frame.as_ref() == [n] && frame.lost_before() == 0)
        );
    }
    publisher.join().unwrap();
}

#[test]
fn a_lossless_reader_that_does_not_read_is_detached_in_the_end_and_told_why() {
    let channel = TestChannel::new();
    let writer = channel.writer_with(|options| options.lossless_timeout = Duration::from_millis(30));
    let mut reader = channel.reader(Policy::Lossless, 2, 2);
    channel.attach(&writer, &mut reader);
    publish_all(&writer, (0..4u8).map(|n| [n]));
    let is_told = || matches!(channel.recorder().removed()[..], [(1, DetachReason::TooSlow { timeout_ms: 30 })]);
    wait_until("it is too slow", is_told);
    // What it had not taken is gone; what it is told comes all the same.
    assert!(
        matches!(next_item(&mut reader), Item::Lost(LostReason::Detached(why)) if why.contains("lossless-timeout"))
    );
}

#[test]
fn a_wait_for_a_lossless_reader_can_be_cancelled() {
    let (_channel, writer, mut reader) = patient();
    let cancel = Canceller::new().unwrap();
    let publisher = publish_two(&writer, &cancel);
    cancel.cancel();
    assert!(matches!(publisher.join().unwrap(), Err(PublishError::Cancelled(_))));
    // As long as it is cancelled, nothing waits.
    assert!(writer.finish(&cancel).is_err());
    cancel.reset();
    let finisher = thread::spawn({
        let (writer, cancel) = (writer.clone(), cancel.clone());
        move || writer.finish(&cancel)
    });
    assert_eq!([0, 1], [0, 1].map(|_| next_frame(&mut reader).id().seq), "nothing is lost");
    finisher.join().unwrap().unwrap();
    writer.finish(&cancel).unwrap();
}

/// A writer that waits for ever, as far as a test is concerned, and a reader with room for one frame.
fn patient() -> (TestChannel, Writer, Reader) {
    let channel = TestChannel::new();
    let writer = channel.writer_with(|options| options.lossless_timeout = Duration::from_secs(600));
    let mut reader = channel.reader(Policy::Lossless, 1, 1);
    channel.attach(&writer, &mut reader);
    (channel, writer, reader)
}

/// Publishes two frames to a reader that has room for one.
fn publish_two(writer: &Writer, cancel: &Canceller) -> JoinHandle<Result<FrameId, PublishError>> {
    let (for_thread, cancel) = (writer.clone(), cancel.clone());
    let publisher = thread::spawn(move || {
        let publish = || {
            let slot = for_thread.copy_slot(1).unwrap().unwrap();
            for_thread.publish_copy(slot, 1, &FrameInfo::default(), b"", &cancel)
        };
        publish().and_then(|_| publish())
    });
    wait_until("the second is being published", || writer.stats().frames == 2);
    publisher
}

#[test]
fn who_pauses_is_not_waited_for() {
    let (_channel, writer, reader) = patient();
    let publisher = publish_two(&writer, &Canceller::new().unwrap());
    reader.line().set_paused(true);
    wait_until("nobody is waited for", || publisher.is_finished());
    publisher.join().unwrap().unwrap();
}

#[test]
fn a_frame_that_is_not_waited_for_to_the_end_is_counted() {
    let (_channel, writer, mut reader) = patient();
    let cancel = Canceller::new().unwrap();
    let publisher = publish_two(&writer, &cancel);
    cancel.cancel();
    assert!(matches!(publisher.join().unwrap(), Err(PublishError::Cancelled(_))));
    // A flush: the stream goes on elsewhere.
    assert_eq!(next_frame(&mut reader).id().seq, 0);
    publish(&writer, b"elsewhere");
    let frame = next_frame(&mut reader);
    assert_eq!((frame.as_ref(), frame.lost_before()), (&b"elsewhere"[..], 1));
    let stats = writer.stats().readers[0];
    assert_eq!((stats.published, stats.taken, stats.dropped.total()), (3, 2, 1));
}

#[test]
fn a_writer_that_is_closed_while_it_waits_keeps_nothing() {
    let (_channel, writer, _reader) = patient();
    writer.ensure_slot_size(1).unwrap();
    publish(&writer, b"1");
    let (kept, cancel) = (Arc::new(writer.take_slot().unwrap()), Canceller::new().unwrap());
    let (again, for_thread, until) = (kept.clone(), writer.clone(), cancel.clone());
    // As a buffer does that lies in the slot and is kept for its readers.
    let publisher = thread::spawn(move || {
        let keep = Box::new(again.clone());
        for_thread.publish_own(&again.as_ref().as_ref()[..1], keep, &FrameInfo::default(), b"", &until).map(drop)
    });
    wait_until("it is being published", || writer.stats().frames == 2);
    cancel.cancel();
    assert!(publisher.join().unwrap().is_err());
    writer.close(CloseReason::Restart);
    assert_eq!(Arc::strong_count(&kept), 1, "the channel would keep itself");
}

#[test]
fn who_is_detached_because_its_line_is_full_is_told_why() {
    let channel = TestChannel::new();
    let writer = channel.writer_with(|options| options.lossless_timeout = Duration::from_millis(30));
    let mut reader = channel.reader(Policy::Lossless, 64, 4);
    channel.attach(&writer, &mut reader);
    publish(&writer, b"1");
    fill_line(&writer);
    writer.set_state(StateKind::TAGS, vec![0; 100_000]);
    publish(&writer, b"2");
    wait_until("it is too slow", || matches!(channel.recorder().removed()[..], [(1, DetachReason::TooSlow { .. })]));
    let reason = loop {
        match next_item(&mut reader) {
            Item::Lost(reason) => break reason,
            Item::Event { .. } | Item::Frame(_) => {}
            other => panic!("instead of the reason: {other:?}"),
        }
    };
    assert!(matches!(&reason, LostReason::Detached(why) if why.contains("lossless-timeout")), "{reason:?}");
}

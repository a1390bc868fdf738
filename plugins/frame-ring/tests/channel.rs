//! Writers and readers in one process, over real sockets and real shared memory.

mod end;

use std::time::Duration;

use end::{
    Recorder, TestChannel, fill_line, frames, next_frame, next_item, options, publish, publish_all, publish_info,
    wait_until,
};
use frame_ring::{
    Canceller, CloseReason, FrameId, FrameInfo, InitialFrame, Integrity, Item, LostReason, OpenError, Policy,
    PublishError, Reader, Reply, ReplyFormat, StateKind, Writer,
};

#[test]
fn a_frame_arrives_as_it_was_published() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    let info = FrameInfo { time: Some(-7), dts_offset: Some(3), duration: Some(40), delta: false, flags: 0x40 };
    let id = publish_info(&writer, b"picture", &info, b"metas").unwrap();
    let frame = next_frame(&mut reader);
    assert_eq!((frame.as_ref(), frame.metas(), frame.id(), frame.info()), (&b"picture"[..], &b"metas"[..], id, &info));
    assert!(frame.first_of_writer() && !frame.is_copy());
}

#[test]
fn what_upstream_writes_into_a_slot_is_not_copied_and_is_kept_until_readers_are_done() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    writer.ensure_slot_size(100_000).unwrap();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    let mut slot = writer.take_slot().unwrap();
    slot.as_mut()[..4].copy_from_slice(b"here");
    let (payload, kept) = (slot.as_ref()[..100_000].as_ptr(), std::sync::Arc::new(slot));
    let cancel = Canceller::new().unwrap();
    let again = kept.clone();
    writer
        .publish_own(&kept.as_ref().as_ref()[..100_000], Box::new(again), &FrameInfo::default(), b"", &cancel)
        .unwrap();
    assert!(!writer.is_own(&kept.as_ref().as_ref()[..100_000]), "a slot is published once");
    assert_eq!(kept.as_ref().as_ref().as_ptr(), payload);
    let frame = next_frame(&mut reader);
    assert_eq!(&frame.as_ref()[..4], b"here");
    assert_eq!(writer.stats().zero_copy, 1);
    // The newest frame and the reader's loan keep it.
    assert_eq!(std::sync::Arc::strong_count(&kept), 2);
    publish(&writer, b"next");
    assert_eq!(std::sync::Arc::strong_count(&kept), 2);
    drop(frame);
    writer.stats();
    assert_eq!(std::sync::Arc::strong_count(&kept), 1);
}

#[test]
fn a_copy_goes_where_the_newest_frame_was_unless_somebody_looks_at_it() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    let mut place = |keep: bool| {
        let mut slot = writer.copy_slot(8).unwrap().unwrap();
        slot.as_mut()[..8].copy_from_slice(b"a frame!");
        let place = slot.as_ref().as_ptr();
        writer.publish_copy(slot, 8, &FrameInfo::default(), b"", &Canceller::new().unwrap()).unwrap();
        let frame = next_frame(&mut reader);
        (place, keep.then_some(frame))
    };
    let (first, _) = place(false);
    let (second, held) = place(true);
    assert_eq!(first, second, "nobody looked at the first one");
    let (third, _) = place(false);
    assert_ne!(second, third, "the second one is looked at");
    assert_eq!(held.unwrap().as_ref(), b"a frame!");
}

#[test]
fn a_foreign_payload_comes_back_with_what_was_to_be_kept() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    writer.ensure_slot_size(100).unwrap();
    let cancel = Canceller::new().unwrap();
    let result = writer.publish_own(b"heap", Box::new(5), &FrameInfo::default(), b"", &cancel);
    assert!(matches!(result, Err(PublishError::NotOurs(_))));
}

#[test]
fn latest_is_always_the_newest() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Latest, 9, 4);
    channel.attach(&writer, &mut reader);
    publish_all(&writer, (0..5u8).map(|n| [n]));
    assert_eq!(next_frame(&mut reader).as_ref(), [4]);
    publish(&writer, &[5]);
    let frame = next_frame(&mut reader);
    assert_eq!((frame.as_ref(), frame.lost_before()), (&[5][..], 0));
    let stats = writer.stats().readers[0];
    assert_eq!((stats.published, stats.taken, stats.dropped.slow, stats.waiting), (6, 2, 4, 0));
}

#[test]
fn a_queue_evicts_its_oldest_frames() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 3, 8);
    channel.attach(&writer, &mut reader);
    publish_all(&writer, (0..10u8).map(|n| [n]));
    let got = frames(&mut reader, 3);
    assert_eq!(got.iter().map(|frame| frame.as_ref()[0]).collect::<Vec<_>>(), [7, 8, 9]);
    let stats = writer.stats().readers[0];
    assert_eq!(stats.published, stats.taken + stats.dropped.total() + stats.waiting);
    assert_eq!(stats.dropped.slow, 7);
}

#[test]
fn after_a_loss_delta_frames_wait_for_a_keyframe() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 3, 16);
    channel.attach(&writer, &mut reader);
    let delta = FrameInfo { delta: true, ..FrameInfo::default() };
    let key = FrameInfo::default();
    // Before the first keyframe nothing comes.
    publish_info(&writer, b"d", &delta, b"").unwrap();
    for (payload, info) in
        [(b"K", &key), (b"a", &delta), (b"b", &delta), (b"c", &delta), (b"e", &delta), (b"L", &key), (b"f", &delta)]
    {
        publish_info(&writer, payload, info, b"").unwrap();
    }
    // The fourth frame evicted K with all that depend on it; c and e had to wait for L.
    let got = frames(&mut reader, 2);
    assert_eq!(got.iter().map(|frame| frame.as_ref()).collect::<Vec<_>>(), [b"L", b"f"]);
    let stats = writer.stats().readers[0];
    assert_eq!((stats.published, stats.taken, stats.dropped.slow, stats.dropped.keyframe), (8, 2, 1, 5));
    wait_until("a keyframe was asked for", || !channel.recorder().key_units().is_empty());
}

#[test]
fn a_reader_that_hoards_copies_and_nobody_loses_a_slot() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut hoarder = channel.reader(Policy::Queue, 4, 2);
    channel.attach(&writer, &mut hoarder);
    let mut hoard = Vec::new();
    for n in 0..50u8 {
        publish(&writer, &[n; 5000]);
        hoard.push(next_frame(&mut hoarder));
    }
    assert!(hoard.iter().enumerate().all(|(n, frame)| frame.as_ref() == [n as u8; 5000]));
    assert_eq!(hoard.iter().filter(|frame| !frame.is_copy()).count(), 2);
    let stats = writer.stats();
    assert_eq!((stats.readers[0].held, stats.readers[0].copied_on_hold, stats.dropped), (2, 48, 0));
    drop(hoard);
    assert_eq!(writer.stats().readers[0].held, 0);
}

#[test]
fn a_frame_does_not_change_while_it_is_held() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Latest, 1, 3);
    channel.attach(&writer, &mut reader);
    publish(&writer, &[1; 9000]);
    let held = next_frame(&mut reader);
    for n in 2..200u8 {
        publish(&writer, &[n; 9000]);
        let now = next_frame(&mut reader);
        assert_eq!(now.as_ref(), [n; 9000]);
    }
    assert_eq!(held.as_ref(), [1; 9000]);
}

#[test]
fn a_larger_frame_begins_a_generation_and_old_frames_stay() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    publish(&writer, b"small");
    publish(&writer, b"small too");
    let large = vec![7; 3 << 20];
    let id = publish(&writer, &large);
    publish(&writer, b"after");
    let got = frames(&mut reader, 4);
    assert_eq!(got[0].as_ref(), b"small");
    assert_eq!(got[1].as_ref(), b"small too");
    assert!(got[2].as_ref() == large);
    assert_eq!((got[2].id(), got[2].lost_before()), (id, 0));
    assert!(got[2].id().generation > got[1].id().generation);
    assert_eq!(got[3].as_ref(), b"after");
    drop(got);
    let stats = writer.stats().readers[0];
    assert_eq!((stats.published, stats.taken, stats.waiting, stats.held), (4, 4, 0, 0));
}

#[test]
fn a_late_reader_gets_the_newest_frame_and_all_states() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    writer.set_state(StateKind::CAPS, b"one".to_vec());
    writer.set_state(StateKind::CAPS, b"two".to_vec());
    writer.set_state(StateKind::TAGS, b"tags".to_vec());
    publish(&writer, b"newest");
    let mut reader = channel.reader(Policy::Latest, 1, 1);
    assert!(matches!(next_item(&mut reader), Item::Attached(_)));
    let mut states = Vec::new();
    let frame = loop {
        match next_item(&mut reader) {
            Item::State { kind, bytes } => states.push((kind, bytes)),
            Item::Frame(frame) => break frame,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(states, [(StateKind::CAPS, b"two".to_vec()), (StateKind::TAGS, b"tags".to_vec())]);
    assert_eq!(frame.as_ref(), b"newest");
    let mut next = Reader::new(frame_ring::ReaderOptions {
        initial: InitialFrame::Next,
        ..options(channel.address(), Policy::Latest, 1, 1)
    })
    .unwrap();
    channel.attach(&writer, &mut next);
    publish(&writer, b"later");
    assert_eq!(next_frame(&mut next).as_ref(), b"later");
}

#[test]
fn states_and_events_come_between_the_frames_they_were_sent_between() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 16, 16);
    channel.attach(&writer, &mut reader);
    for n in 0..4u8 {
        writer.set_state(StateKind::CAPS, vec![n]);
        publish(&writer, &[n]);
        writer.send_event(9, &[n]);
    }
    writer.eos();
    let mut seen = Vec::new();
    loop {
        match next_item(&mut reader) {
            Item::State { bytes, .. } => seen.push(format!("s{}", bytes[0])),
            Item::Frame(frame) => seen.push(format!("f{}", frame.as_ref()[0])),
            Item::Event { kind: 9, bytes } => seen.push(format!("e{}", bytes[0])),
            Item::Eos => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen.join(" "), "s0 f0 e0 s1 f1 e1 s2 f2 e2 s3 f3 e3");
}

#[test]
fn a_reader_takes_what_a_closed_writer_left_and_waits_for_the_next() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 8, 8);
    channel.attach(&writer, &mut reader);
    let first = publish(&writer, b"1");
    publish(&writer, b"2");
    writer.close(CloseReason::Restart);
    assert!(!channel.address().path().exists());
    let held = next_frame(&mut reader);
    assert_eq!(next_frame(&mut reader).as_ref(), b"2");
    assert!(matches!(next_item(&mut reader), Item::Lost(LostReason::Restart)));
    assert!(reader.next().unwrap().is_none());
    let writer = channel.writer();
    channel.attach(&writer, &mut reader);
    let second = publish(&writer, b"3");
    let frame = next_frame(&mut reader);
    assert!(frame.first_of_writer() && second.generation > first.generation);
    assert_eq!((held.as_ref(), frame.as_ref()), (&b"1"[..], &b"3"[..]));
}

#[test]
fn a_reader_that_goes_gives_everything_back() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    for round in 0..20 {
        let mut reader = channel.reader(Policy::Queue, 4, 4);
        channel.attach(&writer, &mut reader);
        publish_all(&writer, (0..8u8).map(|n| [n]));
        let held = frames(&mut reader, 4);
        drop(reader);
        wait_until("the reader is gone", || writer.readers() == 0);
        drop(held);
        wait_until("that is told", || channel.recorder().removed().len() == round + 1);
    }
    let stats = writer.stats();
    assert_eq!(stats.slots, 8 + 2 + 1 + 9, "slots are used again, not added");
}

#[test]
fn frames_stay_as_they_are_when_their_reader_has_gone_or_was_detached() {
    let channel = TestChannel::new();
    let writer = channel.writer_with(|options| options.lossless_timeout = Duration::from_millis(20));
    let mut gone = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut gone);
    let mut detached = channel.reader(Policy::Lossless, 1, 4);
    channel.attach(&writer, &mut detached);
    publish(&writer, &[1; 5000]);
    let held = [next_frame(&mut gone), next_frame(&mut detached)];
    drop(gone);
    publish_all(&writer, (2..100u8).map(|n| [n; 5000]));
    wait_until("both are gone", || writer.readers() == 0);
    assert!(held.iter().all(|frame| frame.as_ref() == [1; 5000]));
    drop(held);
    assert!(matches!(next_item(&mut detached), Item::Lost(LostReason::Detached(_))));
    let slots = writer.stats().slots;
    let mut again = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut again);
    assert_eq!(writer.stats().slots, slots, "what they had reserved is free again");
}

#[test]
fn replies_and_requests_for_keyframes_reach_the_writer() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Latest, 1, 1);
    channel.attach(&writer, &mut reader);
    let id = publish(&writer, b"?");
    let reply = Reply { frame: Some(id), format: ReplyFormat::Json, payload: b"{\"a\":1}".to_vec() };
    reader.line().reply(&reply).unwrap();
    reader.line().force_key_unit().unwrap();
    wait_until("the reply is there", || channel.recorder().replies() == [(1, reply.clone())]);
    wait_until("the request is there", || channel.recorder().key_units() == [1]);
    let large = Reply { frame: None, format: ReplyFormat::Json, payload: vec![0; frame_ring::MAX_REPLY + 1] };
    assert!(reader.line().reply(&large).is_err());
}

#[test]
fn an_answer_to_a_frame_of_the_writer_before_is_not_taken_for_one_to_a_frame_of_this_one() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Latest, 1, 1);
    channel.attach(&writer, &mut reader);
    let reply = |frame| Reply { frame: Some(frame), format: ReplyFormat::Json, payload: b"{}".to_vec() };
    let late = reply(publish(&writer, b"looked at for long"));
    drop(writer);
    while !matches!(next_item(&mut reader), Item::Lost(_)) {}

    let next = channel.writer();
    channel.attach(&next, &mut reader);
    let timely = reply(publish(&next, b"the first of the next"));
    assert_eq!(late.frame.unwrap().seq, timely.frame.unwrap().seq, "by its number it is the same frame");
    reader.line().reply(&late).unwrap();
    reader.line().reply(&timely).unwrap();
    wait_until("the second reply is there", || !channel.recorder().replies().is_empty());
    assert_eq!(channel.recorder().replies(), [(1, timely)]);
    assert_eq!(next.stats().replies_dropped, 1);
}

#[test]
fn the_end_is_told_to_a_reader_whose_line_is_full() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    fill_line(&writer);
    writer.eos();
    // Asked for again and again, also by a stream that begins anew.
    writer.reset_eos();
    fill_line(&writer);
    writer.eos();
    writer.close(CloseReason::Restart);
    let mut ends = 0;
    loop {
        match next_item(&mut reader) {
            Item::Event { .. } => {}
            Item::Eos => ends += 1,
            Item::Lost(reason) => break assert!(matches!(reason, LostReason::Restart), "{reason:?}"),
            other => panic!("instead of the end: {other:?}"),
        }
    }
    assert_eq!(ends, 2);
}

#[test]
fn what_readers_hold_is_not_written_again_after_the_end() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    publish_all(&writer, [b"1", b"2", b"3"]);
    let held = frames(&mut reader, 3);
    let slow = writer.stats().dropped;
    writer.close(CloseReason::Restart);
    assert!(writer.take_slot().is_none() && writer.copy_slot(1).unwrap().is_none());
    writer.ensure_slot_size(100 << 20).unwrap();
    assert!(writer.copy_slot(100 << 20).unwrap().is_none());
    assert_eq!(held.iter().map(|frame| frame.as_ref()).collect::<Vec<_>>(), [b"1", b"2", b"3"]);
    assert_eq!(writer.stats().dropped, slow);
}

#[test]
fn a_delta_frame_behind_the_gate_takes_no_room() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 2, 4);
    channel.attach(&writer, &mut reader);
    let delta = FrameInfo { delta: true, ..FrameInfo::default() };
    publish(&writer, b"K");
    publish_info(&writer, b"a", &delta, b"").unwrap();
    reader.line().set_paused(true);
    wait_until("the pause is known", || writer.stats().readers[0].paused);
    publish_info(&writer, b"b", &delta, b"").unwrap();
    reader.line().set_paused(false);
    wait_until("the pause is over", || !writer.stats().readers[0].paused);
    // It cannot be decoded without b: K and a can.
    publish_info(&writer, b"c", &delta, b"").unwrap();
    assert_eq!(frames(&mut reader, 2).iter().map(|frame| frame.as_ref()).collect::<Vec<_>>(), [b"K", b"a"]);
    let stats = writer.stats();
    assert_eq!((stats.readers[0].dropped.slow, stats.readers[0].dropped.keyframe), (0, 1));
    writer.close(CloseReason::Restart);
    assert_eq!(writer.stats().dropped, stats.dropped, "it is counted also when its reader has gone");
}

#[test]
fn a_paused_reader_gets_nothing_until_it_goes_on() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    reader.line().set_paused(true);
    wait_until("the pause is known", || writer.stats().readers[0].paused);
    publish(&writer, b"unseen");
    reader.line().set_paused(false);
    wait_until("the pause is over", || !writer.stats().readers[0].paused);
    publish(&writer, b"seen");
    assert_eq!(next_frame(&mut reader).as_ref(), b"seen");
    let stats = writer.stats().readers[0];
    assert_eq!((stats.published, stats.taken), (1, 1));
}

#[test]
fn frames_can_be_proved_whole() {
    let channel = TestChannel::new();
    let writer = channel.writer_with(|options| options.checksum = true);
    let mut reader = channel.reader(Policy::Latest, 1, 1);
    channel.attach(&writer, &mut reader);
    publish(&writer, &[5; 10_000]);
    assert_eq!(next_frame(&mut reader).integrity(), Integrity::Whole);
}

#[test]
fn metas_that_do_not_fit_the_header_follow_the_payload_or_are_counted() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    let many = vec![3; 200_000];
    publish_info(&writer, b"x", &FrameInfo::default(), &many).unwrap();
    assert!(next_frame(&mut reader).metas() == many);
    assert!(writer.metas_fit(10, 200_000) && !writer.metas_fit(writer.slot_size(), 2000));
    let full = vec![1; writer.slot_size()];
    publish_info(&writer, &full, &FrameInfo::default(), &[0; 2000]).unwrap();
    let frame = next_frame(&mut reader);
    assert!(frame.metas().is_empty() && frame.as_ref() == full);
    assert_eq!(writer.stats().metas_dropped, 1);
}

#[test]
fn upstream_gets_its_slots_and_then_none_but_copies_go_on() {
    let channel = TestChannel::new();
    let writer = channel.writer();
    assert!(writer.take_slot().is_none(), "there is no memory yet");
    writer.ensure_slot_size(5000).unwrap();
    let mut reader = channel.reader(Policy::Queue, 4, 4);
    channel.attach(&writer, &mut reader);
    let slots: Vec<_> = std::iter::from_fn(|| writer.take_slot()).collect();
    assert_eq!(slots.len(), 8);
    for n in 0..30u8 {
        publish(&writer, &[n]);
        assert_eq!(next_frame(&mut reader).as_ref(), [n]);
    }
    drop(slots);
    assert!(writer.take_slot().is_some());
}

#[test]
fn a_channel_has_one_writer() {
    let channel = TestChannel::new();
    let _first = channel.writer();
    let second = Writer::open(channel.writer_options(), std::sync::Arc::new(Recorder::default()));
    assert!(matches!(second.map(|_| ()), Err(OpenError::Busy { .. })));
}

#[test]
fn a_reader_may_come_first_and_a_reader_too_many_is_told_so() {
    let channel = TestChannel::new();
    let mut early = channel.reader(Policy::Latest, 1, 1);
    assert!(early.next().unwrap().is_none());
    let writer = channel.writer_with(|options| options.max_readers = 1);
    channel.attach(&writer, &mut early);
    let mut late = channel.reader(Policy::Latest, 1, 1);
    let why = loop {
        match late.next() {
            Err(error) => break error.to_string(),
            Ok(_) => drop(late.wait(Some(Duration::from_secs(10))).unwrap()),
        }
    };
    assert!(why.contains("max-readers"), "{why}");
}

#[test]
fn the_number_of_a_frame_never_comes_again() {
    let channel = TestChannel::new();
    let mut last = FrameId { generation: 0, seq: 0 };
    for _ in 0..5 {
        let writer = channel.writer();
        for bytes in [10, 2 << 20] {
            let id = publish(&writer, &vec![0; bytes]);
            assert!(id > last);
            last = id;
        }
        writer.close(CloseReason::Restart);
    }
}

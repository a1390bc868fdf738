//! Both ends against a peer that lies, stalls or talks nonsense.

mod end;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use end::by_hand::{HEAD, Liar, RETURNED, Scene, TAIL, attach, knock, message, receive, send_with, seqpacket};
use end::{TestChannel, next_frame, publish, publish_all, wait_until};
use frame_ring::{ChannelAddress, Item, LostReason, Policy, Reader};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_setfl, ftruncate, memfd_create};
use rustix::io::pwrite;
use rustix::net::{SocketAddrUnix, accept, bind, listen};

#[test]
fn a_head_that_cannot_be_detaches_the_reader() {
    for head in [1000, u64::MAX, 1 << 63] {
        let mut scene = Scene::new();
        let liar = scene.liar();
        liar.write(HEAD, head);
        scene.liar_is_detached_for("head");
        drop(liar);
    }
}

#[test]
fn a_head_that_goes_back_detaches_the_reader() {
    let mut scene = Scene::new();
    let liar = scene.liar();
    liar.write(HEAD, 1);
    scene.honest_reader_is_served();
    liar.write(HEAD, 0);
    scene.liar_is_detached_for("head");
}

#[test]
fn slots_that_are_not_held_cannot_be_given_back() {
    for bits in [u64::MAX, 1 << 40] {
        let mut scene = Scene::new();
        let liar = scene.liar();
        liar.write(RETURNED, bits);
        scene.liar_is_detached_for("given back");
    }
}

#[test]
fn a_tail_that_a_reader_overwrites_harms_only_itself() {
    let mut scene = Scene::new();
    let liar = scene.liar();
    liar.write(TAIL, u64::MAX);
    (0..20).for_each(|_| scene.honest_reader_is_served());
}

#[test]
fn what_a_detached_liar_held_is_written_again_only_when_it_is_gone() {
    let mut scene = Scene::new();
    let liar = scene.liar();
    let before = scene.writer.stats().slots;
    liar.write(RETURNED, u64::MAX);
    scene.liar_is_detached_for("given back");
    // While it hangs on, a newcomer needs memory of its own; when it is gone, the next one does not.
    let second = scene.liar();
    assert!(scene.writer.stats().slots > before);
    let slots = scene.writer.stats().slots;
    drop((liar, second));
    wait_until("both are gone", || scene.writer.readers() == 1);
    let third = scene.liar();
    assert_eq!(scene.writer.stats().slots, slots);
    drop(third);
}

#[test]
fn nonsense_on_the_line_ends_it_and_nothing_else() {
    let mut scene = Scene::new();
    let good = attach((1, 1), 0, 1, 1);
    let mut wrong_magic = good.clone();
    wrong_magic[16] = b'X';
    let mut wrong_length = good.clone();
    wrong_length[4] = 200;
    let mut impossible_length = good.clone();
    impossible_length[4..8].fill(0xff);
    let unknown_policy = attach((1, 1), 77, 1, 1);
    let reply_first = message(2, 0, &[0; 24]);
    for packet in
        [b"x".to_vec(), vec![0xff; 100], wrong_magic, wrong_length, impossible_length, unknown_policy, reply_first]
    {
        let socket = knock(scene.channel.address());
        send_with(&socket, &packet, &[]);
        let why = Liar::refused(&socket);
        assert!(why != "hung up", "it is told why");
        scene.honest_reader_is_served();
    }
    assert_eq!(scene.writer.readers(), 1);
}

#[test]
fn a_peer_of_another_version_is_refused_in_words() {
    let scene = Scene::new();
    let socket = knock(scene.channel.address());
    send_with(&socket, &attach((7, 9), 0, 1, 1), &[]);
    let why = Liar::refused(&socket);
    assert!(why.contains("version") && why.contains("7 to 9"), "{why}");
    // A newer reader that still speaks our version is welcome.
    let socket = knock(scene.channel.address());
    send_with(&socket, &attach((1, 9), 0, 1, 1), &[]);
    assert_eq!(receive(&socket).unwrap().0, 16);
}

#[test]
fn callers_that_say_nothing_do_not_keep_others_out() {
    let mut scene = Scene::new();
    let silent: Vec<OwnedFd> = (0..60).map(|_| knock(scene.channel.address())).collect();
    let mut late = scene.channel.reader(Policy::Queue, 8, 8);
    scene.channel.attach(&scene.writer, &mut late);
    scene.honest_reader_is_served();
    assert_eq!(Liar::refused(&silent[0]), "the reader did not say what it wants");
}

#[test]
fn requests_beyond_all_measure_are_granted_in_part() {
    let scene = Scene::new();
    let socket = knock(scene.channel.address());
    send_with(&socket, &attach((1, 1), 1, u32::MAX, u32::MAX), &[]);
    let (kind, body, _) = receive(&socket).unwrap();
    assert_eq!(kind, 16);
    let number = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().unwrap());
    assert!((1..1024).contains(&number(8)) && (1..1024).contains(&number(12)), "{body:?}");
}

#[test]
fn a_flood_of_replies_is_cut_off() {
    let mut scene = Scene::new();
    let liar = scene.liar();
    let reply = message(2, 0, &[[0; 24].as_slice(), &[b'x'; 1000]].concat());
    let before = Instant::now();
    (0..5000).for_each(|_| send_with(&liar.socket, &reply, &[]));
    scene.honest_reader_is_served();
    wait_until("all has been read", || {
        scene.writer.stats().replies_dropped as usize + scene.channel.recorder().replies().len() == 5000
    });
    let windows = before.elapsed().as_secs() as usize + 2;
    assert!(scene.channel.recorder().replies().len() <= 1000 * windows);
}

#[test]
fn a_doorbell_made_to_block_does_not_block_the_writer() {
    let channel = TestChannel::new();
    let writer = channel.writer_with(|options| options.lossless_timeout = Duration::from_millis(50));
    publish(&writer, b"first");
    let socket = knock(channel.address());
    send_with(&socket, &attach((1, 1), 2, 1, 1), &[]);
    assert_eq!(receive(&socket).unwrap().0, 16);
    let (_, _, descriptors) = receive(&socket).unwrap();
    let attention = &descriptors[3];
    fcntl_setfl(attention, rustix::fs::OFlags::empty()).unwrap();
    rustix::io::write(attention, &(u64::MAX - 1).to_le_bytes()).unwrap();
    wait_until("it is attached", || writer.readers() == 1);
    // The queue of one is full with the second frame; the third waits its 50 ms, and no longer.
    publish_all(&writer, [b"2", b"3", b"4"]);
    assert_eq!(writer.readers(), 0);
}

#[test]
fn a_reader_that_does_not_read_its_line_stalls_nobody() {
    let mut scene = Scene::new();
    let _liar = scene.liar();
    for _ in 0..300 {
        scene.writer.send_event(1, &[0; 10_000]);
        publish(&scene.writer, b"frame");
        while !matches!(end::next_item(&mut scene.honest), Item::Frame(_)) {}
    }
    let stats = scene.writer.stats();
    assert!(stats.events_dropped > 0);
    assert!(
        stats
            .readers
            .iter()
            .all(|reader| { reader.published == reader.taken + reader.dropped.total() + reader.waiting })
    );
}

// ---- a writer that lies ---------------------------------------------------------------------------------------------------------

/// A writer by hand, and a reader that has come to it.
struct FalseWriter {
    _folder: tempfile::TempDir,
    socket: OwnedFd,
    reader: Reader,
    line: OwnedFd,
}

const SLOTS: u32 = 4;
const SLOT_SIZE: u64 = 4096;
const DEPTH: u32 = 2;

impl FalseWriter {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = ChannelAddress::socket(folder.path().join("false")).unwrap();
        let socket = seqpacket();
        bind(&socket, &SocketAddrUnix::new(address.path()).unwrap()).unwrap();
        listen(&socket, 4).unwrap();
        let mut reader = Reader::new(end::options(&address, Policy::Queue, DEPTH, 2)).unwrap();
        assert!(reader.next().unwrap().is_none());
        let line = accept(&socket).unwrap();
        assert_eq!(receive(&line).unwrap().0, 1, "attach");
        Self { _folder: folder, socket, reader, line }
    }

    fn attached() -> Self {
        let mut this = Self::new();
        let mut body = 1u16.to_le_bytes().to_vec();
        body.extend([0; 2]);
        for number in [1u32, DEPTH, 2, 1234] {
            body.extend(number.to_le_bytes());
        }
        send_with(&this.line, &message(16, 0, &body), &[]);
        assert!(matches!(end::next_item(&mut this.reader), Item::Attached(_)));
        this
    }

    fn generation(&self, slots: u32, slot_size: u64, depth: u32, descriptors: &[BorrowedFd<'_>]) {
        let mut body = 9u64.to_le_bytes().to_vec();
        body.extend(slot_size.to_le_bytes());
        body.extend(slots.to_le_bytes());
        body.extend(depth.to_le_bytes());
        send_with(&self.line, &message(18, 0, &body), descriptors);
    }

    fn is_found_out(&mut self) -> String {
        match end::next_item(&mut self.reader) {
            Item::Lost(LostReason::Protocol(why)) => {
                // It comes again, as to any new writer.
                assert!(self.reader.next().unwrap().is_none());
                let mut knock = [PollFd::new(&self.socket, PollFlags::IN)];
                assert_eq!(
                    poll(&mut knock, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })),
                    Ok(1),
                    "it did not come again"
                );
                why
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Memory as a writer makes it, of any content.
fn memory(length: u64, seals: SealFlags, content: &[(u64, &[u8])]) -> OwnedFd {
    let memory = memfd_create("false", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memory, length).unwrap();
    for (offset, bytes) in content {
        pwrite(&memory, bytes, *offset).unwrap();
    }
    fcntl_add_seals(&memory, seals).unwrap();
    memory
}

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);
const FRAMES_SEALS: SealFlags = SIZE_SEALS.union(SealFlags::FUTURE_WRITE);

fn frames_memory(seals: SealFlags, headers: &[(u64, &[u8])]) -> OwnedFd {
    let mut header = b"VALKKAFR".to_vec();
    header.extend(1u32.to_le_bytes());
    header.extend(SLOTS.to_le_bytes());
    header.extend(SLOT_SIZE.to_le_bytes());
    header.extend(9u64.to_le_bytes());
    header.extend([0; 8]);
    let mut content: Vec<(u64, &[u8])> = vec![(0, &header)];
    content.extend(headers);
    memory(4096 + 4096 + u64::from(SLOTS) * SLOT_SIZE, seals, &content)
}

fn port_memory(content: &[(u64, u64)]) -> OwnedFd {
    let mut header = b"VALKKAPO".to_vec();
    for number in [1u32, 1] {
        header.extend(number.to_le_bytes());
    }
    header.extend(9u64.to_le_bytes());
    header.extend(DEPTH.to_le_bytes());
    header.extend(SLOTS.to_le_bytes());
    let words: Vec<(u64, [u8; 8])> = content.iter().map(|(offset, word)| (*offset, word.to_le_bytes())).collect();
    let mut all: Vec<(u64, &[u8])> = vec![(0, &header)];
    all.extend(words.iter().map(|(offset, bytes)| (*offset, bytes.as_slice())));
    memory(4096, SIZE_SEALS, &all)
}

/// Where the queue's entries begin with so few slots.
const ENTRIES: u64 = 896;

fn doorbell() -> (OwnedFd, OwnedFd) {
    (epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(), eventfd(0, EventfdFlags::CLOEXEC).unwrap())
}

#[test]
fn memory_that_is_not_as_it_should_be_is_not_read() {
    let (ready, attention) = doorbell();
    let pipe = rustix::pipe::pipe().unwrap().0;
    let good_port = port_memory(&[]);
    let good_frames = frames_memory(FRAMES_SEALS, &[]);
    let unsealed = frames_memory(SealFlags::empty(), &[]);
    let writable = frames_memory(SIZE_SEALS, &[]);
    let small = memory(4096, FRAMES_SEALS, &[]);
    let nameless = memory(1 << 20, FRAMES_SEALS, &[]);
    let loose_port = memory(4096, SealFlags::empty(), &[]);
    for (frames, port) in [
        (&pipe, &good_port),
        (&unsealed, &good_port),
        (&writable, &good_port),
        (&small, &good_port),
        (&nameless, &good_port),
        (&good_frames, &loose_port),
        (&good_frames, &pipe),
        (&good_frames, &good_frames),
    ] {
        let mut writer = FalseWriter::attached();
        let with = [frames.as_fd(), port.as_fd(), ready.as_fd(), attention.as_fd()];
        writer.generation(SLOTS, SLOT_SIZE, DEPTH, &with);
        writer.is_found_out();
    }
}

#[test]
fn impossible_sizes_and_missing_descriptors_are_refused() {
    let (ready, attention) = doorbell();
    let (frames, port) = (frames_memory(FRAMES_SEALS, &[]), port_memory(&[]));
    let with = [frames.as_fd(), port.as_fd(), ready.as_fd(), attention.as_fd()];
    for (slots, size, depth, descriptors) in [
        (SLOTS, SLOT_SIZE, DEPTH, &with[..3]),
        (SLOTS, SLOT_SIZE, DEPTH, &[]),
        (u32::MAX, SLOT_SIZE, DEPTH, &with),
        (SLOTS, u64::MAX, DEPTH, &with),
        (SLOTS, 4097, DEPTH, &with),
        (SLOTS, SLOT_SIZE, u32::MAX, &with),
        (0, SLOT_SIZE, DEPTH, &with),
        (2000, SLOT_SIZE, DEPTH, &with),
    ] {
        let mut writer = FalseWriter::attached();
        writer.generation(slots, size, depth, descriptors);
        writer.is_found_out();
    }
}

#[test]
fn impossible_queues_and_headers_are_found_out() {
    let header = |seq: u64, length: u64, metas: u64, present: u32| {
        let mut header = vec![0; 96];
        header[0..8].copy_from_slice(&seq.to_le_bytes());
        header[8..16].copy_from_slice(&length.to_le_bytes());
        header[56..64].copy_from_slice(&metas.to_le_bytes());
        header[68..72].copy_from_slice(&present.to_le_bytes());
        header
    };
    let honest = header(0, 10, 0, 0);
    let long = header(0, SLOT_SIZE + 1, 0, 0);
    let endless = header(0, u64::MAX, 1, 32);
    let metas = header(0, 0, 5000, 0);
    let behind = header(0, 4000, 97, 32);
    let other = header(5, 10, 0, 0);
    for (header, port) in [
        (&honest, vec![(TAIL, 100)]),
        (&honest, vec![(TAIL, 1), (HEAD, 2)]),
        (&honest, vec![(TAIL, 1), (ENTRIES, u64::from(SLOTS))]),
        (&honest, vec![(TAIL, 1), (ENTRIES, 0xffff_ffff)]),
        (&long, vec![(TAIL, 1)]),
        (&endless, vec![(TAIL, 1)]),
        (&metas, vec![(TAIL, 1)]),
        (&behind, vec![(TAIL, 1)]),
        (&other, vec![(TAIL, 1)]),
    ] {
        let (ready, attention) = doorbell();
        let (frames, port) = (frames_memory(FRAMES_SEALS, &[(4096, header)]), port_memory(&port));
        let mut writer = FalseWriter::attached();
        writer.generation(SLOTS, SLOT_SIZE, DEPTH, &[frames.as_fd(), port.as_fd(), ready.as_fd(), attention.as_fd()]);
        writer.is_found_out();
    }
    // The same by hand, but true, is read.
    let (ready, attention) = doorbell();
    let (frames, port) = (frames_memory(FRAMES_SEALS, &[(4096, &honest)]), port_memory(&[(TAIL, 1)]));
    let mut writer = FalseWriter::attached();
    writer.generation(SLOTS, SLOT_SIZE, DEPTH, &[frames.as_fd(), port.as_fd(), ready.as_fd(), attention.as_fd()]);
    assert_eq!(next_frame(&mut writer.reader).as_ref(), [0; 10]);
}

#[test]
fn nonsense_from_a_writer_does_not_stop_the_reader() {
    for packet in [b"x".to_vec(), vec![0xff; 300], message(18, 0, &[0; 3]), message(19, 0, &[1]), vec![0; 199_000]] {
        let mut writer = FalseWriter::attached();
        send_with(&writer.line, &packet, &[]);
        writer.is_found_out();
    }
}

#[test]
fn a_writer_that_hangs_up_at_once_is_asked_again() {
    let mut writer = FalseWriter::new();
    for _ in 0..5 {
        writer.line = seqpacket();
        let line = loop {
            assert!(writer.reader.next().unwrap().is_none(), "there is nothing to tell");
            let mut knocks = [PollFd::new(&writer.socket, PollFlags::IN), PollFd::new(&writer.reader, PollFlags::IN)];
            assert!(poll(&mut knocks, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap() > 0, "nobody knocked");
            if knocks[0].revents().contains(PollFlags::IN) {
                break accept(&writer.socket).unwrap();
            }
        };
        writer.line = line;
    }
}

//! Peers made by hand, from the bytes that `docs/protocol.md` draws.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use frame_ring::{ChannelAddress, DetachReason, Policy, Reader, Writer};
use rustix::io::pwrite;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg, socket_with,
};

use super::{TestChannel, next_frame, publish, wait_until};

pub const HEAD: u64 = 128;
pub const TAIL: u64 = 256;
pub const RETURNED: u64 = 768;

pub fn seqpacket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

pub fn message(kind: u16, after: u64, body: &[u8]) -> Vec<u8> {
    let mut packet = kind.to_le_bytes().to_vec();
    packet.extend([0; 2]);
    packet.extend((body.len() as u32).to_le_bytes());
    packet.extend(after.to_le_bytes());
    packet.extend(body);
    packet
}

pub fn attach(versions: (u16, u16), policy: u16, queue_size: u32, max_held: u32) -> Vec<u8> {
    let mut body = b"VALKKA".to_vec();
    for number in [0, versions.0, versions.1, policy, 0] {
        body.extend(number.to_le_bytes());
    }
    body.extend(queue_size.to_le_bytes());
    body.extend(max_held.to_le_bytes());
    message(1, 0, &body)
}

pub fn send_with(socket: &OwnedFd, packet: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    // The other side may have hung up already: that is its right.
    let _ = sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL);
}

/// The next message: its kind, its body, its descriptors. None: hung up.
pub fn receive(socket: &OwnedFd) -> Option<(u16, Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; 200_000];
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights.collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    (got.bytes > 0).then(|| (u16::from_le_bytes([bytes[0], bytes[1]]), bytes[16..got.bytes].to_vec(), descriptors))
}

/// A reader by hand: attached, with the descriptors of its port.
pub struct Liar {
    pub socket: OwnedFd,
    pub port: OwnedFd,
}

pub fn knock(address: &ChannelAddress) -> OwnedFd {
    let socket = seqpacket();
    connect(&socket, &SocketAddrUnix::new(address.path()).unwrap()).unwrap();
    socket
}

impl Liar {
    pub fn attach(writer: &Writer, address: &ChannelAddress) -> Self {
        let socket = knock(address);
        send_with(&socket, &attach((1, 1), 1, 4, 4), &[]);
        let (kind, body, _) = receive(&socket).unwrap();
        assert_eq!(kind, 16, "attached");
        let id = u32::from_le_bytes(body[4..8].try_into().unwrap());
        let (kind, _, descriptors) = receive(&socket).unwrap();
        assert_eq!(kind, 18, "generation");
        let [_frames, port, _ready, _attention] = <[OwnedFd; 4]>::try_from(descriptors).unwrap();
        wait_until("it is attached", || writer.reader(id).is_some());
        Self { socket, port }
    }

    pub fn write(&self, offset: u64, value: u64) {
        assert_eq!(pwrite(&self.port, &value.to_le_bytes(), offset), Ok(8));
    }

    pub fn refused(socket: &OwnedFd) -> String {
        while let Some((kind, body, _)) = receive(socket) {
            if kind == 17 {
                return String::from_utf8(body).unwrap();
            }
        }
        "hung up".into()
    }
}

/// A writer with an honest reader beside the liar.
pub struct Scene {
    pub channel: TestChannel,
    pub writer: Writer,
    pub honest: Reader,
}

impl Scene {
    pub fn new() -> Self {
        let channel = TestChannel::new();
        let writer = channel.writer();
        publish(&writer, b"first");
        let mut honest = channel.reader(Policy::Queue, 8, 8);
        channel.attach(&writer, &mut honest);
        next_frame(&mut honest);
        Self { channel, writer, honest }
    }

    pub fn liar(&self) -> Liar {
        Liar::attach(&self.writer, self.channel.address())
    }

    pub fn honest_reader_is_served(&mut self) {
        publish(&self.writer, b"for the honest");
        assert_eq!(next_frame(&mut self.honest).as_ref(), b"for the honest");
    }

    pub fn liar_is_detached_for(&mut self, what: &str) {
        self.honest_reader_is_served();
        let is_told = || {
            let removed = self.channel.recorder().removed();
            matches!(removed.last(), Some((_, DetachReason::Protocol(why))) if why.contains(what))
        };
        wait_until(&format!("it is detached for {what}"), is_told);
        self.honest_reader_is_served();
    }
}

//! The line: a `SOCK_SEQPACKET` socket whose packets are messages, with descriptors beside them. Sends and receives never wait.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_send_buffer_size};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use rustix::process::geteuid;

use crate::message::{GENERATION_DESCRIPTORS, MAX_MESSAGE};

/// As many descriptors as the kernel lets one message carry (SCM_MAX_FD). Room for all, so that surplus ones are closed, not leaked.
const MOST_DESCRIPTORS: usize = 253;

/// One end of a line.
#[derive(Debug)]
pub(crate) struct Line {
    socket: OwnedFd,
    /// Bytes that it may have on their way, all in all. A part of them is for [`Line::send_last`].
    room: usize,
}

/// What came.
pub(crate) struct Packet {
    pub bytes: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

/// What [`Line::receive`] found.
pub(crate) enum Received {
    Packet(Packet),
    /// Nothing now.
    Nothing,
    /// The other end is closed, and everything that it said has been read.
    HangUp,
    /// More than a message may be.
    TooLarge,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    /// The other side does not read. Nothing was sent.
    Full,
    /// The other side is gone.
    HungUp,
}

impl Line {
    /// Over a connected socket, made non-blocking by whoever made it.
    pub fn new(socket: OwnedFd) -> Self {
        // As much as one message and some more; what the system does not allow is as well.
        let _ = set_socket_send_buffer_size(&socket, 4 * MAX_MESSAGE);
        // The kernel doubles what it is told, for its own needs, and tells the double (socket(7)).
        let room = socket_send_buffer_size(&socket).map_or(4 * MAX_MESSAGE, |doubled| doubled / 2);
        let line = Self { socket, room };
        line.keep_room(true);
        line
    }

    /// Whether a quarter of the room is kept back.
    fn keep_room(&self, kept: bool) {
        let room = if kept { self.room / 4 * 3 } else { self.room };
        // Not more than it was granted before.
        let _ = set_socket_send_buffer_size(&self.socket, room);
    }

    /// Sends what must not be lost though the other side does not read: there is room for it when the line is full.
    pub fn send_last(&self, packet: &[u8]) -> Sent {
        let sent = self.send(packet);
        if sent != Sent::Full {
            return sent;
        }
        self.keep_room(false);
        let sent = self.send(packet);
        self.keep_room(true);
        sent
    }

    pub fn send(&self, packet: &[u8]) -> Sent {
        self.send_with(packet, &[])
    }

    pub fn send_with(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> Sent {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(GENERATION_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
            assert!(fits, "there is room for the descriptors of a generation");
        }
        loop {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            return match sendmsg(&self.socket, &[IoSlice::new(packet)], &mut control, flags) {
                Ok(_) => Sent::Yes,
                Err(Errno::INTR) => continue,
                // TOOMANYREFS: too many descriptors on their way (RLIMIT_NOFILE); they may arrive some day.
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => Sent::Full,
                Err(_) => Sent::HungUp,
            };
        }
    }

    pub fn receive(&self) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; MAX_MESSAGE];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let got = loop {
            match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                // CONNRESET: the other end went without reading everything. It comes once, before what can still be read.
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::PIPE) => return Ok(Received::HangUp),
                Err(error) => return Err(error.into()),
                Ok(got) => break got,
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Ok(Received::TooLarge);
        }
        if got.bytes == 0 {
            return Ok(Received::HangUp);
        }
        bytes.truncate(got.bytes);
        bytes.shrink_to_fit();
        Ok(Received::Packet(Packet { bytes, descriptors }))
    }

    /// Says that nothing more comes from here. What was sent before can still be read, and the other end can still speak.
    pub fn end(&self) {
        // Fails only when the other end is closed already.
        let _ = shutdown(&self.socket, Shutdown::Write);
    }

    /// Who is at the other end: `SO_PEERCRED`.
    pub fn peer(&self) -> io::Result<Peer> {
        // Not by rustix: its process ids are never 0, which one outside of this process's namespace is.
        let peer = getsockopt(&self.socket, PeerCredentials)?;
        Ok(Peer { pid: peer.pid(), user: peer.uid() })
    }
}

/// The process at the other end of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// 0: in a pid namespace that this process does not see, as between containers (pid_namespaces(7)).
    pub pid: i32,
    pub user: u32,
}

impl Peer {
    /// Of this user, or root: may it see our frames?
    pub fn is_admitted(self) -> bool {
        self.user == geteuid().as_raw() || self.user == 0
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

//! How a child gets its end of the socket, and takes it.
//!
//! [`pass`] gives it a descriptor and says its number in the environment; [`inherit`] makes the number a descriptor that
//! is owned, and closed on exec: what the backend starts itself does not hold the socket open.

use std::{
    env,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    process::Command,
};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg, socketpair,
};

/// Holds the number of the descriptor by which commands come.
pub const ENVIRONMENT: &str = "VALKKA_COMMANDS";

/// The number that [`pass`] gives: the first that is not a standard stream.
const CHILDS_NUMBER: RawFd = 3;

/// Why the descriptor that the environment promises cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// Not what was agreed.
    #[error("{ENVIRONMENT}={0:?} is not the number of a descriptor; it is set by whoever starts this program")]
    NoNumber(String),
    /// Nothing that can be talked through.
    #[error("descriptor {number} that {ENVIRONMENT} names cannot be used: {source}")]
    Unusable {
        /// As the environment says.
        number: RawFd,
        /// What the system says.
        source: io::Error,
    },
}

/// Two ends of a new socket: one for a [`Frontend`](crate::Frontend), the other to [`pass`] to a child.
pub fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, childs) = UnixStream::pair()?;
    Ok((ours, childs.into()))
}

/// Gives the other end of a [`pair`] to the child that `command` will start. Drop the command once it has started: it
/// keeps the descriptor open.
pub fn pass(command: &mut Command, end: OwnedFd) {
    let mapping = FdMapping { parent_fd: end, child_fd: CHILDS_NUMBER };
    command.fd_mappings(vec![mapping]).expect("one mapping collides with no other");
    command.env(ENVIRONMENT, CHILDS_NUMBER.to_string());
}

/// The socket by which commands come, or `None` when nobody has passed one. To be asked once.
pub fn inherit() -> Result<Option<UnixStream>, InheritedError> {
    match env::var_os(ENVIRONMENT) {
        None => Ok(None),
        Some(value) => {
            let text = value.to_string_lossy();
            let number = text.parse().ok().filter(|&number: &RawFd| number >= 0);
            let number = number.ok_or_else(|| InheritedError::NoNumber(text.into_owned()))?;
            let unusable = |source| InheritedError::Unusable { number, source };
            let stream = UnixStream::from(take(number).map_err(unusable)?);
            // Refuses files, terminals and sockets of another kind before anything is read from them.
            stream.peer_addr().map_err(unusable)?;
            Ok(Some(stream))
        }
    }
}

/// Makes the number of an inherited descriptor a descriptor that is owned, and closed on exec. For other descriptors than
/// that of the commands, which a program was promised in its arguments. To be called once for each, early.
///
/// By sending it to ourselves: the kernel checks the number and hands out a descriptor, which no safe function does
/// directly. The number itself is closed.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    let (from, to) =
        socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(io::Error::from)?;
    let numbers = [number];
    let passed = [ControlMessage::ScmRights(&numbers)];
    sendmsg::<()>(from.as_raw_fd(), &[IoSlice::new(&[0])], &passed, MsgFlags::empty(), None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&to, &mut [IoSliceMut::new(&mut [0])], &mut ancillary, RecvFlags::CMSG_CLOEXEC).map_err(io::Error::from)?;
    let mut received = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let taken = received.by_ref().flatten().next();
    let taken = taken.ok_or_else(|| io::Error::other("the system did not hand the descriptor over"))?;
    nix::unistd::close(number)?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::fd::IntoRawFd,
    };

    use super::*;

    #[test]
    fn a_number_becomes_a_descriptor_and_is_closed() {
        let (mut ours, childs) = pair().unwrap();
        let number = childs.into_raw_fd();
        let mut taken = UnixStream::from(take(number).unwrap());
        taken.write_all(b"hello").unwrap();
        drop(taken);
        let mut heard = String::new();
        // Ends only if no other descriptor of that socket is open.
        ours.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
    }

    #[test]
    fn a_number_that_nobody_has_opened_is_an_error() {
        assert!(take(1_000_000).is_err());
    }
}

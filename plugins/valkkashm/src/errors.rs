//! What frame-ring reports, as GStreamer's errors and messages: translated here, once.
//!
//! The text is frame-ring's own, which says what to do about it. What is chosen here is the domain and code that an
//! application looks at.

use std::time::Duration;

use frame_ring::{AddressError, ChannelAddress, LostReason, MemoryError, OpenError, ReadError};

/// The place of a channel, from the two properties that both elements have.
pub fn address(channel: Option<&str>, socket_path: Option<&str>) -> Result<ChannelAddress, gst::ErrorMessage> {
    let found = match (socket_path, channel) {
        (Some(path), _) => ChannelAddress::socket(path),
        (None, Some(name)) => ChannelAddress::channel(name),
        (None, None) => {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                ("No channel: set channel=NAME (for instance channel=lobby.rgb) or socket-path=PATH")
            ));
        }
    };
    found.map_err(|error| bad_address(&error))
}

fn bad_address(error: &AddressError) -> gst::ErrorMessage {
    gst::error_msg!(gst::ResourceError::Settings, ("{error}"))
}

/// The writer's side could not be opened.
pub fn open(error: &OpenError) -> gst::ErrorMessage {
    let code = match error {
        OpenError::Address(_) => gst::ResourceError::Settings,
        OpenError::Busy { .. } => gst::ResourceError::Busy,
        OpenError::NotAllowed { .. } => gst::ResourceError::NotAuthorized,
        _ => gst::ResourceError::OpenWrite,
    };
    gst::error_msg!(code, ("{error}"))
}

/// There is no memory for frames.
pub fn memory(error: &MemoryError) -> gst::ErrorMessage {
    gst::error_msg!(gst::ResourceError::NoSpaceLeft, ("{error}"))
}

/// The reader cannot go on.
pub fn read(error: &ReadError) -> gst::ErrorMessage {
    let code = match error {
        ReadError::Address(_) => gst::ResourceError::Settings,
        ReadError::NotAllowed { .. } => gst::ResourceError::NotAuthorized,
        ReadError::Memory(_) => gst::ResourceError::NoSpaceLeft,
        _ => gst::ResourceError::OpenRead,
    };
    gst::error_msg!(code, ("{error}"))
}

/// More than a channel tells its readers.
pub fn caps_too_large(bytes: usize) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::StreamError::Format,
        ("Caps of {bytes} bytes do not pass a channel: bring stream headers into the stream (for instance \
             h264parse config-interval=-1 and stream-format=byte-stream)")
    )
}

/// An eventfd could not be made.
pub fn descriptors(error: &std::io::Error) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::ResourceError::OpenReadWrite,
        ("No descriptor to wait on: {error}; raise the limit of open files (ulimit -n)")
    )
}

/// No writer came in time.
pub fn no_writer(address: &ChannelAddress, waited: Duration) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::ResourceError::NotFound,
        ("No writer at {address} within {waited:?}: start one (valkkashmsink with the same channel, user and runtime \
             folder), or raise connect-timeout (0 = wait for ever)")
    )
}

/// The writer went away and the user wants to know.
pub fn writer_lost(reason: &LostReason) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::ResourceError::Read,
        ("The writer of the channel is lost ({reason}); on-writer-lost=wait would wait for the next one")
    )
}

/// The writer threw this reader out, and says why.
pub fn detached(reason: &LostReason) -> gst::ErrorMessage {
    gst::error_msg!(gst::ResourceError::Read, ("{reason}"))
}

/// The channel's caps are none.
pub fn bad_caps(bytes: &[u8]) -> gst::ErrorMessage {
    let text = String::from_utf8_lossy(bytes);
    gst::error_msg!(
        gst::StreamError::Format,
        ("The channel has no usable caps; the writer may need another version of GStreamer"),
        ["got {text:?}"]
    )
}

/// Downstream cannot take what the channel carries.
pub fn refused_caps(caps: &gst::Caps) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::CoreError::Negotiation,
        ("The channel carries {caps}, which the next element does not take: put a converter (videoconvert, decodebin) \
             between, or change the caps filter behind valkkashmsrc")
    )
}

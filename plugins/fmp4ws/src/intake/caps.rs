//! What caps promise, in the words of [`crate::mp4`].

use super::Role;
use crate::mp4::{Aac, Audio, Av1, FrameError, H264, H265, Opus, Video};

/// What a pad takes.
pub fn accepted(role: Role) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    let all = caps.make_mut();
    match role {
        Role::Main => {
            // What the muxers call fragmented MP4; whether it is fragmented, only its boxes tell.
            let variants = gst::List::new(["iso", "iso-fragmented", "cmaf"]);
            all.append(gst::Caps::builder("video/quicktime").field("variant", variants).build());
            let formats = gst::List::new(["avc", "avc3", "byte-stream"]);
            all.append(frames("video/x-h264", formats));
            let formats = gst::List::new(["hvc1", "hev1", "byte-stream"]);
            all.append(frames("video/x-h265", formats));
            let av1 = gst::Caps::builder("video/x-av1").field("stream-format", "obu-stream").field("alignment", "tu");
            all.append(av1.build());
        }
        Role::Sound => {
            let aac = gst::Caps::builder("audio/mpeg").field("mpegversion", 4).field("stream-format", "raw");
            all.append(aac.build());
            all.append(
                gst::Caps::builder("audio/x-opus").field("channel-mapping-family", gst::IntRange::new(0, 255)).build(),
            );
        }
    }
    caps
}

fn frames(name: &str, formats: gst::List) -> gst::Caps {
    gst::Caps::builder(name).field("stream-format", formats).field("alignment", "au").build()
}

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// Fragmented MP4.
    Muxed,
    /// Pictures, and width and height of a pixel.
    Video(Video, (u32, u32)),
    /// Sound.
    Audio(Audio),
}

/// Why caps were refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What they say of the decoder is wrong.
    #[error(transparent)]
    Configuration(#[from] FrameError),
    /// They lack a field without which nothing can be played.
    #[error("the caps have no {0}: put {1} in front")]
    Missing(&'static str, &'static str),
    /// Not in the template.
    #[error("{0} is not understood")]
    Unknown(String),
}

/// Reads fixed caps.
pub fn input(caps: &gst::CapsRef) -> Result<Input, Refused> {
    let structure = caps.structure(0).ok_or_else(|| Refused::Unknown(caps.to_string()))?;
    let format = structure.get::<&str>("stream-format").unwrap_or_default();
    let codec_data = codec_data(structure);
    Ok(match structure.name().as_str() {
        "video/quicktime" => Input::Muxed,
        "video/x-h264" => {
            let stream = match (format, codec_data) {
                ("byte-stream", _) => H264::byte_stream(),
                (_, Some(avcc)) => H264::avc(&avcc)?,
                _ => return Err(Refused::Missing("codec_data", "h264parse")),
            };
            Input::Video(Video::H264(stream), pixel(structure))
        }
        "video/x-h265" => {
            let stream = match (format, codec_data) {
                ("byte-stream", _) => H265::byte_stream(),
                (_, Some(hvcc)) => H265::hvc(&hvcc)?,
                _ => return Err(Refused::Missing("codec_data", "h265parse")),
            };
            Input::Video(Video::H265(stream), pixel(structure))
        }
        "video/x-av1" => {
            // It comes in the stream as well, with each keyframe.
            let stream = codec_data.map_or_else(|| Ok(Av1::new()), |av1c| Av1::by_configuration(&av1c))?;
            Input::Video(Video::Av1(stream), pixel(structure))
        }
        "audio/mpeg" => {
            let config = codec_data.ok_or(Refused::Missing("codec_data", "aacparse"))?;
            Input::Audio(Audio::Aac(Aac::new(&config)?))
        }
        "audio/x-opus" => Input::Audio(Audio::Opus(opus(structure)?)),
        _ => return Err(Refused::Unknown(caps.to_string())),
    })
}

fn codec_data(structure: &gst::StructureRef) -> Option<Vec<u8>> {
    let buffer = structure.get::<gst::Buffer>("codec_data").ok()?;
    Some(buffer.map_readable().ok()?.to_vec())
}

fn pixel(structure: &gst::StructureRef) -> (u32, u32) {
    let ratio = structure.get::<gst::Fraction>("pixel-aspect-ratio").ok();
    let side = |number: i32| u32::try_from(number).unwrap_or(1).max(1);
    ratio.map_or((1, 1), |ratio| (side(ratio.numer()), side(ratio.denom())))
}

/// By the head that encoders and demuxers put into `streamheader`; a payloader's caps have none, and need none.
fn opus(structure: &gst::StructureRef) -> Result<Opus, Refused> {
    let headers = structure.get::<gst::ArrayRef>("streamheader").ok();
    let head = headers.and_then(|headers| headers.first()?.get::<gst::Buffer>().ok());
    if let Some(head) = head.as_ref().and_then(|head| head.map_readable().ok()) {
        return Ok(Opus::by_head(&head)?);
    }
    let field = |name, default| structure.get::<i32>(name).unwrap_or(default);
    match (field("channel-mapping-family", 0), field("channels", 2)) {
        (0, channels @ (1 | 2)) => Ok(Opus::new(channels as u8, field("rate", 48_000).max(0) as u32)),
        _ => Err(Refused::Missing("streamheader", "opusparse")),
    }
}

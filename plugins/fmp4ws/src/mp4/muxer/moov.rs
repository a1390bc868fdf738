//! The init segment: ftyp and a moov without samples (ISO/IEC 14496-12; "ISO BMFF Byte Stream Format" of MSE).
//!
//! No durations anywhere, and no mehd: that is how browsers see that the stream is live and decode without delay.

use super::timeline;
use crate::mp4::elementary::{Audio, Entry};
use crate::mp4::write::{halves, put, put_full, words};

/// Track numbers.
pub const VIDEO: u32 = 1;
/// See [`VIDEO`].
pub const AUDIO: u32 = 2;

const UNITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// "und", in three times five bits.
const LANGUAGE: u16 = 0x55c4;

/// Writes it. `pixel`: width and height of a pixel, for pictures that are shown stretched.
pub fn init_segment(video: &Entry, pixel: (u32, u32), audio: Option<&Audio>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    put(&mut out, b"ftyp", |out| out.extend_from_slice(b"iso6\0\0\x02\0iso6isommp41"));
    put(&mut out, b"moov", |out| {
        put_full(out, b"mvhd", 0, 0, |out| {
            words(out, &[0, 0, 1000, 0, 0x1_0000, 0x0100_0000, 0, 0]);
            words(out, &UNITY);
            words(out, &[0, 0, 0, 0, 0, 0, AUDIO + 1]);
        });
        put_video(out, video, pixel);
        if let Some(audio) = audio {
            put_audio(out, audio);
        }
        put(out, b"mvex", |out| {
            put_trex(out, VIDEO);
            if audio.is_some() {
                put_trex(out, AUDIO);
            }
        });
    });
    out
}

fn put_video(out: &mut Vec<u8>, entry: &Entry, (pixel_width, pixel_height): (u32, u32)) {
    let pixel = Some((pixel_width, pixel_height)).filter(|&(x, y)| x != y && x > 0 && y > 0);
    let (x, y) = pixel.unwrap_or((1, 1));
    // 16.16 fixed point, and one does not stretch what is 65536 pixels wide after it.
    let shown_width = u64::from(entry.width) * u64::from(x) * 0x1_0000 / u64::from(y);
    let shown = (u32::try_from(shown_width).unwrap_or(u32::MAX), u32::from(entry.height) << 16);
    let sample_entry = |out: &mut Vec<u8>| {
        put(out, &entry.format, |out| {
            words(out, &[0, 1, 0, 0, 0, 0]); // data_reference_index 1
            halves(out, &[entry.width, entry.height]);
            words(out, &[0x48_0000, 0x48_0000, 0, 0x0001_0000]); // 72 dpi, one frame in a sample
            out.extend([0; 30]); // compressor's name, but for its last two bytes
            halves(out, &[0x18, 0xffff]); // 24 bits, no colour table
            out.extend_from_slice(&entry.configuration);
            if let Some((x, y)) = pixel {
                put(out, b"pasp", |out| words(out, &[x, y]));
            }
        });
    };
    let media_header = |out: &mut Vec<u8>| put_full(out, b"vmhd", 0, 1, |out| words(out, &[0, 0]));
    put_track(out, VIDEO, shown, timeline::TIMESCALE, b"vide", media_header, sample_entry);
}

fn put_audio(out: &mut Vec<u8>, audio: &Audio) {
    let rate = audio.timescale();
    let (format, channels) = match audio {
        Audio::Aac(aac) => (b"mp4a", if aac.channels == 0 { 2 } else { aac.channels }),
        Audio::Opus(opus) => (b"Opus", opus.channels.into()),
    };
    let sample_entry = |out: &mut Vec<u8>| {
        put(out, format, |out| {
            words(out, &[0, 1, 0, 0]); // data_reference_index 1
            halves(out, &[channels, 16, 0, 0]);
            // 16.16 fixed point; rates beyond that stand in the configuration only.
            words(out, &[u16::try_from(rate).map_or(0, |rate| u32::from(rate) << 16)]);
            match audio {
                Audio::Aac(aac) => aac.put_configuration(out),
                Audio::Opus(opus) => opus.put_configuration(out),
            }
        });
    };
    let media_header = |out: &mut Vec<u8>| put_full(out, b"smhd", 0, 0, |out| words(out, &[0]));
    put_track(out, AUDIO, (0, 0), rate, b"soun", media_header, sample_entry);
}

fn put_track(
    out: &mut Vec<u8>,
    id: u32,
    (width, height): (u32, u32),
    timescale: u32,
    handler: &[u8; 4],
    media_header: impl FnOnce(&mut Vec<u8>),
    sample_entry: impl FnOnce(&mut Vec<u8>),
) {
    put(out, b"trak", |out| {
        // Enabled, in the movie, in its preview.
        put_full(out, b"tkhd", 0, 7, |out| {
            words(out, &[0, 0, id, 0, 0, 0, 0]);
            halves(out, &[0, 0, if handler == b"soun" { 0x0100 } else { 0 }, 0]); // layer, group, volume
            words(out, &UNITY);
            words(out, &[width, height]);
        });
        put(out, b"mdia", |out| {
            put_full(out, b"mdhd", 0, 0, |out| {
                words(out, &[0, 0, timescale, 0]);
                halves(out, &[LANGUAGE, 0]);
            });
            put_full(out, b"hdlr", 0, 0, |out| {
                words(out, &[0]);
                out.extend_from_slice(handler);
                out.extend([0; 13]); // reserved, and an empty name
            });
            put(out, b"minf", |out| {
                media_header(out);
                put(out, b"dinf", |out| {
                    put_full(out, b"dref", 0, 0, |out| {
                        words(out, &[1]);
                        put_full(out, b"url ", 0, 1, |_| {}); // in this file
                    });
                });
                put(out, b"stbl", |out| {
                    put_full(out, b"stsd", 0, 0, |out| {
                        words(out, &[1]);
                        sample_entry(out);
                    });
                    put_full(out, b"stts", 0, 0, |out| words(out, &[0]));
                    put_full(out, b"stsc", 0, 0, |out| words(out, &[0]));
                    put_full(out, b"stsz", 0, 0, |out| words(out, &[0, 0]));
                    put_full(out, b"stco", 0, 0, |out| words(out, &[0]));
                });
            });
        });
    });
}

fn put_trex(out: &mut Vec<u8>, track: u32) {
    put_full(out, b"trex", 0, 0, |out| words(out, &[track, 1, 0, 0, 0]));
}

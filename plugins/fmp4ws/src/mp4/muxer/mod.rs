//! Encoded frames become fragments, one each, the moment they arrive.
//!
//! ```text
//!   video frame ─► elementary: sample, keyframe? ─► timeline: times ─► moof + mdat ─► Output::Fragment
//!                       │ parameter sets changed?                          ▲
//!                       └────────────► moov ─► Output::Init ───────────────┤
//!   audio frame ─► waits until the pictures have come so far ──────────────┘
//! ```
//!
//! Media time 0 is the first keyframe; from there on it is the running time of the pipeline, for pictures and sound alike, and
//! it goes on over new parameter sets, flushes and restarts of the source.
//!
//! **Sound** may come late, stop, or never come, and pictures do not wait for it for longer than [`PATIENCE_NS`]: browsers play
//! only where both tracks have something, so a silent track would stop the picture. Sound that is missing for
//! [`SILENCE_NS`] is taken out of the stream, and taken in again when it is back; either gives a new init segment, at a keyframe
//! (one is asked for). What is missing for a shorter time (packets get lost) is filled with silence: when the sound is back, or after
//! [`LATE_NS`], whichever is first.

mod moof;
mod moov;
mod timeline;

use super::elementary::{Audio, Entry, Error, Video};
use super::{Init, Output};
use moof::Sample;
use std::collections::VecDeque;
use std::sync::Arc;
use timeline::{DecodeTimes, Joined};

/// How long the first pictures wait for the first sound, by the clock on the wall.
pub const PATIENCE_NS: i64 = 1_000_000_000;
/// Sound that is so far behind the pictures has stopped.
pub const SILENCE_NS: i64 = 3_000_000_000;
/// Sound that is so far behind the pictures is not waited for: no player of ours would.
pub const LATE_NS: i64 = 1_500_000_000;
/// Sound whose running time falls by more than this begins anew.
const RESTART_NS: i64 = 1_000_000_000;
/// What may wait for the other track, in bytes for each.
const MAX_WAITING: usize = 16 << 20;

/// A frame with its running times, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// As the caps say.
    pub data: &'a [u8],
    /// When it is shown, or heard.
    pub shown: i64,
    /// When it is decoded, if the stream tells it.
    pub decode: Option<i64>,
    /// How long of it is heard, in nanoseconds, if that is told.
    pub length: Option<i64>,
    /// The pipeline thinks that a decoder can begin here.
    pub keyframe: bool,
    /// When it came, on any clock that goes steadily.
    pub arrived: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Muxer {
    video: Option<VideoTrack>,
    sound: Sound,
    /// What viewers have.
    init: Option<Begun>,
    /// Running time of media time 0, in units of the video track.
    origin: Option<i64>,
    /// Pictures that wait for the first sound.
    held: Waiting<Picture>,
    /// When the first of them came.
    held_since: Option<i64>,
    sequence: u32,
    keyframe_wanted: bool,
}

#[derive(Debug)]
struct VideoTrack {
    stream: Video,
    pixel: (u32, u32),
    times: DecodeTimes,
    /// A keyframe of this stream has come.
    begun: bool,
    /// What was shown last.
    shown: Option<i64>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Sound {
    /// There will be sound.
    wanted: bool,
    stream: Option<Audio>,
    times: Joined,
    /// Frames that are ahead of the pictures, with their running time.
    waiting: Waiting<i64>,
    /// Running time of the newest frame; `None` when there never was one.
    heard: Option<i64>,
    /// Running time of the newest frame that waits no longer.
    reached: Option<i64>,
    /// The next frame joins to the one before.
    joined: bool,
    /// A frame in which nothing is heard, and how long it lasts, like the newest one.
    silence: Option<(Vec<u8>, u32)>,
    ended: bool,
}

/// What an init segment was made of.
#[derive(Debug)]
struct Begun {
    entry: Entry,
    pixel: (u32, u32),
    audio: Option<Audio>,
}

#[derive(Debug)]
struct Picture {
    placed: timeline::Placed,
    keyframe: bool,
}

/// Samples in order, bounded.
#[derive(Debug)]
struct Waiting<T> {
    samples: VecDeque<(T, Vec<u8>)>,
    bytes: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { samples: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Waiting<T> {
    fn push(&mut self, what: T, data: Vec<u8>) {
        self.bytes += data.len();
        self.samples.push_back((what, data));
    }

    fn pop_if(&mut self, condition: impl FnOnce(&T) -> bool) -> Option<(T, Vec<u8>)> {
        if !condition(&self.samples.front()?.0) {
            return None;
        }
        let sample = self.samples.pop_front()?;
        self.bytes -= sample.1.len();
        Some(sample)
    }

    fn drop_newest_while(&mut self, condition: impl Fn(&T) -> bool) {
        while self.samples.back().is_some_and(|(what, _)| condition(what)) {
            self.bytes -= self.samples.pop_back().map_or(0, |(_, data)| data.len());
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Muxer {
    /// Pictures come as this stream from now on. `pixel`: width and height of one.
    pub fn set_video(&mut self, stream: Video, pixel: (u32, u32)) {
        let (times, shown) = match self.video.take() {
            Some(old) => (old.times, old.shown),
            None => Default::default(),
        };
        self.video = Some(VideoTrack { stream, pixel, times, begun: false, shown, ended: false });
    }

    /// Sound is to be expected, or not any more.
    pub fn expect_sound(&mut self, wanted: bool) {
        self.sound.wanted = wanted;
        if !wanted {
            self.sound.stream = None;
            self.sound.waiting.clear();
        }
    }

    /// Whether sound is to be expected.
    pub fn expects_sound(&self) -> bool {
        self.sound.wanted
    }

    /// Sound comes as this stream from now on.
    pub fn set_sound(&mut self, stream: Audio) {
        if self.sound.stream.as_ref() != Some(&stream) {
            self.sound.waiting.clear();
            (self.sound.heard, self.sound.reached) = (None, None);
            (self.sound.joined, self.sound.silence) = (false, None);
            self.sound.stream = Some(stream);
        }
    }

    /// Running time of media time 0, in nanoseconds; `None` before the first keyframe.
    pub fn origin(&self) -> Option<i64> {
        let origin = i128::from(self.origin?) * 1_000_000_000 / i128::from(timeline::TIMESCALE);
        i64::try_from(origin).ok()
    }

    /// Nothing goes on without a keyframe. Told once for each time that it becomes so.
    pub fn take_keyframe_wanted(&mut self) -> bool {
        std::mem::take(&mut self.keyframe_wanted)
    }

    /// The next picture.
    pub fn video(&mut self, frame: Frame<'_>, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let Some(track) = &mut self.video else { return Ok(()) };
        let mut data = Vec::with_capacity(frame.data.len() + 64);
        let sample = track.stream.sample(frame.data, frame.keyframe, &mut data)?;
        if sample.empty {
            return Ok(());
        }
        let entry = track.stream.entry().filter(|_| track.begun || sample.keyframe);
        let Some(entry) = entry else {
            self.keyframe_wanted = true;
            return Ok(());
        };
        let anew = !track.begun;
        (track.begun, track.ended) = (true, false);
        track.times.expect_reorder(entry.reorder.unwrap_or(0));
        let (shown, decode) = (ticks(frame.shown), frame.decode.map(ticks));
        let restarts = track.times.begins_anew(shown);
        let media_next = track.times.next().zip(self.origin).map(|(next, origin)| next - origin);
        if restarts {
            track.times.restart();
        }
        let placed = track.times.place(shown, decode);
        if let Some(next) = media_next.filter(|_| restarts) {
            self.origin = Some(placed.decode - next);
        }
        self.origin.get_or_insert(placed.decode);
        track.shown = Some(if restarts { shown } else { track.shown.map_or(shown, |last| last.max(shown)) });
        if anew || restarts {
            // The sound goes on as well; how long that may take is counted from here.
            self.sound.heard = self.sound.heard.map(|_| frame.shown);
            self.sound.reached = self.sound.heard;
        }
        let picture = Picture { placed, keyframe: sample.keyframe };
        if self.init.is_none() && self.waits_for_sound(frame.arrived) {
            self.held.push(picture, data);
            return Ok(());
        }
        self.begin(entry, sample.keyframe, outputs);
        self.emit_held(outputs);
        self.emit(&picture, &data, outputs);
        self.emit_sound(outputs);
        self.emit_silence(outputs);
        Ok(())
    }

    /// The next frame of sound.
    pub fn sound(&mut self, frame: Frame<'_>, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let Some(audio) = &self.sound.stream else { return Ok(()) };
        let duration = audio.duration(frame.data);
        if duration == 0 {
            return Err(Error::CutShort);
        }
        // Encoders begin with what a decoder leaves out: the first frame begins earlier than it is heard.
        let whole = i64::from(duration) * 1_000_000_000 / i64::from(audio.timescale());
        let unheard = frame.length.filter(|_| !self.sound.joined).map_or(0, |length| (whole - length).max(0));
        (self.sound.heard, self.sound.joined, self.sound.ended) = (Some(frame.shown), true, false);
        // Sound comes in order. What waits for a later time was stamped wrongly, or before the clock was set back, and would keep
        // back everything behind it until that time.
        self.sound.waiting.drop_newest_while(|&waits_for| waits_for > frame.shown + RESTART_NS);
        self.sound.waiting.push(frame.shown - unheard.min(whole), frame.data.to_vec());
        while self.sound.waiting.bytes > MAX_WAITING {
            self.sound.waiting.pop_if(|_| true);
        }
        if self.init.is_none() && !self.held.samples.is_empty() {
            let entry = self.video.as_ref().and_then(|track| track.stream.entry());
            if let Some(entry) = entry {
                self.begin(entry, true, outputs);
                self.emit_held(outputs);
            }
        }
        self.emit_sound(outputs);
        Ok(())
    }

    /// The pictures have ended: sound does not wait for them any more.
    pub fn finish_video(&mut self, outputs: &mut Vec<Output>) {
        let Some(track) = &mut self.video else { return };
        track.ended = true;
        if let Some(entry) = track.stream.entry().filter(|_| !self.held.samples.is_empty()) {
            self.begin(entry, true, outputs);
            self.emit_held(outputs);
        }
        self.emit_sound(outputs);
    }

    /// The sound has ended, and the pictures do not wait for any that never came.
    pub fn finish_sound(&mut self) {
        self.sound.ended = true;
        self.sound.wanted &= self.sound.heard.is_some();
    }

    /// The pictures have ended, and so has the sound that viewers hear, if any.
    pub fn has_ended(&self) -> bool {
        let heard = self.init.as_ref().is_some_and(|begun| begun.audio.is_some());
        self.video.as_ref().is_some_and(|track| track.ended) && (self.sound.ended || !heard)
    }

    /// The next frames of pictures, or of sound, are not those after the last ones.
    pub fn flush(&mut self, pictures: bool) {
        match &mut self.video {
            Some(track) if pictures => track.begun = false,
            _ => {
                self.sound.waiting.clear();
                self.sound.joined = false;
            }
        }
    }

    fn waits_for_sound(&mut self, now: i64) -> bool {
        let since = *self.held_since.get_or_insert(now);
        let patient = now.saturating_sub(since) < PATIENCE_NS && self.held.bytes < MAX_WAITING;
        self.sound.wanted && self.sound.heard.is_none() && patient
    }

    /// Gives an init segment if viewers need another one than they have.
    fn begin(&mut self, entry: Entry, keyframe: bool, outputs: &mut Vec<Output>) {
        let Some(track) = &self.video else { return };
        let audio = self.sound.stream.clone().filter(|_| self.sound_is_there());
        let pixel = track.pixel;
        if let Some(begun) = &self.init {
            let same_video = begun.entry == entry && begun.pixel == pixel;
            if same_video && begun.audio == audio {
                return;
            }
            if same_video && !keyframe {
                self.keyframe_wanted = true;
                return;
            }
        }
        if self.init.as_ref().is_some_and(|begun| begun.audio.is_none()) {
            // What was not heard meanwhile is not missing.
            self.sound.times = Joined::default();
        }
        let init = Init::read(moov::init_segment(&entry, pixel, audio.as_ref()).into());
        outputs.push(Output::Init(Arc::new(init.expect("the reader understands what the writer writes"))));
        self.init = Some(Begun { entry, pixel, audio });
    }

    /// Sound comes, and not too far behind the pictures.
    fn sound_is_there(&self) -> bool {
        let shown = self.video.as_ref().and_then(|track| track.shown);
        let behind = |heard| shown.is_none_or(|shown| shown - ticks(heard) < ticks(SILENCE_NS));
        self.sound.wanted && self.sound.heard.is_some_and(behind)
    }

    fn emit_held(&mut self, outputs: &mut Vec<Output>) {
        while let Some((picture, data)) = self.held.pop_if(|_| true) {
            self.emit(&picture, &data, outputs);
        }
    }

    fn emit(&mut self, picture: &Picture, data: &[u8], outputs: &mut Vec<Output>) {
        let timeline::Placed { decode, duration, offset } = picture.placed;
        let decode = u64::try_from(decode - self.origin.unwrap_or(decode)).unwrap_or(0);
        let sync = picture.keyframe;
        self.put(Sample { track: moov::VIDEO, decode, duration, offset, sync, main: true, data }, outputs);
    }

    /// Sound up to where the pictures are. Sent earlier, it would be of no use, and a viewer that starts at a later
    /// picture would miss it.
    fn emit_sound(&mut self, outputs: &mut Vec<Output>) {
        let (Some(origin), Some(audio)) = (self.origin(), self.audible()) else { return };
        let Some(track) = &self.video else { return };
        let Some(shown) = track.shown.map(|shown| shown + track.times.interval()) else { return };
        let ended = track.ended;
        let timescale = audio.timescale();
        while let Some((heard, data)) = self.sound.waiting.pop_if(|&heard| ended || ticks(heard) <= shown) {
            self.sound.reached = Some(heard);
            if heard < origin {
                // A viewer has no picture for it.
                continue;
            }
            let duration = audio.duration(&data);
            let place = self.sound.times.place(scale(heard - origin, timescale), duration, timescale);
            let Some(timeline::Heard { begin, missing }) = place else { continue };
            let silence = audio.silence(&data);
            // Browsers stop at a hole in the sound. Longer than this, and the sound was taken out.
            let missing = i64::from(missing).min(scale(SILENCE_NS, timescale) / i64::from(duration.max(1)));
            if let Some(silence) = &silence {
                let begins = (1..=missing).rev().map(|frames| begin - frames * i64::from(duration));
                begins.for_each(|begin| self.put_sound(begin, duration, silence, outputs));
            }
            self.put_sound(begin, duration, &data, outputs);
            self.sound.silence = silence.map(|silence| (silence, duration));
        }
    }

    /// Silence up to where the pictures are, for sound that does not come, until it is taken out.
    fn emit_silence(&mut self, outputs: &mut Vec<Output>) {
        let shown = self.video.as_ref().and_then(|track| track.shown);
        let (Some(shown), Some(origin), Some(heard)) = (shown, self.origin, self.sound.heard) else { return };
        // Sound that waits for a time far ahead is missing here as well.
        let heard = self.sound.reached.map_or(heard, |reached| reached.min(heard));
        let (Some(audio), Some((silence, duration))) = (self.audible(), self.sound.silence.clone()) else { return };
        if shown - ticks(heard) > ticks(LATE_NS) {
            let timescale = audio.timescale();
            let until = (shown - origin).saturating_mul(timescale.into()) / i64::from(timeline::TIMESCALE);
            let begins = self.sound.times.fill(until, duration, scale(SILENCE_NS, timescale));
            begins.into_iter().for_each(|begin| self.put_sound(begin, duration, &silence, outputs));
        }
    }

    /// The sound that viewers hear, if what comes in is that.
    fn audible(&self) -> Option<Audio> {
        let audio = self.init.as_ref()?.audio.clone();
        audio.filter(|audio| self.sound.stream.as_ref() == Some(audio))
    }

    fn put_sound(&mut self, begin: i64, duration: u32, data: &[u8], outputs: &mut Vec<Output>) {
        let (track, decode) = (moov::AUDIO, u64::try_from(begin).unwrap_or(0));
        self.put(Sample { track, decode, duration, offset: 0, sync: true, main: false, data }, outputs);
    }

    fn put(&mut self, sample: Sample<'_>, outputs: &mut Vec<Output>) {
        self.sequence = self.sequence.wrapping_add(1);
        outputs.push(Output::Fragment(Arc::new(sample.fragment(self.sequence))));
    }
}

/// Nanoseconds in units of the video track.
fn ticks(ns: i64) -> i64 {
    scale(ns, timeline::TIMESCALE)
}

fn scale(ns: i64, timescale: u32) -> i64 {
    // Rounded down, also before 0: the distance of two times stays what it is.
    let scaled = (i128::from(ns) * i128::from(timescale) + 500_000_000).div_euclid(1_000_000_000);
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

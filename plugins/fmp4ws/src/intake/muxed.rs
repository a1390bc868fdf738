//! Fragmented MP4 that a muxer pushes, buffer by buffer.

use crate::clock::{MediaClock, channel_now_ns};
use crate::mp4::{Error, Fragment, Init, Output, Parser};
use std::sync::Arc;

/// How far the stream was understood.
#[derive(Default)]
pub struct Muxed {
    parser: Parser,
    init: Option<Arc<Init>>,
    /// Channel time of the first sample of the fragment that is coming in.
    first_sample: Option<i64>,
    /// From arrival, for streams whose buffers have no time stamps.
    arrival: Option<MediaClock>,
    /// Nothing has come since a flush.
    flushed: bool,
}

/// What is to be published.
pub enum Found {
    Init(Arc<Init>),
    Fragment(Arc<Fragment>, Option<MediaClock>),
}

impl Muxed {
    /// What was begun is lost; what comes next may be fragments of the same stream, or another stream.
    pub fn flush(&mut self) {
        self.parser.flush();
        (self.first_sample, self.arrival, self.flushed) = (None, None, true);
    }

    /// Takes the next buffer. `channel_time` tells when its first byte is shown, if that is known. What was found before an
    /// error is found all the same.
    pub fn take(
        &mut self,
        bytes: &[u8],
        channel_time: impl FnOnce() -> Option<i64>,
    ) -> (Vec<Found>, Result<(), Error>) {
        // Muxers push a fragment's first sample in a buffer that still has the frame's time stamp.
        if self.parser.at_first_sample() {
            self.first_sample = channel_time();
        }
        let mut outputs = Vec::new();
        let result = self.parser.push(bytes, &mut outputs);
        if self.flushed && !outputs.is_empty() {
            self.flushed = false;
            // Times may have fallen, and the first fragment may need another that was lost: for viewers the stream begins anew.
            let again = self.init.clone().filter(|_| matches!(outputs[0], Output::Fragment(_)));
            outputs.splice(..0, again.map(Output::Init));
        }
        let found = outputs.into_iter().map(|output| match output {
            Output::Init(init) => {
                self.init = Some(init.clone());
                self.arrival = None;
                Found::Init(init)
            }
            Output::Fragment(fragment) => {
                let clock = self.clock_of(&fragment);
                Found::Fragment(fragment, clock)
            }
        });
        (found.collect(), result)
    }

    /// What the fragment's media time means, by the time stamp of its first sample.
    fn clock_of(&mut self, fragment: &Fragment) -> Option<MediaClock> {
        let first_sample = self.first_sample.take();
        // Whichever track it belongs to: they share the timeline. What is told once for each fragment is the pictures'.
        fragment.run(self.init.as_ref()?.main().id)?;
        let run = fragment.first_run()?;
        let timescale = self.init.as_ref()?.track(run.track)?.timescale;
        let media_time = i64::try_from(i128::from(run.shown) * 1_000_000_000 / i128::from(timescale)).ok()?;
        if let Some(channel_time) = first_sample {
            self.arrival = None;
            return Some(MediaClock::new(channel_time, media_time, true));
        }
        Some(*self.arrival.get_or_insert_with(|| MediaClock::new(channel_now_ns(), media_time, false)))
    }
}

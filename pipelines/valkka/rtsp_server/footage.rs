//! A video file as a camera: its pictures, decoded, again and again without end and with times that only rise.

use std::path::{Path, PathBuf};

use gst::prelude::*;

/// Why a file is no footage.
#[derive(Debug, thiserror::Error)]
pub enum FootageError {
    #[error("{path}: {reason}")]
    Unplayable { path: PathBuf, reason: String },
    #[error("GStreamer: {0}")]
    Gst(#[from] gst::glib::Error),
}

/// A decoder that begins again at each end of its file.
#[derive(Debug)]
pub struct Footage {
    path: PathBuf,
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSink,
    /// Added to the file's own times: the length of all rounds before this one.
    rounds: gst::ClockTime,
    /// End of the newest picture, in the same count.
    end: gst::ClockTime,
    /// Pictures since the file's beginning: a round without any would repeat for ever.
    in_this_round: u64,
}

/// A picture may take ten seconds to be decoded before the file is given up.
const LOOKS: u32 = 50;
const LOOK_AGAIN: gst::ClockTime = gst::ClockTime::from_mseconds(200);
/// Assumed of a picture that does not say how long it lasts.
const USUAL_LENGTH: gst::ClockTime = gst::ClockTime::from_mseconds(40);

impl Footage {
    /// Opens a file and starts to decode it.
    pub fn open(path: &Path) -> Result<Self, FootageError> {
        let description = "filesrc name=file ! decodebin ! videoconvertscale \
                           ! video/x-raw,format=I420,pixel-aspect-ratio=1/1 \
                           ! appsink name=pictures sync=false max-buffers=4";
        let pipeline = gst::parse::launch(description)?.downcast::<gst::Pipeline>().expect("several elements");
        let by_name = |name| pipeline.by_name(name).expect("it stands in the description");
        by_name("file").set_property("location", path);
        let pictures = by_name("pictures").downcast::<gst_app::AppSink>().expect("it is one");
        let zero = gst::ClockTime::ZERO;
        let footage = Self { path: path.to_owned(), pipeline, pictures, rounds: zero, end: zero, in_this_round: 0 };
        // The bus keeps errors alone, so that a message on it is one.
        let only_errors = |_: &gst::Bus, message: &gst::Message| match message.type_() {
            gst::MessageType::Error => gst::BusSyncReply::Pass,
            _ => gst::BusSyncReply::Drop,
        };
        footage.bus().set_sync_handler(only_errors);
        // If this fails, the bus knows why.
        let _ = footage.pipeline.set_state(gst::State::Playing);
        Ok(footage)
    }

    /// The next picture and its time since the very first one.
    pub fn next(&mut self) -> Result<(gst::Sample, gst::ClockTime), FootageError> {
        loop {
            if let Some(sample) = self.pull()? {
                self.in_this_round += 1;
                let time = self.time_of(&sample);
                return Ok((sample, time));
            }
            if self.in_this_round == 0 {
                return Err(self.unplayable());
            }
            (self.rounds, self.in_this_round) = (self.end, 0);
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
            if self.pipeline.seek_simple(flags, gst::ClockTime::ZERO).is_err() {
                return Err(self.unplayable());
            }
        }
    }

    /// A picture, or `None` at the end of the file.
    fn pull(&self) -> Result<Option<gst::Sample>, FootageError> {
        for _ in 0..LOOKS {
            match self.pictures.try_pull_sample(LOOK_AGAIN) {
                Some(sample) => return Ok(Some(sample)),
                None if self.pictures.is_eos() => return Ok(None),
                // A decoder that finds nothing to decode says so on the bus, and nothing to the sink.
                None if self.bus().have_pending() => return Err(self.unplayable()),
                None => {}
            }
        }
        Err(self.unplayable())
    }

    fn bus(&self) -> gst::Bus {
        self.pipeline.bus().expect("a pipeline has a bus")
    }

    fn time_of(&mut self, sample: &gst::Sample) -> gst::ClockTime {
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let buffer = sample.buffer();
        let pts = buffer.and_then(gst::BufferRef::pts);
        let own = segment.zip(pts).and_then(|(segment, pts)| segment.to_stream_time(pts));
        // A picture without a time, or with one that does not rise, follows its predecessor.
        let time = own.map_or(self.end, |own| (self.rounds + own).max(self.end));
        self.end = time + buffer.and_then(gst::BufferRef::duration).unwrap_or(USUAL_LENGTH);
        time
    }

    fn unplayable(&self) -> FootageError {
        let error = self.bus().pop_filtered(&[gst::MessageType::Error]);
        let reason = match error.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => error.error().to_string(),
            _ => "no picture comes out of it".to_owned(),
        };
        FootageError::Unplayable { path: self.path.clone(), reason }
    }
}

impl Drop for Footage {
    fn drop(&mut self) {
        // Going down cannot fail in a way that anybody could mend.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve frames at 25 a second.
    fn short_file(folder: &Path) -> PathBuf {
        let path = folder.join("short.mkv");
        let description = "videotestsrc num-buffers=12 ! video/x-raw,width=64,height=48,framerate=25/1 \
                           ! jpegenc ! matroskamux ! filesink name=file";
        let pipeline = gst::parse::launch(description).unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.by_name("file").unwrap().set_property("location", &path);
        pipeline.set_state(gst::State::Playing).unwrap();
        let until = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &until).unwrap();
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
        pipeline.set_state(gst::State::Null).unwrap();
        path
    }

    #[test]
    fn a_file_goes_round_and_its_times_go_on_without_a_gap() {
        gst::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut footage = Footage::open(&short_file(folder.path())).unwrap();
        let times: Vec<_> = (0..36).map(|_| footage.next().unwrap().1.mseconds()).collect();
        let even: Vec<_> = (0..36).map(|n| n * 40).collect();
        assert_eq!(times, even);
    }

    #[test]
    fn a_file_that_is_no_video_is_told_so() {
        gst::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "not a video").unwrap();
        let problem = Footage::open(&path).unwrap().next().unwrap_err().to_string();
        assert!(problem.contains("notes.txt"), "{problem}");
    }
}

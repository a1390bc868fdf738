//! One camera under analysis: its detector, its objects, its zones. Travels to an analysis thread with each frame, and back.

use std::time::Duration;

use frame_ring::{Frame, FrameId, Integrity, LineHandle, Reply, ReplyFormat, SendError};
use nix::time::{ClockId, clock_gettime};

use crate::caps::Picture;
use crate::config::CameraConfig;
use crate::detect::dnn::Fitted;
use crate::detect::{Detector, FindError, Models};
use crate::geometry::Polygon;
use crate::layout::Plane;
use crate::life::{Change, Lives, Moment};
use crate::log::Log;
use crate::message::{Detections, MAX_OBJECTS, Object, ObjectEvent, moment_of};
use crate::track::{Found, Tracker};
use crate::view::with_view;
use crate::zone::Zone;

/// What is known of a camera and its objects.
pub struct Camera {
    name: String,
    channel: String,
    detector: Detector,
    mask: Vec<Polygon>,
    zones: Vec<Zone>,
    tracker: Tracker,
    lives: Lives,
    /// Of the pictures that the objects were seen in.
    size: Option<(i32, i32)>,
    log: Log,
}

/// A frame that is to be looked at.
pub struct Shot {
    /// Its bytes are where the writer made them.
    pub frame: Frame,
    /// What the caps say of it.
    pub picture: Picture,
    /// Where answers go.
    pub line: LineHandle,
}

/// A message, ready to go out.
#[derive(Debug)]
pub enum Message {
    /// What was found in a frame.
    Detections(Vec<u8>),
    /// What has happened to an object.
    Object(Vec<u8>),
}

/// What came of a look at a frame.
#[derive(Default)]
pub struct Look {
    /// Nothing if the frame could not be looked at.
    pub messages: Vec<Message>,
    /// Processor time in OpenCV.
    pub in_opencv: Duration,
    /// How old the frame was when its answer was ready, in ns.
    pub age: i64,
}

/// A camera with a frame to look at.
pub struct Turn {
    /// Whose turn it is, for whoever gave it.
    pub seat: u64,
    /// Whose frame it is.
    pub camera: Box<Camera>,
    /// The frame.
    pub shot: Shot,
}

impl Camera {
    /// Makes its detector, which may take its time.
    pub fn open(config: &CameraConfig, models: &Models) -> Result<Self, String> {
        config.check()?;
        let mask = config.mask()?;
        Ok(Self {
            name: config.camera().to_owned(),
            channel: config.channel_name().to_owned(),
            detector: models.detector(&config.detector, &mask)?,
            mask,
            zones: config.zones()?,
            tracker: Tracker::new(&config.tracker, models.ids()),
            lives: Lives::new(&config.tracker),
            size: None,
            log: Log::of(config.channel_name()),
        })
    }

    /// Its detector.
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Other zones from now on.
    pub fn set_zones(&mut self, zones: Vec<Zone>) {
        self.zones = zones;
    }

    /// There are no more pictures for now: the lives of all objects end. Whoever wrote the pictures is told, if it is still there.
    pub fn forget(&mut self, line: &LineHandle) -> Vec<Message> {
        let ended = self.end_all();
        let tell = |change: &Change| {
            let (generation, seq) = change.after.frame;
            self.reply(FrameId { generation, seq }, line, vec![self.tell(change)])
        };
        ended.iter().flat_map(tell).collect()
    }

    fn end_all(&mut self) -> Vec<Change> {
        let lost = self.tracker.forget();
        self.lives.end(&lost)
    }

    fn tell(&self, change: &Change) -> Message {
        Message::Object(ObjectEvent::new(&self.name, &self.channel, change).to_json())
    }

    /// Follows what was found, and says it.
    fn answer(&mut self, moment: &Moment, mut found: Vec<Found>) -> Vec<Message> {
        let mut changes = Vec::new();
        if self.size.replace(moment.size) != Some(moment.size) {
            changes = self.end_all();
        }
        if !matches!(self.detector, Detector::Motion(_)) {
            // Motion is masked by the pixel; its largest come first.
            found.retain(|found| !self.mask.iter().any(|mask| mask.contains(found.bounds.foot())));
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        found.truncate(MAX_OBJECTS);
        let identified = self.tracker.identify(moment.pts, &found);
        let mut seen: Vec<_> = identified.ids.iter().copied().zip(&found).collect();
        seen.sort_by_key(|(id, _)| *id);
        let objects = seen.iter().map(|(id, found)| Object::new(*id, found)).collect();
        changes.extend(self.lives.end(&identified.lost));
        changes.extend(self.lives.see(moment, &seen, &self.zones));
        let about_objects: Vec<_> = changes.iter().map(|change| self.tell(change)).collect();
        // Stamped last: that is when it is said.
        let detections = Detections::new(&self.name, &self.channel, moment, objects).to_json();
        std::iter::once(Message::Detections(detections)).chain(about_objects).collect()
    }

    fn reply(&mut self, frame: FrameId, line: &LineHandle, messages: Vec<Message>) -> Vec<Message> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            let (kind, payload): (fn(Vec<u8>) -> Message, _) = match message {
                Message::Detections(payload) => (Message::Detections, payload),
                Message::Object(payload) => (Message::Object, payload),
            };
            let reply = Reply { frame: Some(frame), format: ReplyFormat::Json, payload };
            match line.reply(&reply) {
                // A writer that has gone needs no answer; the channel will say that it has.
                Ok(()) | Err(SendError::NotConnected) => {}
                Err(error) => self.log.warn(&format!("a reply is lost: {error}")),
            }
            sent.push(kind(reply.payload));
        }
        sent
    }
}

/// Looks at the frames, answers their writers, and gives the cameras back. Several frames are for the same model.
pub fn look(turns: Vec<Turn>) -> Vec<(u64, Box<Camera>, Look)> {
    let together = turns.len() > 1;
    let mut looked: Vec<_> = turns.into_iter().map(Looking::begin).collect();
    if together {
        find_together(&mut looked);
    } else {
        looked.iter_mut().for_each(Looking::find);
    }
    looked.into_iter().map(Looking::finish).collect()
}

/// A turn on its way.
struct Looking {
    turn: Turn,
    plane: Option<Plane>,
    found: Option<Vec<Found>>,
    in_opencv: Duration,
}

impl Looking {
    /// Finds out where the pixels are.
    fn begin(turn: Turn) -> Self {
        let mut looking = Self { turn, plane: None, found: None, in_opencv: Duration::ZERO };
        let shot = &looking.turn.shot;
        if shot.frame.integrity() == Integrity::Torn {
            looking.left_out("its checksum is wrong");
            return looking;
        }
        match Plane::of_frame(&shot.picture, shot.frame.metas()) {
            Ok(plane) => looking.plane = Some(plane),
            Err(error) => looking.left_out(&error.to_string()),
        }
        looking
    }

    fn find(&mut self) {
        self.view(
            |detector, view, picture| detector.find(view, picture.format),
            |looking, found| looking.found = Some(found),
        );
    }

    /// Lends the frame to the detector. What comes of it goes on to `then`.
    fn view<T>(
        &mut self,
        look: impl FnOnce(
            &mut Detector,
            &opencv::boxed_ref::BoxedRef<'_, opencv::core::Mat>,
            &Picture,
        ) -> Result<T, FindError>,
        then: impl FnOnce(&mut Self, T),
    ) {
        let Some(plane) = self.plane else { return };
        let Turn { camera, shot, .. } = &mut self.turn;
        let (detector, picture) = (&mut camera.detector, shot.picture);
        let mut in_opencv = Duration::ZERO;
        let seen = with_view(shot.frame.as_ref(), &picture, plane, |view| {
            let begin = processor_time();
            let seen = look(detector, view, &picture);
            in_opencv = processor_time().saturating_sub(begin);
            Ok(seen)
        });
        self.in_opencv += in_opencv;
        match seen {
            Ok(Ok(seen)) => then(self, seen),
            Ok(Err(error)) => self.left_out(&error.to_string()),
            Err(error) => self.left_out(&error.to_string()),
        }
    }

    fn left_out(&mut self, why: &str) {
        self.turn.camera.log.warn(&format!("a frame is left out: {why}"));
    }

    fn finish(self) -> (u64, Box<Camera>, Look) {
        let Turn { seat, mut camera, shot } = self.turn;
        let Some(found) = self.found else {
            return (seat, camera, Look { in_opencv: self.in_opencv, ..Look::default() });
        };
        let side = |side: u32| i32::try_from(side).expect("caps with larger sides are refused");
        let moment = moment_of(&shot.frame, (side(shot.picture.width), side(shot.picture.height)));
        let frame = shot.frame.id();
        // The slot is of no more use here; sending may take a moment.
        drop(shot.frame);
        let messages = camera.answer(&moment, found);
        let age = frame_ring::monotonic_now().saturating_sub(moment.pts);
        let messages = camera.reply(frame, &shot.line, messages);
        (seat, camera, Look { messages, in_opencv: self.in_opencv, age })
    }
}

/// Frames of several cameras pass the model together.
fn find_together(all: &mut [Looking]) {
    let Some(net) = all.iter().find_map(|looking| looking.turn.camera.detector.net().cloned()) else { return };
    let mut fitted: Vec<(usize, Fitted)> = Vec::with_capacity(all.len());
    for (number, looking) in all.iter_mut().enumerate() {
        looking.view(|_, view, picture| net.fit(view, picture.format), |_, picture| fitted.push((number, picture)));
    }
    let begin = processor_time();
    let pictures: Vec<_> = fitted.iter().map(|(_, picture)| picture.clone()).collect();
    let tensors = net.look(&pictures);
    let share = processor_time().saturating_sub(begin) / u32::try_from(pictures.len().max(1)).unwrap_or(u32::MAX);
    for (place, (number, picture)) in fitted.iter().enumerate() {
        let looking = &mut all[*number];
        looking.in_opencv += share;
        let Detector::Dnn(dnn) = &looking.turn.camera.detector else { continue };
        let found = match &tensors {
            Ok(tensors) => dnn.read(tensors, place, picture).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match found {
            Ok(found) => looking.found = Some(found),
            Err(error) => looking.left_out(&error),
        }
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

//! The pads of the bin, and what is behind them: an intake each, and one muxer for encoded frames.

use crate::intake::{Intake, Role, caps};
use crate::mp4::Muxer;
use crate::stream::{Stream, lock};
use gst::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};

/// Pictures, or a stream that is muxed already.
const SINK: &str = "sink";
/// Sound, on request, at most one.
const AUDIO: &str = "audio";

/// See the module.
#[derive(Default)]
pub struct Pads {
    muxer: Arc<Mutex<Muxer>>,
    main: Mutex<Option<Intake>>,
    sound: Mutex<Option<(gst::GhostPad, Intake)>>,
}

/// For the class.
pub fn templates() -> &'static [gst::PadTemplate] {
    static TEMPLATES: LazyLock<[gst::PadTemplate; 2]> = LazyLock::new(|| {
        let template = |name, presence, role| {
            let template = gst::PadTemplate::new(name, gst::PadDirection::Sink, presence, &caps::accepted(role));
            template.expect("the template is valid")
        };
        [template(SINK, gst::PadPresence::Always, Role::Main), template(AUDIO, gst::PadPresence::Request, Role::Sound)]
    });
    TEMPLATES.as_ref()
}

impl Pads {
    /// The pad that is always there.
    pub fn add_main(&self, bin: &gst::Bin) {
        let (_, intake) = self.add(bin, SINK, Role::Main);
        *lock(&self.main) = Some(intake);
    }

    /// The pad for sound; there is one.
    pub fn request_sound(&self, bin: &gst::Bin, stream: Option<Arc<Stream>>) -> Option<gst::Pad> {
        let mut sound = lock(&self.sound);
        if sound.is_some() {
            return None;
        }
        let (pad, intake) = self.add(bin, AUDIO, Role::Sound);
        intake.set_stream(stream);
        lock(&self.muxer).expect_sound(true);
        *sound = Some((pad.clone(), intake.clone()));
        drop(sound);
        let _ = intake.sync_state_with_parent();
        Some(pad.upcast())
    }

    /// The pad for sound is given back.
    pub fn release(&self, bin: &gst::Bin, pad: &gst::Pad) {
        let Some((ghost, intake)) = lock(&self.sound).take_if(|(ghost, _)| ghost.upcast_ref::<gst::Pad>() == pad)
        else {
            return;
        };
        lock(&self.muxer).expect_sound(false);
        let _ = ghost.set_active(false);
        let _ = bin.remove_pad(&ghost);
        let _ = intake.set_state(gst::State::Null);
        let _ = bin.remove(&intake);
    }

    /// Where to publish from now on. Without a stream, what was known of the last one is forgotten.
    pub fn set_stream(&self, stream: Option<&Arc<Stream>>) {
        let sound = lock(&self.sound).as_ref().map(|(_, intake)| intake.clone());
        if stream.is_none() {
            let mut muxer = lock(&self.muxer);
            *muxer = Muxer::default();
            muxer.expect_sound(sound.is_some());
        }
        for intake in self.main().into_iter().chain(sound) {
            intake.set_stream(stream.cloned());
        }
    }

    /// Behind the pad that is always there.
    pub fn main(&self) -> Option<Intake> {
        lock(&self.main).clone()
    }

    fn add(&self, bin: &gst::Bin, name: &str, role: Role) -> (gst::GhostPad, Intake) {
        let intake = Intake::new(&format!("{name}-intake"), role, self.muxer.clone());
        bin.add(&intake).expect("no other element of the bin has this name");
        let template = bin.pad_template(name).expect("the class has this template");
        let target = intake.static_pad("sink").expect("a base sink has this pad");
        let pad = gst::GhostPad::builder_from_template_with_target(&template, &target);
        let pad = pad.expect("both are sink pads").name(name).build();
        if bin.current_state() > gst::State::Ready {
            let _ = pad.set_active(true);
        }
        bin.add_pad(&pad).expect("no other pad of the bin has this name");
        (pad, intake)
    }
}

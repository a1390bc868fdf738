//! Finds people who stand or walk: OpenCV's histogram of oriented gradients with its people detector.

use std::sync::Arc;

use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, MatTraitConst, Rect, Size, Vector};
use opencv::objdetect::HOGDescriptor;
use opencv::prelude::*;
use serde::Deserialize;

use super::pool::Pool;
use super::{FindError, bounds_of, within};
use crate::track::Found;

/// What counts as a person. The values are those of OpenCV's `detectMultiScale`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeopleConfig {
    /// How far on the right side of the line a window must be. Higher finds fewer.
    pub hit_threshold: f64,
    /// Pixels from window to window; a multiple of 8.
    pub stride: i32,
    /// Pixels that are added around the picture; a multiple of 8.
    pub padding: i32,
    /// From one size of people to the next.
    pub scale: f64,
    /// How many windows must agree.
    pub group: f64,
}

impl Default for PeopleConfig {
    fn default() -> Self {
        Self { hit_threshold: 0.0, stride: 8, padding: 0, scale: 1.05, group: 2.0 }
    }
}

impl PeopleConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        within("people: hit_threshold", self.hit_threshold, -100.0, 100.0)?;
        within("people: scale", self.scale, 1.01, 2.0)?;
        within("people: group", self.group, 0.0, 100.0)?;
        let steps = |pixels: i32| (0..=64).contains(&pixels) && pixels % 8 == 0;
        if self.stride == 0 || !steps(self.stride) || !steps(self.padding) {
            return Err("people: stride and padding are multiples of 8, at most 64".into());
        }
        Ok(())
    }
}

/// The window that people are looked for in.
const WINDOW: Size = Size { width: 64, height: 128 };

/// What all cameras share.
#[derive(Default)]
pub struct Shared(Pool<HOGDescriptor>);

/// The people detector of one camera.
pub struct People {
    config: PeopleConfig,
    shared: Arc<Shared>,
}

impl People {
    pub(super) fn new(config: PeopleConfig, shared: Arc<Shared>) -> Self {
        Self { config, shared }
    }

    /// Boxes around people.
    pub fn find(&mut self, picture: &BoxedRef<'_, Mat>) -> Result<Vec<Found>, FindError> {
        let (width, height) = (picture.cols(), picture.rows());
        if width < WINDOW.width || height < WINDOW.height {
            return Err(FindError::Small { width, height, what: "people", least: "64x128" });
        }
        let (mut rects, mut weights) = (Vector::<Rect>::new(), Vector::<f64>::new());
        let config = &self.config;
        self.shared.0.lend(detector, |hog| {
            hog.detect_multi_scale_weights(
                picture,
                &mut rects,
                &mut weights,
                config.hit_threshold,
                Size::new(config.stride, config.stride),
                Size::new(config.padding, config.padding),
                config.scale,
                config.group,
                false,
            )
        })?;
        let label: Arc<str> = "person".into();
        // The weight is the distance from the line, on the right side of it: 0 is a guess, 2 is sure.
        let score = |weight: f64| 1.0 / (1.0 + (-weight).exp());
        let found = rects.iter().zip(weights.iter()).map(|(rect, weight)| Found {
            label: label.clone(),
            score: score(weight),
            bounds: bounds_of(rect, picture),
        });
        Ok(found.collect())
    }
}

fn detector() -> opencv::Result<HOGDescriptor> {
    let mut hog = HOGDescriptor::default()?;
    hog.set_svm_detector(HOGDescriptor::get_default_people_detector()?);
    Ok(hog)
}

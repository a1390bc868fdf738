//! What looks at pictures: four detectors, chosen per camera.
//!
//! | kind | what | state |
//! | --- | --- | --- |
//! | [`motion`] | what differs from the background | of one camera |
//! | [`people`] | OpenCV's histogram of gradients, trained on people who stand or walk | shared |
//! | [`face`] | Haar cascades of Debian's `opencv-data`, or any other cascade | shared |
//! | [`dnn`] | any ONNX detection model | shared: loaded once, and frames of several cameras pass it together |
//!
//! [`Models`] has what is shared by the cameras of the process.

pub mod dnn;
pub mod face;
pub mod motion;
pub mod people;
mod pool;

use std::sync::Arc;

use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, MatTraitConst, Rect};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::caps::Format;
use crate::geometry::{Bounds, Polygon};
use crate::track::{Found, Ids};

pub use dnn::{Dnn, DnnConfig};
pub use face::{Face, FaceConfig};
pub use motion::{Motion, MotionConfig};
pub use people::{People, PeopleConfig};

/// Which detector, and how it is set.
///
/// ```
/// use valkka_analyse::detect::DetectorConfig;
/// let by_name: DetectorConfig = serde_json::from_str(r#""people""#).unwrap();
/// let in_full: DetectorConfig = serde_json::from_str(r#"{"kind":"people"}"#).unwrap();
/// assert_eq!(by_name, in_full);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum DetectorConfig {
    /// What moves.
    Motion(MotionConfig),
    /// People.
    People(PeopleConfig),
    /// Faces.
    Face(FaceConfig),
    /// What an ONNX model knows.
    Dnn(Box<DnnConfig>),
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self::Motion(MotionConfig::default())
    }
}

/// A name alone, or an object with `kind` and the detector's own settings.
impl<'de> Deserialize<'de> for DetectorConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde_json::Value;
        let mut settings = match Value::deserialize(from)? {
            Value::String(kind) => [("kind".to_owned(), Value::String(kind))].into_iter().collect(),
            Value::Object(settings) => settings,
            _ => return Err(D::Error::custom("detector is a name or an object with `kind`")),
        };
        let kind = settings.remove("kind").unwrap_or_default();
        let settings = Value::Object(settings);
        let of = |error: serde_json::Error| D::Error::custom(format!("detector {kind}: {error}"));
        match kind.as_str() {
            Some("motion") => Ok(Self::Motion(serde_json::from_value(settings).map_err(of)?)),
            Some("people") => Ok(Self::People(serde_json::from_value(settings).map_err(of)?)),
            Some("face") => Ok(Self::Face(serde_json::from_value(settings).map_err(of)?)),
            Some("dnn") => Ok(Self::Dnn(serde_json::from_value(settings).map_err(of)?)),
            _ => Err(D::Error::custom(format!("detector kind is motion, people, face or dnn, not {kind}"))),
        }
    }
}

impl DetectorConfig {
    /// Says what is wrong with it. Files are looked for when the detector is made.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Motion(config) => config.check(),
            Self::People(config) => config.check(),
            Self::Face(config) => config.check(),
            Self::Dnn(config) => config.check(),
        }
    }
}

/// The detector of one camera.
pub enum Detector {
    /// What moves.
    Motion(Motion),
    /// People.
    People(People),
    /// Faces.
    Face(Face),
    /// What an ONNX model knows.
    Dnn(Dnn),
}

/// Why a picture was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// OpenCV says no.
    #[error("OpenCV: {0}")]
    OpenCv(#[from] opencv::Error),
    /// There is not enough to see.
    #[error("pictures of {width}x{height} are too small to find {what} in: at least {least} pixels are needed")]
    Small {
        /// Pixels.
        width: i32,
        /// Pixels.
        height: i32,
        /// What is looked for.
        what: &'static str,
        /// Width and height.
        least: &'static str,
    },
    /// The model says something that nobody understands.
    #[error("{0}")]
    Model(String),
}

/// What the cameras of a process share. Clones share it, too.
#[derive(Clone, Default)]
pub struct Models {
    people: Arc<people::Shared>,
    faces: Arc<face::Shared>,
    nets: Arc<dnn::Shared>,
    ids: Ids,
}

impl Models {
    /// Makes the detector of a camera. May take its time: a model is loaded if no other camera has done so.
    pub fn detector(&self, config: &DetectorConfig, mask: &[Polygon]) -> Result<Detector, String> {
        config.check()?;
        Ok(match config {
            DetectorConfig::Motion(config) => Detector::Motion(Motion::new(config.clone(), mask.to_vec())),
            DetectorConfig::People(config) => Detector::People(People::new(config.clone(), self.people.clone())),
            DetectorConfig::Face(config) => Detector::Face(self.faces.face(config.clone())?),
            DetectorConfig::Dnn(config) => Detector::Dnn(self.nets.dnn(config)?),
        })
    }

    /// Numbers for what the cameras see.
    pub fn ids(&self) -> Ids {
        self.ids.clone()
    }

    /// The ONNX models that are loaded.
    pub fn nets(&self) -> Vec<Arc<dnn::Net>> {
        self.nets.loaded()
    }
}

impl Detector {
    /// The model that looks at pictures of several cameras at once; None: each picture for itself.
    pub fn net(&self) -> Option<&Arc<dnn::Net>> {
        match self {
            Self::Dnn(dnn) => Some(dnn.net()),
            _ => None,
        }
    }

    /// Looks at one picture.
    pub fn find(&mut self, picture: &BoxedRef<'_, Mat>, format: Format) -> Result<Vec<Found>, FindError> {
        match self {
            Self::Motion(motion) => motion.look(picture),
            Self::People(people) => people.find(picture),
            Self::Face(face) => face.find(picture, format),
            Self::Dnn(dnn) => dnn.find(picture, format),
        }
    }
}

/// A box in pixels as shares of the picture.
fn bounds_of(rect: Rect, picture: &impl MatTraitConst) -> Bounds {
    let (width, height) = (f64::from(picture.cols().max(1)), f64::from(picture.rows().max(1)));
    let (right, bottom) = (f64::from(rect.x) + f64::from(rect.width), f64::from(rect.y) + f64::from(rect.height));
    Bounds::clamped(f64::from(rect.x) / width, f64::from(rect.y) / height, right / width, bottom / height)
}

/// Says what is wrong with a number, if anything is.
fn within(name: &str, value: f64, from: f64, to: f64) -> Result<(), String> {
    if (from..=to).contains(&value) {
        Ok(())
    } else {
        Err(format!("{name} is {value}, but must be from {from} to {to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DetectorConfig, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn detectors_are_named_or_described() {
        assert_eq!(parse(r#""motion""#), Ok(DetectorConfig::default()));
        let motion = MotionConfig { min_area: 0.01, ..Default::default() };
        assert_eq!(parse(r#"{"kind":"motion","min_area":0.01}"#), Ok(DetectorConfig::Motion(motion)));
    }

    #[test]
    fn wrong_words_are_told_with_the_right_ones() {
        assert!(parse(r#""magic""#).unwrap_err().contains("motion, people, face or dnn"));
        assert!(parse("5").unwrap_err().contains("kind"));
        let error = parse(r#"{"kind":"motion","min_aera":0.01}"#).unwrap_err();
        assert!(error.contains("min_aera") && error.contains("min_area"), "{error}");
        assert!(parse(r#""dnn""#).unwrap_err().contains("model"));
    }

    #[test]
    fn boxes_are_shares_of_the_picture() {
        let picture = Mat::new_rows_cols_with_default(360, 640, opencv::core::CV_8UC3, 0.0.into()).unwrap();
        let bounds = bounds_of(Rect::new(64, 90, 320, 180), &picture);
        assert_eq!((bounds.x1, bounds.y1, bounds.x2, bounds.y2), (0.1, 0.25, 0.6, 0.75));
        let larger = bounds_of(Rect::new(-64, -90, 1000, i32::MAX), &picture);
        assert_eq!((larger.x1, larger.y1, larger.x2, larger.y2), (0.0, 0.0, 1.0, 1.0));
    }
}

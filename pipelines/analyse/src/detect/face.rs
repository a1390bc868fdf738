//! Finds faces, or whatever a Haar cascade was trained on.
//!
//! Debian's package `opencv-data` has cascades for faces from the front and from the side, for bodies, eyes, number plates.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, Rect, Size, Vector};
use opencv::imgproc;
use opencv::objdetect::CascadeClassifier;
use opencv::prelude::*;
use serde::Deserialize;

use super::pool::Pool;
use super::{FindError, bounds_of, within};
use crate::caps::Format;
use crate::track::Found;

/// What counts as a face.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaceConfig {
    /// The cascade: a file, or the name of one of Debian's (`haarcascade_profileface.xml`).
    pub cascade: PathBuf,
    /// What is said of what it finds.
    pub label: String,
    /// From one size of faces to the next.
    pub scale: f64,
    /// How many windows must agree. Higher finds fewer.
    pub neighbors: i32,
    /// Smaller faces are passed over, in pixels.
    pub min_size: i32,
}

impl Default for FaceConfig {
    fn default() -> Self {
        let cascade = "haarcascade_frontalface_default.xml".into();
        Self { cascade, label: "face".into(), scale: 1.1, neighbors: 3, min_size: 24 }
    }
}

impl FaceConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        within("face: scale", self.scale, 1.01, 4.0)?;
        within("face: neighbors", f64::from(self.neighbors), 0.0, 1000.0)?;
        within("face: min_size", f64::from(self.min_size), 1.0, 32768.0)?;
        if self.label.is_empty() || self.label.len() > crate::message::MAX_LABEL {
            return Err(format!("face: label has 1 to {} bytes", crate::message::MAX_LABEL));
        }
        Ok(())
    }
}

/// Where distributions put the cascades.
const FOLDERS: [&str; 3] =
    ["/usr/share/opencv4/haarcascades", "/usr/local/share/opencv4/haarcascades", "/usr/share/opencv/haarcascades"];

/// The cascades that are in use, by file. One that no camera needs any more is given up.
#[derive(Default)]
pub struct Shared(Mutex<HashMap<PathBuf, Weak<Cascade>>>);

struct Cascade {
    file: PathBuf,
    pool: Pool<CascadeClassifier>,
}

impl Cascade {
    fn load(&self) -> opencv::Result<CascadeClassifier> {
        CascadeClassifier::new(&self.file)
    }
}

impl Shared {
    pub(super) fn face(&self, config: FaceConfig) -> Result<Face, String> {
        let file = find(&config.cascade)?;
        let mut cascades = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cascade) = cascades.get(&file).and_then(Weak::upgrade) {
            return Ok(Face { config, label: None, cascade });
        }
        let cascade = Arc::new(Cascade { file: file.clone(), pool: Pool::default() });
        // Made now, so that a file that is no cascade is refused now.
        let empty = cascade.pool.lend(|| cascade.load(), |classifier| classifier.empty());
        if !matches!(empty, Ok(false)) {
            return Err(format!("face: {} is no cascade of OpenCV", file.display()));
        }
        cascades.retain(|_, cascade| cascade.strong_count() > 0);
        cascades.insert(file, Arc::downgrade(&cascade));
        Ok(Face { config, label: None, cascade })
    }
}

fn find(cascade: &Path) -> Result<PathBuf, String> {
    let beside = |folder: &&str| Path::new(folder).join(cascade);
    let candidates = std::iter::once(cascade.to_owned()).chain(FOLDERS.iter().map(beside));
    candidates.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        format!(
            "face: there is no cascade {}: install opencv-data (Debian), or give the path of a file",
            cascade.display()
        )
    })
}

/// The face detector of one camera.
pub struct Face {
    config: FaceConfig,
    label: Option<Arc<str>>,
    cascade: Arc<Cascade>,
}

impl Face {
    /// Boxes around faces.
    pub fn find(&mut self, picture: &BoxedRef<'_, Mat>, format: Format) -> Result<Vec<Found>, FindError> {
        let (mut grey, mut even) = (Mat::default(), Mat::default());
        let conversion = match format {
            Format::Rgb => Some(imgproc::COLOR_RGB2GRAY),
            Format::Bgr => Some(imgproc::COLOR_BGR2GRAY),
            Format::Gray8 => None,
        };
        match conversion {
            Some(conversion) => {
                imgproc::cvt_color_def(picture, &mut grey, conversion)?;
                imgproc::equalize_hist(&grey, &mut even)?;
            }
            None => imgproc::equalize_hist(picture, &mut even)?,
        }
        let (mut rects, mut neighbors) = (Vector::<Rect>::new(), Vector::<i32>::new());
        let (config, cascade) = (&self.config, &self.cascade);
        cascade.pool.lend(
            || cascade.load(),
            |classifier| {
                classifier.detect_multi_scale2(
                    &even,
                    &mut rects,
                    &mut neighbors,
                    config.scale,
                    config.neighbors,
                    0,
                    Size::new(config.min_size, config.min_size),
                    Size::default(),
                )
            },
        )?;
        let label = self.label.get_or_insert_with(|| config.label.as_str().into());
        let found = rects.iter().zip(neighbors.iter()).map(|(rect, neighbors)| Found {
            label: label.clone(),
            // The more windows agree, the surer it is.
            score: 1.0 - 1.0 / (1.0 + f64::from(neighbors.max(0))),
            bounds: bounds_of(rect, picture),
        });
        Ok(found.collect())
    }
}

//! Any detection model in ONNX, through OpenCV's dnn module.
//!
//! ```text
//!  picture of camera A ─┐ resize, pad             ┌─► boxes of A   threshold, non-maximum suppression,
//!  picture of camera B ─┼──────────► blob ─► net ─┼─► boxes of B   labels: each camera by its own settings
//!  picture of camera C ─┘    one forward pass     └─► boxes of C
//! ```
//!
//! `input` makes pictures fit, `output` reads what comes out. A [`Net`] is loaded once per process, and looks at one
//! batch at a time; the cameras that wait for it meanwhile are the next batch. A model whose batch is fixed to one
//! picture works as well: its pictures then go through one by one.

mod input;
mod output;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, MatTraitConst, MatTraitConstManual, Scalar, Vector};
use opencv::dnn;
use opencv::prelude::*;
use serde::Deserialize;

pub use input::{Colours, Fit, Fitted};
pub use output::{Layout, Tensor};

use super::{FindError, within};
use crate::caps::Format;
use crate::message::MAX_LABEL;
use crate::track::Found;

/// A model and how it is used.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnnConfig {
    /// The ONNX file.
    pub model: PathBuf,
    /// A text file with a label per line: line 1 is class 0.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// Width and height of the model's input.
    #[serde(default = "square")]
    pub size: [u32; 2],
    /// Order of colours that the model wants.
    #[serde(default)]
    pub colours: Colours,
    /// What is subtracted from each colour (0..255), in the model's order.
    #[serde(default)]
    pub mean: [f64; 3],
    /// What each value is then multiplied by.
    #[serde(default = "to_one")]
    pub scale: f64,
    /// How a picture of another shape is made to fit.
    #[serde(default)]
    pub fit: Fit,
    /// What comes out of the model.
    #[serde(default)]
    pub output: Layout,
    /// Pictures in one forward pass, at most.
    #[serde(default = "eight")]
    pub batch: u32,
    /// Scores below are passed over, 0..1.
    #[serde(default = "half")]
    pub threshold: f64,
    /// Of boxes of the same label that overlap more than this, the best stays, 0..1.
    #[serde(default = "less_than_half")]
    pub nms: f64,
    /// Labels that are wanted; all if it is left out.
    #[serde(default)]
    pub only: Vec<String>,
}

fn square() -> [u32; 2] {
    [640, 640]
}

fn to_one() -> f64 {
    1.0 / 255.0
}

fn eight() -> u32 {
    8
}

fn half() -> f64 {
    0.5
}

fn less_than_half() -> f64 {
    0.45
}

impl DnnConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        within("dnn: threshold", self.threshold, 0.0, 1.0)?;
        within("dnn: nms", self.nms, 0.0, 1.0)?;
        within("dnn: batch", f64::from(self.batch), 1.0, 256.0)?;
        within("dnn: scale", self.scale, -1e6, 1e6)?;
        self.mean.iter().try_for_each(|mean| within("dnn: mean", *mean, -1e6, 1e6))?;
        self.size.iter().try_for_each(|side| within("dnn: size", f64::from(*side), 1.0, 8192.0))
    }

    /// The same model, used in the same way? Thresholds are each camera's own.
    fn is_same_net(&self, other: &Self) -> bool {
        let own = |config: &Self| Self { threshold: 0.0, nms: 0.0, only: Vec::new(), ..config.clone() };
        own(self) == own(other)
    }
}

/// The models that are in use. One that no camera needs any more is given up.
#[derive(Default)]
pub struct Shared {
    nets: Mutex<Vec<Weak<Net>>>,
    /// Held while one is loaded, which may take long; who only asks which there are does not wait for that.
    loading: Mutex<()>,
}

impl Shared {
    pub(super) fn dnn(&self, config: &DnnConfig) -> Result<Dnn, String> {
        let net = match self.find(config) {
            Some(net) => net,
            None => self.load(config)?,
        };
        Ok(Dnn { net, threshold: config.threshold, nms: config.nms, only: config.only.clone() })
    }

    pub(super) fn loaded(&self) -> Vec<Arc<Net>> {
        self.nets().iter().filter_map(Weak::upgrade).collect()
    }

    fn find(&self, config: &DnnConfig) -> Option<Arc<Net>> {
        self.loaded().into_iter().find(|net| net.config.is_same_net(config))
    }

    fn load(&self, config: &DnnConfig) -> Result<Arc<Net>, String> {
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        // Another camera may have waited for the same.
        if let Some(net) = self.find(config) {
            return Ok(net);
        }
        let net = Arc::new(Net::load(config).map_err(|error| format!("dnn: {error}"))?);
        let mut nets = self.nets();
        nets.retain(|net| net.strong_count() > 0);
        nets.push(Arc::downgrade(&net));
        Ok(net)
    }

    fn nets(&self) -> MutexGuard<'_, Vec<Weak<Net>>> {
        self.nets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A model in memory.
pub struct Net {
    config: DnnConfig,
    labels: Vec<Arc<str>>,
    net: Mutex<dnn::Net>,
    outputs: Vector<String>,
    /// It can look at one picture at a time only.
    is_single: AtomicBool,
    passes: AtomicU64,
    pictures: AtomicU64,
    largest_batch: AtomicU64,
}

/// How a model was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Forward passes.
    pub passes: u64,
    /// Pictures in all of them.
    pub pictures: u64,
    /// Pictures in the largest.
    pub largest_batch: u64,
}

impl Net {
    fn load(config: &DnnConfig) -> Result<Self, String> {
        let file = config.model.display();
        // OpenCV's own message for a missing file speaks of a broken model.
        fs::metadata(&config.model).map_err(|error| format!("{file}: {error}"))?;
        let net = dnn::read_net_from_onnx(&config.model)
            .map_err(|error| format!("{file} cannot be read by OpenCV's dnn module: {}", error.message))?;
        let outputs = net.get_unconnected_out_layers_names().map_err(|error| format!("{file}: {}", error.message))?;
        let labels = config.labels.as_ref().map_or(Ok(Vec::new()), |path| {
            fs::read_to_string(path)
                .map(|text| labels_in(&text))
                .map_err(|error| format!("{}: {error}", path.display()))
        })?;
        let net = Self {
            config: config.clone(),
            labels,
            net: Mutex::new(net),
            outputs,
            is_single: AtomicBool::new(config.batch == 1),
            passes: AtomicU64::default(),
            pictures: AtomicU64::default(),
            largest_batch: AtomicU64::default(),
        };
        net.try_out().map_err(|error| format!("{file}: {error}"))?;
        Ok(net)
    }

    /// A first pass with a grey picture: what cannot be understood is refused now, and not with the first frame.
    fn try_out(&self) -> Result<(), String> {
        let [width, height] = self.config.size.map(|side| side as i32);
        let grey = Mat::new_rows_cols_with_default(height, width, opencv::core::CV_8UC3, Scalar::all(128.0))
            .map_err(|error| error.message)?;
        let tensors = self.forward(&[grey]).map_err(|error| match error {
            FindError::OpenCv(error) => format!("does not work with an input of {width}x{height}: {}", error.message),
            other => other.to_string(),
        })?;
        output::read(self.config.output, &tensors, 0, self.config.size, 1.0).map(|_| ())
    }

    /// The file that it is from.
    pub fn model(&self) -> &PathBuf {
        &self.config.model
    }

    /// Pictures that it can look at in one pass.
    pub fn batch(&self) -> usize {
        if self.is_single.load(Ordering::Relaxed) { 1 } else { self.config.batch as usize }
    }

    /// How it was used.
    pub fn usage(&self) -> Usage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage { passes: read(&self.passes), pictures: read(&self.pictures), largest_batch: read(&self.largest_batch) }
    }

    /// Makes a picture fit the model's input. This is the only copy.
    pub fn fit(&self, picture: &BoxedRef<'_, Mat>, format: Format) -> Result<Fitted, FindError> {
        Ok(input::fit(picture, format, self.config.size, self.config.fit, self.config.colours)?)
    }

    /// What the model sees in each of the pictures, in one pass if it can.
    pub fn look(&self, pictures: &[Fitted]) -> Result<Vec<Tensor>, FindError> {
        let images: Vec<Mat> = pictures.iter().map(|fitted| fitted.image.clone()).collect();
        let count = |images: usize| {
            self.passes.fetch_add(1, Ordering::Relaxed);
            self.pictures.fetch_add(images as u64, Ordering::Relaxed);
            self.largest_batch.fetch_max(images as u64, Ordering::Relaxed);
        };
        if images.len() > 1 && !self.is_single.load(Ordering::Relaxed) {
            match self.forward(&images) {
                Ok(tensors) if output::holds(&tensors, images.len()) => {
                    count(images.len());
                    return Ok(tensors);
                }
                _ => self.is_single.store(true, Ordering::Relaxed),
            }
        }
        let mut all: Vec<Tensor> = Vec::new();
        for (number, image) in images.iter().enumerate() {
            let tensors = self.forward(std::slice::from_ref(image))?;
            count(1);
            output::append(&mut all, tensors, number);
        }
        Ok(all)
    }

    fn forward(&self, images: &[Mat]) -> Result<Vec<Tensor>, FindError> {
        let images: Vector<Mat> = images.iter().cloned().collect();
        let size = opencv::core::Size::new(self.config.size[0] as i32, self.config.size[1] as i32);
        let [first, second, third] = self.config.mean;
        let mean = Scalar::new(first, second, third, 0.0);
        let blob = dnn::blob_from_images(&images, self.config.scale, size, mean, false, false, opencv::core::CV_32F)?;
        let mut net = self.net.lock().unwrap_or_else(PoisonError::into_inner);
        net.set_input_def(&blob)?;
        let mut outputs = Vector::<Mat>::new();
        net.forward(&mut outputs, &self.outputs)?;
        outputs.iter().map(|output| tensor(&output)).collect()
    }
}

fn tensor(output: &Mat) -> Result<Tensor, FindError> {
    let dims = output.mat_size().iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect();
    let values = output.data_typed::<f32>();
    let values = values.map_err(|_| FindError::Model("the model's output is not made of 32-bit floats".into()))?;
    Ok(Tensor { dims, values: values.to_vec() })
}

fn labels_in(text: &str) -> Vec<Arc<str>> {
    text.lines().map(|line| cut(line.trim()).into()).collect()
}

/// The beginning of a label that is too long.
fn cut(label: &str) -> &str {
    &label[..label.floor_char_boundary(MAX_LABEL)]
}

/// The detector of one camera.
pub struct Dnn {
    net: Arc<Net>,
    threshold: f64,
    nms: f64,
    only: Vec<String>,
}

impl Dnn {
    /// The model.
    pub fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// Looks at one picture.
    pub fn find(&mut self, picture: &BoxedRef<'_, Mat>, format: Format) -> Result<Vec<Found>, FindError> {
        let fitted = self.net.fit(picture, format)?;
        let tensors = self.net.look(std::slice::from_ref(&fitted))?;
        self.read(&tensors, 0, &fitted)
    }

    /// What this camera wants of picture `number` of a batch.
    pub fn read(&self, tensors: &[Tensor], number: usize, fitted: &Fitted) -> Result<Vec<Found>, FindError> {
        let config = &self.net.config;
        let mut seen =
            output::read(config.output, tensors, number, config.size, self.threshold).map_err(FindError::Model)?;
        if !self.only.is_empty() {
            seen.retain(|seen| self.only.iter().any(|label| **label == *self.label(seen.class)));
        }
        let found = output::suppress(seen, self.nms).into_iter().map(|seen| Found {
            label: self.label(seen.class),
            score: seen.score.clamp(0.0, 1.0),
            bounds: fitted.in_the_picture(seen.bounds),
        });
        Ok(found.collect())
    }

    /// Never empty.
    fn label(&self, class: usize) -> Arc<str> {
        let known = self.net.labels.get(class).filter(|label| !label.is_empty());
        known.cloned().unwrap_or_else(|| format!("class {class}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lines_and_not_too_long() {
        let long = "é".repeat(40);
        let labels = labels_in(&format!("person\r\n\n traffic light \n{long}"));
        assert_eq!(labels.iter().map(|label| label.len()).collect::<Vec<_>>(), [6, 0, 13, 64]);
    }

    #[test]
    fn cameras_with_other_thresholds_share_a_net() {
        let config = |text: &str| serde_json::from_str::<DnnConfig>(text).unwrap();
        let one = config(r#"{"model":"/m.onnx"}"#);
        assert!(one.is_same_net(&config(r#"{"model":"/m.onnx","threshold":0.9,"nms":0.1,"only":["cat"]}"#)));
        assert!(!one.is_same_net(&config(r#"{"model":"/m.onnx","size":[320,320]}"#)));
        assert!(!one.is_same_net(&config(r#"{"model":"/n.onnx"}"#)));
    }

    #[test]
    fn files_that_are_no_models_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        let config = DnnConfig { model: file.clone(), ..serde_json::from_str(r#"{"model":""}"#).unwrap() };
        let refused = || Shared::default().dnn(&config).err().expect("refused");
        assert!(refused().contains("No such file"), "{}", refused());
        fs::write(&file, b"\x08\x07nonsense").unwrap();
        assert!(refused().contains("dnn module"), "{}", refused());
    }
}

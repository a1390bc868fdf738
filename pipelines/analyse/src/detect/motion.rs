//! Finds what moves in the pictures of one camera that stands still.
//!
//! Regions of a mask are not looked at: trees, a street, a clock in the picture.
//!
//! Each picture is compared with a model of the background (OpenCV's MOG2: a mixture of Gaussians per pixel, which it
//! keeps up to date by itself). What differs, and is not merely a shadow, is cleaned of specks, outlined, and put
//! together into boxes. One [`Motion`] belongs to one camera; it forgets everything when the size of the picture changes.

use std::sync::Arc;

use opencv::boxed_ref::BoxedRef;
use opencv::core::{self, Mat, MatTraitConst, Point, Ptr, Rect, Scalar, Size, Vector};
use opencv::imgproc;
use opencv::prelude::*;
use opencv::video::{self, BackgroundSubtractorMOG2};
use serde::Deserialize;

use super::{FindError, bounds_of, within};
use crate::geometry::Polygon;
use crate::track::Found;

/// What counts as motion.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MotionConfig {
    /// Moving pixels that make an object, as a share of the picture.
    pub min_area: f64,
    /// How little is enough to be motion, 0..1.
    pub sensitivity: f64,
    /// The same as OpenCV has it, and instead of it: squared distance from the background, in its variances, from which
    /// on a pixel is foreground. Lower finds more.
    pub threshold: Option<f64>,
    /// Frames that the model remembers. What stands still for a tenth of them becomes background.
    pub history: u32,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self { min_area: 0.0005, sensitivity: 0.5, threshold: None, history: 200 }
    }
}

impl MotionConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        within("motion: min_area", self.min_area, 0.0, 1.0)?;
        within("motion: sensitivity", self.sensitivity, 0.0, 1.0)?;
        within("motion: history", f64::from(self.history), 1.0, 1e6)?;
        self.threshold.map_or(Ok(()), |threshold| within("motion: threshold", threshold, 1e-3, 1e6))
    }

    /// 64 for the dullest, OpenCV's 16 in the middle, 4 for the most nervous.
    fn threshold(&self) -> f64 {
        self.threshold.unwrap_or_else(|| 64.0 * 16f64.powf(-self.sensitivity))
    }
}

/// A box around something that moves, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blob {
    /// Where it is.
    pub rect: Rect,
    /// Pixels in the box that move.
    pub area: f64,
}

/// More than this share of what is looked at does not move: the light has changed, or the camera.
const EVERYTHING: f64 = 0.7;

/// How fast a model that knows nothing yet, or whose scene has changed, takes over what it sees (0..1 per frame).
const RELEARN: f64 = 0.5;

/// Frames until a new model tells background from foreground.
const WARM_UP_FRAMES: u32 = 3;

/// MOG2 marks shadows with 127 and foreground with 255.
const BRIGHTER_THAN_SHADOW: f64 = 200.0;

/// The motion detector of one camera.
pub struct Motion {
    config: MotionConfig,
    /// Regions in which nothing moves, whatever moves there.
    mask: Vec<Polygon>,
    model: Option<Model>,
    label: Arc<str>,
}

impl Motion {
    /// Has seen nothing yet.
    pub fn new(config: MotionConfig, mask: Vec<Polygon>) -> Self {
        Self { config, mask, model: None, label: "motion".into() }
    }

    /// What moves, the largest first. The score is the share of the box that moves.
    pub fn look(&mut self, picture: &BoxedRef<'_, Mat>) -> Result<Vec<Found>, FindError> {
        let blobs = self.find(picture)?;
        let found = blobs.iter().map(|blob| Found {
            label: self.label.clone(),
            score: (blob.area / f64::from(blob.rect.area().max(1))).clamp(0.0, 1.0),
            bounds: bounds_of(blob.rect, picture),
        });
        Ok(found.collect())
    }

    /// Boxes around what moves, the largest area first. The first pictures teach the model: nothing moves in them.
    pub fn find(&mut self, picture: &BoxedRef<'_, Mat>) -> opencv::Result<Vec<Blob>> {
        let kind = (picture.size()?, picture.typ());
        if self.model.as_ref().is_none_or(|model| model.kind != kind) {
            self.model = Some(Model::new(kind, &self.config, &self.mask)?);
        }
        let model = self.model.as_mut().expect("made above");

        let min_area = self.config.min_area * f64::from(kind.0.area());
        let moving = model.update(picture)?;
        if moving > EVERYTHING * model.looked_at {
            model.warm_up = WARM_UP_FRAMES;
        }
        if model.warm_up > 0 {
            model.warm_up -= 1;
            return Ok(Vec::new());
        }

        // Pieces of one object come in several parts; specks must not become bridges between objects.
        let pieces = model.outline()?.into_iter().filter(|blob| blob.area >= min_area / 8.0).collect();
        let gap = (kind.0.width.min(kind.0.height) / 100).max(2);
        let mut blobs = merge(pieces, gap);
        blobs.retain(|blob| blob.area >= min_area);
        blobs.sort_by(|a, b| b.area.total_cmp(&a.area).then((a.rect.y, a.rect.x).cmp(&(b.rect.y, b.rect.x))));
        Ok(blobs)
    }
}

/// The background as learned so far, and the matrices that are used again for each picture.
struct Model {
    /// Size and OpenCV type of the pictures that it is for.
    kind: (Size, i32),
    background: Ptr<BackgroundSubtractorMOG2>,
    /// How fast it follows changes. Left to itself MOG2 learns so fast in its first hundred frames that whoever stands
    /// still for half a second becomes background.
    rate: f64,
    warm_up: u32,
    /// What `apply` says: background, shadow or foreground.
    classes: Mat,
    /// 255 where something moves.
    mask: Mat,
    speck: Mat,
    hole: Mat,
    /// 255 where motion counts; None: everywhere.
    regions: Option<Mat>,
    /// Pixels in which motion counts.
    looked_at: f64,
}

impl Model {
    fn new(kind: (Size, i32), config: &MotionConfig, mask: &[Polygon]) -> opencv::Result<Self> {
        let history = i32::try_from(config.history).unwrap_or(i32::MAX);
        // Gaps of up to some 3 % of the picture's height are closed, such as between the legs of somebody who walks.
        let hole = (kind.0.width.min(kind.0.height) / 64).max(1) * 2 + 1;
        // Rectangles: OpenCV does them in two passes, some ten times faster than an ellipse of that size.
        let kernel = |side| imgproc::get_structuring_element_def(imgproc::MORPH_RECT, Size::new(side, side));
        let regions = if mask.is_empty() { None } else { Some(regions(kind.0, mask)?) };
        let looked_at = regions.as_ref().map_or(Ok(kind.0.area()), core::count_non_zero)?;
        Ok(Self {
            kind,
            background: video::create_background_subtractor_mog2(history, config.threshold(), true)?,
            rate: 1.0 / f64::from(config.history.max(1)),
            warm_up: WARM_UP_FRAMES,
            classes: Mat::default(),
            mask: Mat::default(),
            speck: kernel(3)?,
            hole: kernel(hole)?,
            regions,
            looked_at: f64::from(looked_at),
        })
    }

    /// Learns the picture, fills the mask, and says how many pixels move.
    fn update(&mut self, picture: &BoxedRef<'_, Mat>) -> opencv::Result<f64> {
        let rate = if self.warm_up > 0 { RELEARN } else { self.rate };
        BackgroundSubtractorTrait::apply(&mut self.background, picture, &mut self.classes, rate)?;
        imgproc::threshold(&self.classes, &mut self.mask, BRIGHTER_THAN_SHADOW, 255.0, imgproc::THRESH_BINARY)?;
        if let Some(regions) = &self.regions {
            core::bitwise_and_def(&self.mask, regions, &mut self.classes)?;
            std::mem::swap(&mut self.mask, &mut self.classes);
        }
        imgproc::morphology_ex_def(&self.mask, &mut self.classes, imgproc::MORPH_OPEN, &self.speck)?;
        imgproc::morphology_ex_def(&self.classes, &mut self.mask, imgproc::MORPH_CLOSE, &self.hole)?;
        Ok(f64::from(core::count_non_zero(&self.mask)?))
    }

    /// The outer contours of the mask as boxes.
    fn outline(&self) -> opencv::Result<Vec<Blob>> {
        let mut contours = Vector::<Vector<Point>>::new();
        imgproc::find_contours(
            &self.mask,
            &mut contours,
            imgproc::RETR_EXTERNAL,
            imgproc::CHAIN_APPROX_SIMPLE,
            Point::new(0, 0),
        )?;
        contours
            .iter()
            .map(|contour| {
                Ok(Blob { rect: imgproc::bounding_rect(&contour)?, area: imgproc::contour_area_def(&contour)? })
            })
            .collect()
    }
}

/// A picture of that size, white but for the polygons.
fn regions(size: Size, mask: &[Polygon]) -> opencv::Result<Mat> {
    let mut regions = Mat::new_size_with_default(size, core::CV_8UC1, Scalar::all(255.0))?;
    let pixel = |[x, y]: &[f64; 2]| {
        Point::new((x * f64::from(size.width)).round() as i32, (y * f64::from(size.height)).round() as i32)
    };
    for polygon in mask {
        let corners: Vector<Point> = polygon.points().iter().map(pixel).collect();
        imgproc::fill_poly_def(&mut regions, &corners, Scalar::all(0.0))?;
    }
    Ok(regions)
}

/// Puts boxes together that overlap or are at most `gap` pixels apart, until none are left to put together.
fn merge(mut blobs: Vec<Blob>, gap: i32) -> Vec<Blob> {
    let mut merged: Vec<Blob> = Vec::with_capacity(blobs.len());
    while let Some(mut blob) = blobs.pop() {
        // A box that has grown may now touch those that were apart from it before.
        while let Some(near) = merged.iter().position(|other| touch(&blob.rect, &other.rect, gap)) {
            let other = merged.swap_remove(near);
            blob = Blob { rect: blob.rect | other.rect, area: blob.area + other.area };
        }
        merged.push(blob);
    }
    merged
}

fn touch(a: &Rect, b: &Rect, gap: i32) -> bool {
    a.x <= b.x + b.width + gap
        && b.x <= a.x + a.width + gap
        && a.y <= b.y + b.height + gap
        && b.y <= a.y + a.height + gap
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 320, height: 180 };

    /// A background with structure, and a bright square on it.
    fn picture(size: Size, square: Option<Rect>) -> Mat {
        let mut picture = Mat::new_size_with_default(size, core::CV_8UC3, Scalar::new(60.0, 90.0, 70.0, 0.0)).unwrap();
        let wall = Rect::new(size.width / 2, 0, size.width / 4, size.height);
        imgproc::rectangle_def(&mut picture, wall, Scalar::new(120.0, 110.0, 100.0, 0.0)).unwrap();
        if let Some(square) = square {
            let (colour, filled) = (Scalar::new(230.0, 40.0, 200.0, 0.0), imgproc::FILLED);
            imgproc::rectangle(&mut picture, square, colour, filled, imgproc::LINE_8, 0).unwrap();
        }
        picture
    }

    fn find(motion: &mut Motion, square: Option<Rect>) -> Vec<Blob> {
        motion.find(&BoxedRef::from(picture(SIZE, square))).unwrap()
    }

    fn taught() -> Motion {
        taught_with(Vec::new())
    }

    fn taught_with(mask: Vec<Polygon>) -> Motion {
        let config = MotionConfig { min_area: 0.001, ..Default::default() };
        let mut motion = Motion::new(config, mask);
        for _ in 0..10 {
            assert_eq!(find(&mut motion, None), []);
        }
        motion
    }

    fn edges(rect: Rect) -> [i32; 4] {
        [rect.x, rect.y, rect.x + rect.width, rect.y + rect.height]
    }

    #[test]
    fn box_follows_a_moving_square() {
        let mut motion = taught();
        for step in 0..20 {
            let square = Rect::new(20 + step * 10, 30 + step * 4, 40, 40);
            let found = find(&mut motion, Some(square));
            assert_eq!(found.len(), 1, "step {step}: {found:?}");
            for (is, wanted) in edges(found[0].rect).into_iter().zip(edges(square)) {
                assert!((is - wanted).abs() <= 4, "step {step}: {:?} for {square:?}", found[0].rect);
            }
            let share = found[0].area / f64::from(found[0].rect.area());
            assert!((0.8..=1.0).contains(&share), "{share}");
        }
    }

    #[test]
    fn nothing_moves_in_a_still_picture() {
        taught();
    }

    #[test]
    fn masked_regions_are_not_looked_at() {
        let left = vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]];
        let mut motion = taught_with(vec![Polygon::try_from(left).unwrap()]);
        assert_eq!(find(&mut motion, Some(Rect::new(60, 60, 40, 40))), []);
        let found = find(&mut motion, Some(Rect::new(140, 60, 40, 40)));
        assert_eq!(found.len(), 1);
        assert!((158..=164).contains(&found[0].rect.x), "the part behind the line: {found:?}");
    }

    #[test]
    fn sensitivity_is_a_threshold_by_another_name() {
        let threshold = |sensitivity| MotionConfig { sensitivity, ..Default::default() }.threshold();
        assert_eq!((threshold(0.0), threshold(0.5), threshold(1.0)), (64.0, 16.0, 4.0));
        assert_eq!(MotionConfig { threshold: Some(9.0), ..Default::default() }.threshold(), 9.0);
    }

    #[test]
    fn small_things_are_passed_over() {
        let mut motion = taught();
        // 0.1 % of the picture are 57 pixels.
        assert_eq!(find(&mut motion, Some(Rect::new(100, 100, 6, 6))), []);
        assert_eq!(find(&mut motion, Some(Rect::new(100, 100, 12, 12))).len(), 1);
    }

    #[test]
    fn shadow_is_no_motion() {
        let mut motion = taught();
        let shaded = |factor: f64| {
            let mut shaded = picture(SIZE, None);
            let area = Rect::new(10, 40, 60, 60);
            let mut dark = Mat::default();
            Mat::roi(&shaded, area).unwrap().convert_to(&mut dark, -1, factor, 0.0).unwrap();
            dark.copy_to(&mut Mat::roi_mut(&mut shaded, area).unwrap()).unwrap();
            BoxedRef::from(shaded)
        };
        assert_eq!(motion.find(&shaded(0.7)).unwrap(), []);
        assert_eq!(motion.find(&shaded(0.2)).unwrap().len(), 1, "too dark for a shadow");
    }

    #[test]
    fn change_of_light_is_no_motion_and_is_learned() {
        let most = vec![[0.0, 0.0], [0.8, 0.0], [0.8, 1.0], [0.0, 1.0]];
        light_changes(taught());
        light_changes(taught_with(vec![Polygon::try_from(most).unwrap()]));
    }

    fn light_changes(mut motion: Motion) {
        let bright = || {
            let mut bright = Mat::default();
            picture(SIZE, None).convert_to(&mut bright, -1, 1.0, 90.0).unwrap();
            BoxedRef::from(bright)
        };
        for _ in 0..5 {
            assert_eq!(motion.find(&bright()).unwrap(), []);
        }
    }

    #[test]
    fn another_size_starts_anew() {
        let mut motion = taught();
        let small = Size::new(160, 90);
        let square = Rect::new(40, 40, 20, 20);
        for _ in 0..5 {
            assert_eq!(motion.find(&BoxedRef::from(picture(small, None))).unwrap(), []);
        }
        assert_eq!(motion.find(&BoxedRef::from(picture(small, Some(square)))).unwrap().len(), 1);
    }

    #[test]
    fn boxes_merge_until_none_touch() {
        let blob = |x, width| Blob { rect: Rect::new(x, 0, width, 10), area: 10.0 };
        // The one in the middle joins both ends; the last stays apart.
        let mut merged = merge(vec![blob(0, 10), blob(24, 10), blob(12, 10), blob(60, 10)], 2);
        merged.sort_by_key(|blob| blob.rect.x);
        assert_eq!(merged, [Blob { rect: Rect::new(0, 0, 34, 10), area: 30.0 }, blob(60, 10)]);
    }
}

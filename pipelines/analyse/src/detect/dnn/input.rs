//! Makes a picture of any size and order of colours fit the input of a model.

use opencv::boxed_ref::BoxedRef;
use opencv::core::{self, Mat, MatTraitConst, Rect, Scalar, Size};
use opencv::imgproc;
use serde::Deserialize;

use crate::caps::Format;
use crate::geometry::Bounds;

/// Order of the colours that a model wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colours {
    /// As most models that were trained in PyTorch.
    #[default]
    Rgb,
    /// As models that were trained with OpenCV or Caffe.
    Bgr,
}

/// How a picture of another shape is made to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// It keeps its shape, with grey beside it or above and below.
    #[default]
    Letterbox,
    /// Width and height are scaled on their own.
    Stretch,
}

/// The grey that models are trained with around letterboxed pictures.
const GREY: f64 = 114.0;

/// A picture of the model's size, and where in it the camera's picture is.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Three channels.
    pub image: Mat,
    /// In shares of the model's input.
    place: Bounds,
}

impl Fitted {
    /// From shares of the model's input to shares of the camera's picture.
    pub fn in_the_picture(&self, seen: Bounds) -> Bounds {
        let Bounds { x1: left, y1: top, x2: right, y2: bottom } = self.place;
        let (x, y) = (|x: f64| (x - left) / (right - left), |y: f64| (y - top) / (bottom - top));
        Bounds::clamped(x(seen.x1), y(seen.y1), x(seen.x2), y(seen.y2))
    }
}

/// Scales `picture` to `size`.
pub(super) fn fit(
    picture: &BoxedRef<'_, Mat>,
    format: Format,
    [width, height]: [u32; 2],
    fit: Fit,
    colours: Colours,
) -> opencv::Result<Fitted> {
    let size = Size::new(width as i32, height as i32);
    let inner = match fit {
        Fit::Stretch => Rect::new(0, 0, size.width, size.height),
        Fit::Letterbox => letterbox(Size::new(picture.cols(), picture.rows()), size),
    };
    let mut scaled = Mat::default();
    imgproc::resize(picture, &mut scaled, inner.size(), 0.0, 0.0, imgproc::INTER_LINEAR)?;
    let scaled = in_order(scaled, format, colours)?;
    let image = if inner.size() == size {
        scaled
    } else {
        let mut image = Mat::default();
        let (bottom, right) = (size.height - inner.y - inner.height, size.width - inner.x - inner.width);
        let grey = Scalar::all(GREY);
        core::copy_make_border(&scaled, &mut image, inner.y, bottom, inner.x, right, core::BORDER_CONSTANT, grey)?;
        image
    };
    let share = |edge: i32, of: i32| f64::from(edge) / f64::from(of);
    let place = Bounds {
        x1: share(inner.x, size.width),
        y1: share(inner.y, size.height),
        x2: share(inner.x + inner.width, size.width),
        y2: share(inner.y + inner.height, size.height),
    };
    Ok(Fitted { image, place })
}

/// The largest box of the picture's shape, in the middle.
fn letterbox(picture: Size, size: Size) -> Rect {
    let across = f64::from(size.width) / f64::from(picture.width.max(1));
    let down = f64::from(size.height) / f64::from(picture.height.max(1));
    let scale = across.min(down);
    let side = |pixels: i32, most: i32| ((f64::from(pixels) * scale).round() as i32).clamp(1, most);
    let (width, height) = (side(picture.width, size.width), side(picture.height, size.height));
    Rect::new((size.width - width) / 2, (size.height - height) / 2, width, height)
}

fn in_order(image: Mat, format: Format, colours: Colours) -> opencv::Result<Mat> {
    let conversion = match (format, colours) {
        (Format::Rgb, Colours::Rgb) | (Format::Bgr, Colours::Bgr) => return Ok(image),
        (Format::Rgb, Colours::Bgr) | (Format::Bgr, Colours::Rgb) => imgproc::COLOR_RGB2BGR,
        (Format::Gray8, _) => imgproc::COLOR_GRAY2RGB,
    };
    let mut converted = Mat::default();
    imgproc::cvt_color_def(&image, &mut converted, conversion)?;
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use opencv::core::Vec3b;

    use super::*;

    /// 40x20, red.
    fn red() -> Mat {
        Mat::new_rows_cols_with_default(20, 40, core::CV_8UC3, Scalar::new(200.0, 10.0, 20.0, 0.0)).unwrap()
    }

    fn pixel(image: &Mat, x: i32, y: i32) -> [u8; 3] {
        **image.at_2d::<Vec3b>(y, x).unwrap()
    }

    #[test]
    fn letterboxed_pictures_keep_their_shape() {
        let view = BoxedRef::from(red());
        let fitted = fit(&view, Format::Rgb, [20, 20], Fit::Letterbox, Colours::Rgb).unwrap();
        assert_eq!((fitted.image.cols(), fitted.image.rows()), (20, 20));
        assert_eq!(pixel(&fitted.image, 10, 2), [114; 3]);
        assert_eq!(pixel(&fitted.image, 10, 10), [200, 10, 20]);
        assert_eq!(pixel(&fitted.image, 10, 17), [114; 3]);
        // A quarter of the input's height lies above the picture.
        let bounds = fitted.in_the_picture(Bounds { x1: 0.5, y1: 0.25, x2: 1.0, y2: 0.5 });
        assert_eq!(bounds, Bounds { x1: 0.5, y1: 0.0, x2: 1.0, y2: 0.5 });
        let beside = fitted.in_the_picture(Bounds { x1: -0.5, y1: 0.0, x2: 0.5, y2: 2.0 });
        assert_eq!(beside, Bounds { x1: 0.0, y1: 0.0, x2: 0.5, y2: 1.0 });
    }

    #[test]
    fn stretched_pictures_fill_the_input() {
        let view = BoxedRef::from(red());
        let fitted = fit(&view, Format::Rgb, [16, 16], Fit::Stretch, Colours::Bgr).unwrap();
        assert_eq!((fitted.image.cols(), fitted.image.rows()), (16, 16));
        assert_eq!(pixel(&fitted.image, 0, 0), [20, 10, 200], "in the model's order");
        let same = Bounds { x1: 0.1, y1: 0.2, x2: 0.3, y2: 0.4 };
        assert_eq!(fitted.in_the_picture(same), same);
    }

    #[test]
    fn grey_pictures_become_coloured_ones() {
        let grey = Mat::new_rows_cols_with_default(8, 8, core::CV_8UC1, Scalar::all(77.0)).unwrap();
        let fitted = fit(&BoxedRef::from(grey), Format::Gray8, [4, 4], Fit::Stretch, Colours::Rgb).unwrap();
        assert_eq!(pixel(&fitted.image, 1, 1), [77; 3]);
    }
}

//! A picture that can be painted on: a handful of smooth shapes, enough for the demo's scenes.
//!
//! A shape is a signed distance: negative inside, positive outside, in pixels. Half a pixel around zero is the soft
//! edge.

use super::font;

/// Red, green, blue.
#[derive(Clone, Copy, Debug)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// On the way from `self` (0.0) to `other` (1.0).
    pub fn towards(self, other: Colour, part: f32) -> Colour {
        let mix = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * part.clamp(0.0, 1.0)) as u8;
        Colour(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }

    /// Without its colour, as a camera sees by infrared light.
    pub fn grey(self) -> Colour {
        let Colour(r, g, b) = self;
        let luma = ((u32::from(r) * 3 + u32::from(g) * 6 + u32::from(b)) / 10) as u8;
        Colour(luma, luma, luma)
    }
}

/// Pixels of four bytes, `BGRx`, row by row.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0; width * height * 4] }
    }

    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Becomes the same picture as another of the same size.
    pub fn copy_from(&mut self, other: &Canvas) {
        self.pixels.copy_from_slice(&other.pixels);
    }

    /// A rectangle whose colour goes from `above` to `below`.
    pub fn gradient(&mut self, (x0, y0, x1, y1): (f32, f32, f32, f32), above: Colour, below: Colour) {
        let height = (y1 - y0).max(1.0);
        let shade = |_: f32, y: f32| (above.towards(below, (y - y0) / height), 1.0);
        self.paint((x0, y0, x1, y1), shade);
    }

    /// A rectangle with round corners.
    pub fn block(&mut self, (x0, y0, x1, y1): (f32, f32, f32, f32), corner: f32, colour: Colour) {
        let (cx, cy, half_w, half_h) = ((x0 + x1) / 2.0, (y0 + y1) / 2.0, (x1 - x0) / 2.0, (y1 - y0) / 2.0);
        self.shape((x0, y0, x1, y1), colour, 1.0, |x, y| {
            let (dx, dy) = ((x - cx).abs() - half_w + corner, (y - cy).abs() - half_h + corner);
            dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - corner
        });
    }

    pub fn disc(&mut self, cx: f32, cy: f32, radius: f32, colour: Colour) {
        self.shape((cx - radius, cy - radius, cx + radius, cy + radius), colour, 1.0, |x, y| {
            (x - cx).hypot(y - cy) - radius
        });
    }

    /// A line with round ends.
    pub fn line(&mut self, (x0, y0): (f32, f32), (x1, y1): (f32, f32), width: f32, colour: Colour) {
        let radius = width / 2.0;
        let bounds = (x0.min(x1) - radius, y0.min(y1) - radius, x0.max(x1) + radius, y0.max(y1) + radius);
        let (dx, dy) = (x1 - x0, y1 - y0);
        let length2 = (dx * dx + dy * dy).max(f32::EPSILON);
        self.shape(bounds, colour, 1.0, |x, y| {
            let along = (((x - x0) * dx + (y - y0) * dy) / length2).clamp(0.0, 1.0);
            (x - x0 - along * dx).hypot(y - y0 - along * dy) - radius
        });
    }

    /// Everything below a curve, down to `bottom`: hills, roofs.
    pub fn below(&mut self, (x0, x1): (f32, f32), bottom: f32, colour: Colour, curve: impl Fn(f32) -> f32) {
        self.shape((x0, 0.0, x1, bottom), colour, 1.0, |x, y| curve(x) - y);
    }

    /// Light that fades with the distance from its middle.
    pub fn glow(&mut self, cx: f32, cy: f32, (rx, ry): (f32, f32), colour: Colour, strength: f32) {
        self.paint((cx - rx, cy - ry, cx + rx, cy + ry), |x, y| {
            let away = ((x - cx) / rx).hypot((y - cy) / ry);
            (colour, strength * (1.0 - away).clamp(0.0, 1.0).powi(2))
        });
    }

    /// Darkens the ground under something.
    pub fn shadow(&mut self, cx: f32, cy: f32, (rx, ry): (f32, f32), strength: f32) {
        self.glow(cx, cy, (rx, ry), Colour(0, 0, 0), strength);
    }

    /// White letters on a dark ground, from the given corner to the right.
    pub fn text(&mut self, left: usize, top: usize, dot: usize, text: &str) {
        let advance = (font::WIDTH + 1) * dot;
        let (width, height) = (text.chars().count() * advance + 3 * dot, 11 * dot);
        let ground = (left as f32, top as f32, (left + width) as f32, (top + height) as f32);
        self.paint(ground, |_, _| (Colour(0, 0, 0), 0.45));
        for (place, letter) in text.chars().enumerate() {
            for (row, bits) in font::glyph(letter).into_iter().enumerate() {
                for column in (0..font::WIDTH).filter(|column| bits >> (font::WIDTH - 1 - column) & 1 == 1) {
                    let x = (left + (place * (font::WIDTH + 1) + column + 2) * dot) as f32;
                    let y = (top + (row + 2) * dot) as f32;
                    self.paint((x, y, x + dot as f32, y + dot as f32), |_, _| (Colour(240, 244, 248), 1.0));
                }
            }
        }
    }

    fn shape(
        &mut self,
        (x0, y0, x1, y1): (f32, f32, f32, f32),
        colour: Colour,
        opacity: f32,
        distance: impl Fn(f32, f32) -> f32,
    ) {
        self.paint((x0 - 1.0, y0 - 1.0, x1 + 1.0, y1 + 1.0), |x, y| {
            (colour, opacity * (0.5 - distance(x, y)).clamp(0.0, 1.0))
        });
    }

    /// Blends a colour and an opacity into every pixel within bounds, as far as they are on the canvas.
    fn paint(&mut self, (x0, y0, x1, y1): (f32, f32, f32, f32), shade: impl Fn(f32, f32) -> (Colour, f32)) {
        // Casts from float to integer saturate: what is left of the canvas becomes 0.
        let columns = (x0.floor() as usize).min(self.width)..(x1.ceil() as usize).min(self.width);
        for y in y0.floor() as usize..(y1.ceil() as usize).min(self.height) {
            for x in columns.clone() {
                let (Colour(r, g, b), opacity) = shade(x as f32 + 0.5, y as f32 + 0.5);
                let part = (opacity * 256.0) as u32;
                if part == 0 {
                    continue;
                }
                let at = (y * self.width + x) * 4;
                for (byte, new) in self.pixels[at..at + 3].iter_mut().zip([b, g, r]) {
                    *byte = ((u32::from(*byte) * (256 - part) + u32::from(new) * part) / 256) as u8;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Colour = Colour(255, 255, 255);

    fn luma(canvas: &Canvas, x: usize, y: usize) -> u8 {
        canvas.pixels()[(y * canvas.width + x) * 4]
    }

    #[test]
    fn shapes_are_filled_inside_and_nowhere_else() {
        let mut canvas = Canvas::new(40, 40);
        canvas.disc(20.0, 20.0, 8.0, WHITE);
        assert_eq!((luma(&canvas, 20, 20), luma(&canvas, 20, 30), luma(&canvas, 27, 27)), (255, 0, 0));
        canvas.block((0.0, 0.0, 6.0, 6.0), 0.0, WHITE);
        assert_eq!((luma(&canvas, 0, 0), luma(&canvas, 5, 5), luma(&canvas, 7, 7)), (255, 255, 0));
    }

    #[test]
    fn what_lies_beside_the_canvas_is_cut_off() {
        let mut canvas = Canvas::new(16, 16);
        canvas.disc(-100.0, -100.0, 10.0, WHITE);
        canvas.line((-50.0, 8.0), (500.0, 8.0), 2.0, WHITE);
        canvas.text(10, 10, 4, "X:9");
        assert_eq!((luma(&canvas, 0, 8), luma(&canvas, 15, 8), luma(&canvas, 0, 0)), (255, 255, 0));
    }
}

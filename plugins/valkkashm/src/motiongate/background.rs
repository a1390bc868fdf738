//! How bright the cells of a picture are, and how bright they usually are. No GStreamer in it.

/// Cells across and down, if the picture has as many pixels.
const ACROSS: usize = 32;
const DOWN: usize = 18;

/// Pixels across and down that are looked at in each cell, at most.
const SAMPLES: usize = 8;

/// How much a frame counts for the background. What stays where it is belongs to it after some forty frames.
const RATE: f32 = 0.05;

/// Where the brightness of a picture's pixels lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct Brightness<'a> {
    /// From the first pixel on.
    pub bytes: &'a [u8],
    pub width: usize,
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Bytes from one pixel to the next.
    pub pixel: usize,
}

impl Brightness<'_> {
    /// The mean of each cell, row by row.
    fn cells(&self) -> Vec<f32> {
        let (across, down) = (self.width.min(ACROSS), self.height.min(DOWN));
        let mut cells = Vec::with_capacity(across * down);
        for row in 0..down {
            for column in 0..across {
                let (left, right) = (column * self.width / across, (column + 1) * self.width / across);
                let (top, bottom) = (row * self.height / down, (row + 1) * self.height / down);
                cells.push(self.mean([left, top, right, bottom]));
            }
        }
        cells
    }

    fn mean(&self, [left, top, right, bottom]: [usize; 4]) -> f32 {
        let step = |length: usize| length.div_ceil(SAMPLES).max(1);
        let (mut sum, mut count) = (0_u32, 0_u32);
        for y in (top..bottom).step_by(step(bottom - top)) {
            for x in (left..right).step_by(step(right - left)) {
                // A buffer that is smaller than its caps say is dark where it ends.
                sum += u32::from(self.bytes.get(y * self.stride + x * self.pixel).copied().unwrap_or(0));
                count += 1;
            }
        }
        sum as f32 / count.max(1) as f32
    }
}

/// What a scene looks like when nothing moves.
#[derive(Debug, Default)]
pub struct Background(Vec<f32>);

impl Background {
    /// Learns a picture. The share of its cells that differ from the background by more than `threshold` levels; all of them if there is no
    /// background yet.
    pub fn differs(&mut self, picture: Brightness<'_>, threshold: f32) -> f64 {
        let cells = picture.cells();
        if cells.is_empty() || cells.len() != self.0.len() {
            self.0 = cells;
            return 1.0;
        }
        let differences: Vec<f32> = cells.iter().zip(&self.0).map(|(now, usual)| now - usual).collect();
        // What most cells have in common is the light.
        let light = median(&differences);
        let changed = differences.iter().filter(|difference| (*difference - light).abs() > threshold).count();
        for (usual, now) in self.0.iter_mut().zip(&cells) {
            *usual += RATE * (now - *usual);
        }
        changed as f64 / cells.len() as f64
    }
}

fn median(numbers: &[f32]) -> f32 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 320;
    const HEIGHT: usize = 180;

    /// RGB with a gradient, a square on it, and so much light.
    fn picture(square: Option<usize>, light: u8) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..WIDTH * HEIGHT).flat_map(|n| [(n % WIDTH / 2) as u8 + light; 3]).collect();
        if let Some(left) = square {
            for y in 60..100 {
                bytes[(y * WIDTH + left) * 3..][..40 * 3].fill(230);
            }
        }
        bytes
    }

    fn differs(background: &mut Background, bytes: &[u8]) -> f64 {
        background.differs(Brightness { bytes, width: WIDTH, height: HEIGHT, stride: WIDTH * 3, pixel: 3 }, 12.0)
    }

    #[test]
    fn what_comes_goes_and_stays_is_told_from_what_is_always_there() {
        let mut background = Background::default();
        assert_eq!(differs(&mut background, &picture(None, 0)), 1.0, "nothing is known yet");
        assert_eq!(differs(&mut background, &picture(None, 0)), 0.0);
        // 40x40 of 320x180 pixels are 2.8 %.
        let share = differs(&mut background, &picture(Some(100), 0));
        assert!((0.02..0.05).contains(&share), "{share}");
        let stays: Vec<f64> = (0..100).map(|_| differs(&mut background, &picture(Some(100), 0))).collect();
        assert!(stays[10] > 0.0 && stays[99] == 0.0, "{stays:?}");
        assert!(differs(&mut background, &picture(None, 0)) > 0.0, "it has gone");
    }

    #[test]
    fn light_is_no_motion_but_what_moves_in_another_light_is() {
        let mut background = Background::default();
        differs(&mut background, &picture(None, 0));
        assert_eq!(differs(&mut background, &picture(None, 60)), 0.0);
        assert!(differs(&mut background, &picture(Some(20), 60)) > 0.0);
    }

    #[test]
    fn pictures_of_any_size_have_cells() {
        for (width, height) in [(1, 1), (3, 2), (33, 19), (4000, 1)] {
            let bytes = vec![9; width * height];
            let picture = Brightness { bytes: &bytes, width, height, stride: width, pixel: 1 };
            let mut background = Background::default();
            assert_eq!(background.differs(picture, 1.0), 1.0);
            assert_eq!(background.differs(picture, 1.0), 0.0, "{width}x{height}");
        }
        let short = Brightness { bytes: &[9; 10], width: 100, height: 100, stride: 100, pixel: 1 };
        Background::default().differs(short, 1.0);
        let nothing = Brightness { bytes: &[], width: 0, height: 0, stride: 0, pixel: 1 };
        assert_eq!(Background::default().differs(nothing, 1.0), 1.0);
    }
}

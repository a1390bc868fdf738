//! A number in a picture, as blocks of black and white that survive any encoder: painted here, read from a canvas there.
//!
//! ```text
//!   8 blocks of 16x16 pixels in each of 4 rows, the most significant bit first; white is 1
//!   ┌────────────────┐
//!   │ number >> 16   │   modulo 2^24
//!   │ number >> 8    │
//!   │ number         │
//!   │ check          │   the three exclusive-or'd, and 0xA5
//!   └────────────────┘
//! ```

/// Pixels of a block's side.
const BLOCK: usize = 16;

/// Into the first plane of I420, whose rows are `stride` bytes long.
pub fn paint(luma: &mut [u8], stride: usize, number: u64) {
    let [.., high, middle, low] = number.to_be_bytes();
    for (row, byte) in [high, middle, low, high ^ middle ^ low ^ 0xA5].into_iter().enumerate() {
        for bit in 0..8 {
            let value = if byte & (0x80 >> bit) == 0 { 16 } else { 235 };
            for y in row * BLOCK..(row + 1) * BLOCK {
                let start = y * stride + bit * BLOCK;
                luma[start..start + BLOCK].fill(value);
            }
        }
    }
}

/// JavaScript: `readNumber(picture, width, height)` gives the number of what is drawn in that size, or null.
pub const READ_NUMBER: &str = "
    const eyes = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    window.readNumber = (picture, width, height) => {
      [eyes.canvas.width, eyes.canvas.height] = [width, height];
      eyes.drawImage(picture, 0, 0, width, height);
      const { data } = eyes.getImageData(0, 0, 128, 64);
      const byte = (row) => {
        let value = 0;
        for (let bit = 0; bit < 8; bit++) value = value * 2 + (data[((row * 16 + 8) * 128 + bit * 16 + 8) * 4] > 128);
        return value;
      };
      const [high, middle, low, check] = [0, 1, 2, 3].map(byte);
      return (high ^ middle ^ low ^ 0xa5) === check ? high * 65536 + middle * 256 + low : null;
    };";

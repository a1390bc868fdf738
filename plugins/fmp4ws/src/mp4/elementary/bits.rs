//! Bit by bit: what parameter sets and sequence headers are written in.

/// A reader that says `None` past the end.
#[derive(Debug, Clone)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits already read.
    at: usize,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// The next `count` bits, at most 32.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value: u32, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|&at| at <= self.bytes.len() * 8)?;
        Some(())
    }

    /// Unsigned Exp-Golomb (ITU-T H.264, 9.1).
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1 << zeros) - 1) + self.take(zeros)?)
    }

    /// Signed Exp-Golomb (9.1.1).
    pub fn se(&mut self) -> Option<i32> {
        let code = i64::from(self.ue()?);
        let value = if code % 2 == 0 { -(code / 2) } else { code / 2 + 1 };
        i32::try_from(value).ok()
    }
}

/// The payload of a NAL unit: without the bytes that keep start codes out of it (7.4.1, the same in H.265).
pub fn unescaped(nal: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        payload.push(byte);
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_is_read_as_the_standard_tables_it() {
        // 1 010 011 00100 00101 | then 1: ue 0 1 2 3 4 0
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1100_0000]);
        let values: Vec<_> = std::iter::from_fn(|| bits.ue()).take(6).collect();
        assert_eq!(values, [0, 1, 2, 3, 4, 0]);
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1100_0000]);
        let values: Vec<_> = std::iter::from_fn(|| bits.se()).take(5).collect();
        assert_eq!(values, [0, 1, -1, 2, -2]);
    }

    #[test]
    fn the_end_is_not_passed() {
        let mut bits = Bits::new(&[0, 0, 0, 0, 0, 0]);
        assert_eq!(bits.clone().ue(), None);
        assert_eq!(bits.clone().take(32), Some(0));
        assert_eq!(bits.skip(49), None);
        assert_eq!(bits.skip(48), Some(()));
        assert_eq!(bits.flag(), None);
    }

    #[test]
    fn escapes_are_taken_out() {
        assert_eq!(unescaped(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
    }
}

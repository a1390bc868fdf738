//! Access units cut into NAL units: by start codes (ITU-T H.264, annex B) or by lengths (ISO/IEC 14496-15).

use super::Error;
use super::bits::{Bits, unescaped};

/// How NAL units are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `byte-stream`: 00 00 01 before each.
    StartCodes,
    /// `avc`, `hvc1` and the like: a length of so many bytes (1, 2 or 4) before each.
    Lengths(usize),
}

/// The NAL units of an access unit, none of them empty.
pub fn units(data: &[u8], framing: Framing) -> Units<'_> {
    match framing {
        Framing::StartCodes => {
            let begin = start_code(data, 0).map_or(data.len(), |code| code + 3);
            Units { rest: &data[begin..], framing }
        }
        Framing::Lengths(_) => Units { rest: data, framing },
    }
}

/// See [`units`].
pub struct Units<'a> {
    rest: &'a [u8],
    framing: Framing,
}

impl<'a> Iterator for Units<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let unit = match self.framing {
                Framing::StartCodes => Ok(self.by_start_code()),
                Framing::Lengths(size) => self.by_length(size),
            };
            if !unit.as_ref().is_ok_and(|unit| unit.is_empty()) {
                return Some(unit);
            }
        }
        None
    }
}

impl<'a> Units<'a> {
    fn by_start_code(&mut self) -> &'a [u8] {
        let (unit, rest) = match start_code(self.rest, 0) {
            Some(code) => (&self.rest[..code], &self.rest[code + 3..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        // A unit never ends with a zero byte: those belong to the next start code, or to the padding behind the last one.
        let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        &unit[..end]
    }

    fn by_length(&mut self, size: usize) -> Result<&'a [u8], Error> {
        let split = self.rest.split_at_checked(size).and_then(|(length, rest)| {
            let length = length.iter().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
            rest.split_at_checked(length)
        });
        let Some((unit, rest)) = split else {
            self.rest = &[];
            return Err(Error::CutShort);
        };
        self.rest = rest;
        Ok(unit)
    }
}

/// Where the next 00 00 01 is.
fn start_code(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    // Of three bytes the last one says how far the next candidate is.
    while let Some(&[first, second, third]) = data.get(at..at + 3) {
        match third {
            0 => at += 1,
            1 if first == 0 && second == 0 => return Some(at),
            _ => at += 3,
        }
    }
    None
}

/// Appends a NAL unit with a length of four bytes.
pub fn put(out: &mut Vec<u8>, unit: &[u8]) -> Result<(), Error> {
    let length = u32::try_from(unit.len()).map_err(|_| Error::CutShort)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(unit);
    Ok(())
}

/// Takes picture parameter sets in, each in the place of the one with its number: streams may have several, and send them
/// one by one. The number comes first, behind a header of so many bytes.
pub fn take_in(known: &mut Vec<Vec<u8>>, new: Vec<Vec<u8>>, header: usize) {
    let number = |set: &[u8]| set.get(header..).and_then(|set| Bits::new(&unescaped(set)).ue());
    for set in new {
        match known.iter_mut().find(|old| number(old) == number(&set)) {
            Some(old) => *old = set,
            None => known.push(set),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_set_takes_the_place_of_the_one_with_its_number() {
        // Numbers 0, 1 and 0 again.
        let (first, second, again) = (vec![0x68, 0b1000_0000], vec![0x68, 0b0100_0000], vec![0x68, 0b1100_0000]);
        let mut known = vec![first];
        take_in(&mut known, vec![second.clone()], 1);
        take_in(&mut known, vec![again.clone()], 1);
        assert_eq!(known, [again, second]);
    }

    fn all(data: &[u8], framing: Framing) -> Result<Vec<Vec<u8>>, Error> {
        units(data, framing).map(|unit| unit.map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn start_codes_of_both_lengths_and_padding_are_taken_off() {
        let data = [0, 0, 0, 1, 9, 16, 0, 0, 1, 0x65, 0, 2, 0, 0, 0, 0, 1, 0x41, 7, 0, 0];
        assert_eq!(all(&data, Framing::StartCodes), Ok(vec![vec![9, 16], vec![0x65, 0, 2], vec![0x41, 7]]));
        assert_eq!(all(&[1, 2, 3], Framing::StartCodes), Ok(vec![]));
    }

    #[test]
    fn lengths_of_every_size_are_read_and_checked() {
        assert_eq!(all(&[0, 0, 0, 2, 1, 2, 0, 0, 0, 0], Framing::Lengths(4)), Ok(vec![vec![1, 2]]));
        assert_eq!(all(&[0, 2, 1, 2, 0, 1, 3], Framing::Lengths(2)), Ok(vec![vec![1, 2], vec![3]]));
        assert_eq!(all(&[0, 0, 0, 9, 1], Framing::Lengths(4)), Err(Error::CutShort));
        assert_eq!(all(&[0, 0], Framing::Lengths(4)), Err(Error::CutShort));
    }

    proptest! {
        #[test]
        fn what_was_framed_is_found_again(units in prop::collection::vec(prop::collection::vec(2u8.., 1..40), 0..6)) {
            let codes: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 1][..], unit].concat()).collect();
            prop_assert_eq!(all(&codes, Framing::StartCodes), Ok(units.clone()));
            let mut lengths = Vec::new();
            units.iter().for_each(|unit| put(&mut lengths, unit).expect("small"));
            prop_assert_eq!(all(&lengths, Framing::Lengths(4)), Ok(units));
        }

        #[test]
        fn noise_never_panics(data in prop::collection::vec(0u8..4, 0..200), size in 1usize..5) {
            let _ = all(&data, Framing::StartCodes);
            let _ = all(&data, Framing::Lengths(size));
        }
    }
}

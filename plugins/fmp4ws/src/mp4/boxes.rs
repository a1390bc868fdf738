//! The frame of every box: size, name, body. Reads what is there and trusts no length.

use super::{Error, FourCc};

/// The first bytes of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: [u8; 4],
    /// Bytes of the header itself: 8, or 16 with a 64-bit size.
    pub len: usize,
    /// The whole box with its header; `None` when it goes on to the end of the file.
    pub size: Option<u64>,
}

impl Header {
    /// Reads a header from the start of `bytes`; `Ok(None)` when more bytes are needed. `position` is for the error only.
    pub fn read(bytes: &[u8], position: u64) -> Result<Option<Self>, Error> {
        let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let Some((kind, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let kind = *kind;
        let garbage = |size| Error::Garbage { position, kind: FourCc(kind), size };
        // Names are printable ('©too' is the one known exception, deep inside udta). Anything else is not MP4.
        if !kind.iter().all(|byte| matches!(byte, 0x20..=0x7e | 0xa9)) {
            return Err(garbage(u64::from(u32::from_be_bytes(*size))));
        }
        match u32::from_be_bytes(*size) {
            0 => Ok(Some(Self { kind, len: 8, size: None })),
            1 => {
                let Some((size, _)) = rest.split_first_chunk::<8>() else { return Ok(None) };
                let size = u64::from_be_bytes(*size);
                if size < 16 { Err(garbage(size)) } else { Ok(Some(Self { kind, len: 16, size: Some(size) })) }
            }
            size if size < 8 => Err(garbage(size.into())),
            size => Ok(Some(Self { kind, len: 8, size: Some(size.into()) })),
        }
    }
}

/// A box inside another one.
#[derive(Debug, Clone, Copy)]
pub struct Child<'a> {
    pub kind: [u8; 4],
    /// Where it starts in the slice that was given to [`children`].
    pub start: usize,
    /// Bytes of its header.
    pub header_len: usize,
    pub body: &'a [u8],
}

impl Child<'_> {
    /// Where its body starts in the slice that was given to [`children`].
    pub fn body_start(&self) -> usize {
        self.start + self.header_len
    }
}

/// The boxes in `bytes`, one after the other. Ends quietly at the first one that does not fit: padding and broken
/// leftovers at the end of a container must not cost the children before them.
pub fn children(bytes: &[u8]) -> impl Iterator<Item = Child<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..)?;
        let header = Header::read(rest, at as u64).ok()??;
        let size = match header.size {
            Some(size) => usize::try_from(size).ok()?,
            None => rest.len(),
        };
        let body = rest.get(header.len..size)?;
        let child = Child { kind: header.kind, start: at, header_len: header.len, body };
        at += size;
        Some(child)
    })
}

/// The first box of that name in `bytes`.
pub fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<Child<'a>> {
    children(bytes).find(|child| &child.kind == kind)
}

/// The body of the box that is reached through these names, outermost first.
pub fn descend<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| Some(child(bytes, kind)?.body))
}

/// A big-endian number at `at`.
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A big-endian number at `at`.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_waits_for_its_bytes() {
        let bytes = *b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x20";
        for len in 0..16 {
            assert_eq!(Header::read(&bytes[..len], 0), Ok(None), "{len}");
        }
        assert_eq!(Header::read(&bytes, 0), Ok(Some(Header { kind: *b"mdat", len: 16, size: Some(32) })));
    }

    #[test]
    fn a_size_smaller_than_the_header_is_garbage() {
        assert!(matches!(Header::read(b"\0\0\0\x07moof", 3), Err(Error::Garbage { position: 3, size: 7, .. })));
        assert!(Header::read(b"\0\0\0\x01moof\0\0\0\0\0\0\0\x0f", 0).is_err());
        assert!(Header::read(b"\0\0\0\x20\0\0\0\0", 0).is_err());
    }

    #[test]
    fn children_end_where_one_does_not_fit() {
        let bytes = b"\0\0\0\x0afreeab\0\0\0\x08skip\0\0\xff\xffwide";
        let kinds: Vec<_> = children(bytes).map(|child| (child.kind, child.start, child.body.len())).collect();
        assert_eq!(kinds, [(*b"free", 0, 2), (*b"skip", 10, 0)]);
    }
}

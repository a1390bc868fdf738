//! Boxes going out: each is opened, filled, and told its size.

/// Appends a box. `body` writes what is in it.
pub fn put(out: &mut Vec<u8>, kind: &[u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    body(out);
    // A sample is a buffer of a pipeline, and those are smaller than 4 GiB; the reader of such a box refuses it anyway.
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends a box that begins with version and flags (ISO/IEC 14496-12, 4.2).
pub fn put_full(out: &mut Vec<u8>, kind: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Vec<u8>)) {
    put(out, kind, |out| {
        words(out, &[u32::from(version) << 24 | flags & 0x00ff_ffff]);
        body(out);
    });
}

/// Appends 32-bit numbers.
pub fn words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

/// Appends 16-bit numbers.
pub fn halves(out: &mut Vec<u8>, halves: &[u16]) {
    out.extend(halves.iter().flat_map(|half| half.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::boxes;

    #[test]
    fn boxes_in_boxes_know_their_sizes() {
        let mut out = b"before".to_vec();
        put(&mut out, b"moov", |out| {
            put_full(out, b"mehd", 1, 2, |out| words(out, &[7]));
            put(out, b"free", |out| halves(out, &[1, 2]));
        });
        let moov = boxes::child(&out[6..], b"moov").expect("it was just written");
        let inside: Vec<_> = boxes::children(moov.body).map(|child| (child.kind, child.body.to_vec())).collect();
        assert_eq!(inside, [(*b"mehd", vec![1, 0, 0, 2, 0, 0, 0, 7]), (*b"free", vec![0, 1, 0, 2])]);
    }
}

//! Streams for tests, made by hand: the real muxers' are in `tests/`.

/// A box.
pub fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).expect("a test's box is small");
    [&size.to_be_bytes()[..], kind, body].concat()
}

/// A box with version and flags.
pub fn full(kind: &[u8; 4], version: u8, flags: u32, fields: &[u32]) -> Vec<u8> {
    let head = u32::from(version) << 24 | flags;
    let body: Vec<u8> = std::iter::once(&head).chain(fields).flat_map(|field| field.to_be_bytes()).collect();
    boxed(kind, &body)
}

/// An AV1 sequence header: libaom, 320x240, 8 bits, 4:2:0.
pub const AV1_HEADER: [u8; 14] = [0x0a, 0x0c, 0, 0, 0, 0x04, 0x3c, 0xff, 0xbf, 0x81, 0xb5, 0xf2, 0x00, 0x80];

/// trak of a track; `handler` is `vide` or `soun`.
pub fn trak(id: u32, handler: &[u8; 4], timescale: u32, extra: &[u8]) -> Vec<u8> {
    let entry = if handler == b"vide" {
        let mut body = vec![0; 78];
        body[24..28].copy_from_slice(&[1, 64, 0, 240]); // 320x240
        body.extend(boxed(b"avcC", &[1, 0x64, 0, 0x1f, 0xff, 0xe0, 0]));
        boxed(b"avc1", &body)
    } else {
        boxed(b"Opus", &[0; 28])
    };
    let trak = trak_of(id, handler, timescale, &entry);
    // Behind tkhd.
    let (tkhd, rest) = trak[8..].split_at(24);
    boxed(b"trak", &[tkhd, extra, rest].concat())
}

/// trak of a track with that sample entry.
pub fn trak_of(id: u32, handler: &[u8; 4], timescale: u32, entry: &[u8]) -> Vec<u8> {
    let tkhd = full(b"tkhd", 0, 7, &[0, 0, id]);
    let mdhd = full(b"mdhd", 0, 0, &[0, 0, timescale, 0]);
    let hdlr = boxed(b"hdlr", &[&[0; 8][..], handler, &[0; 12]].concat());
    let stsd = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], entry].concat());
    let minf = boxed(b"minf", &boxed(b"stbl", &stsd));
    boxed(b"trak", &[tkhd, boxed(b"mdia", &[mdhd, hdlr, minf].concat())].concat())
}

/// ftyp and moov with a video track 1 (timescale 1000, samples of 40, non-sync by default) and, if wanted, a sound track 2
/// (timescale 48000).
pub fn init(sound: bool) -> Vec<u8> {
    let mut moov = trak(1, b"vide", 1000, &[]);
    let mut mvex = full(b"trex", 0, 0, &[1, 1, 40, 0, 0x0001_0000]);
    if sound {
        moov.extend(trak(2, b"soun", 48_000, &[]));
        mvex.extend(full(b"trex", 0, 0, &[2, 1, 960, 0, 0]));
    }
    moov.extend(boxed(b"mvex", &mvex));
    [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"moov", &moov)].concat()
}

/// A fragment of one sample of one track.
pub fn fragment(track: u32, tfdt: u64, key: bool, payload: &[u8]) -> Vec<u8> {
    let tfhd = full(b"tfhd", 0, 0x02_0000, &[track]);
    let tfdt = full(b"tfdt", 1, 0, &[(tfdt >> 32) as u32, tfdt as u32]);
    let flags = if key { 0 } else { 0x0001_0000 };
    let trun = full(b"trun", 0, 0x601, &[1, 0, payload.len() as u32, flags]);
    let moof = [full(b"mfhd", 0, 0, &[1]), boxed(b"traf", &[tfhd, tfdt, trun].concat())].concat();
    [boxed(b"moof", &moof), boxed(b"mdat", payload)].concat()
}

/// Everything that the parser makes of `bytes`.
pub fn parse(bytes: &[u8]) -> Vec<super::Output> {
    let mut outputs = Vec::new();
    super::Parser::default().push(bytes, &mut outputs).expect("the test's stream is valid");
    outputs
}

/// The init segment and the fragments of a valid stream.
pub fn parse_parts(bytes: &[u8]) -> (std::sync::Arc<super::Init>, Vec<std::sync::Arc<super::Fragment>>) {
    let mut init = None;
    let mut fragments = Vec::new();
    for output in parse(bytes) {
        match output {
            super::Output::Init(new) => init = Some(new),
            super::Output::Fragment(fragment) => fragments.push(fragment),
        }
    }
    (init.expect("the test's stream has an init segment"), fragments)
}

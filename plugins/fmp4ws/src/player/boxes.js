/**
 * What the player must know of the MP4 boxes that it gets: tracks of an init segment, samples of a fragment.
 *
 * ISO/IEC 14496-12 (boxes), 14496-15 (sample entries). Numbers are of the server and are checked against the data's end:
 * whatever does not fit is a RangeError.
 */

/** `sample_is_non_sync_sample` of ISO/IEC 14496-12, 8.8.3.1. */
const NON_SYNC = 0x00010000;
/** Where a sample entry has the configuration of its decoder. */
const DECODER = { avc1: "avcC", avc3: "avcC", hvc1: "hvcC", hev1: "hvcC", av01: "av1C", vp09: "vpcC" };

/** Boxes between two positions: [type, first byte of its content, its end, its first byte]. */
function* boxes(view, at, end) {
  while (at + 8 <= end) {
    let size = view.getUint32(at);
    let header = 8;
    if (size === 1) {
      size = long(view, at + 8);
      header = 16;
    } else if (size === 0) {
      size = end - at;
    }
    if (size < header || at + size > end) throw new RangeError(`a box of ${size} bytes does not fit`);
    yield [name(view, at + 4), at + header, at + size, at];
    at += size;
  }
}

/** The first box along a path of types, as in [boxes]. */
function find(view, at, end, path) {
  for (const box of boxes(view, at, end)) {
    if (box[0] !== path[0]) continue;
    return path.length === 1 ? box : find(view, box[1], box[2], path.slice(1));
  }
  return null;
}

function name(view, at) {
  return String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));
}

function long(view, at) {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}

/** A number that has 64 bits in version 1 of its box, and 32 before. */
function versioned(view, box, offset32, offset64) {
  return view.getUint8(box) === 1 ? long(view, box + offset64) : view.getUint32(box + offset32);
}

/** Tracks by number; null when there is no moov: it is not an init segment. */
export function readInit(data) {
  const view = new DataView(data);
  const moov = find(view, 0, data.byteLength, ["moov"]);
  if (moov === null) return null;
  const tracks = new Map();
  for (const [type, at, end] of boxes(view, moov[1], moov[2])) {
    if (type !== "trak") continue;
    const track = readTrack(view, at, end);
    if (track !== null) tracks.set(track.id, track);
  }
  const mvex = find(view, moov[1], moov[2], ["mvex"]);
  for (const [type, at] of mvex === null ? [] : boxes(view, mvex[1], mvex[2])) {
    const track = type === "trex" ? tracks.get(view.getUint32(at + 4)) : undefined;
    if (track === undefined) continue;
    track.defaults = { duration: view.getUint32(at + 12), size: view.getUint32(at + 16), flags: view.getUint32(at + 20) };
  }
  return tracks;
}

function readTrack(view, at, end) {
  const [tkhd, mdhd, hdlr, stsd] = [["tkhd"], ["mdia", "mdhd"], ["mdia", "hdlr"], ["mdia", "minf", "stbl", "stsd"]]
    .map((path) => find(view, at, end, path)?.[1]);
  if ([tkhd, mdhd, hdlr, stsd].includes(undefined)) return null;
  const track = {
    id: view.getUint32(tkhd + (view.getUint8(tkhd) === 1 ? 20 : 12)),
    kind: { vide: "video", soun: "audio" }[name(view, hdlr + 8)] ?? "other",
    timescale: view.getUint32(mdhd + (view.getUint8(mdhd) === 1 ? 20 : 12)) || 1,
    /** Media time (units) at which the presentation begins, from an edit list; browsers shift by it. */
    begins: readEdit(view, at, end),
    width: 0,
    height: 0,
    /** The decoder's configuration record. */
    description: undefined,
    defaults: { duration: 0, size: 0, flags: 0 },
  };
  if (track.kind === "video") readPicture(view, stsd, track);
  return track;
}

function readEdit(view, at, end) {
  const elst = find(view, at, end, ["edts", "elst"])?.[1];
  if (elst === undefined || view.getUint32(elst + 4) === 0) return 0;
  const start = view.getUint8(elst) === 1 ? long(view, elst + 16) : view.getInt32(elst + 12);
  // -1, in either width: an empty edit.
  return start < 0 || start >= 2 ** 53 ? 0 : start;
}

function readPicture(view, stsd, track) {
  const end = stsd + 8 + view.getUint32(stsd + 8);
  const format = name(view, stsd + 12);
  const entry = stsd + 16;
  track.width = view.getUint16(entry + 24);
  track.height = view.getUint16(entry + 26);
  const record = find(view, entry + 78, end, [DECODER[format]]);
  // AV1 and VP9 say the same in the stream.
  if (record !== null && ["avcC", "hvcC"].includes(record[0])) {
    track.description = new Uint8Array(view.buffer, view.byteOffset + record[1], record[2] - record[1]).slice();
  }
}

/**
 * The samples of the fragments in `data`: {track, pts, dts, duration (all in seconds), key, data}, in decoding order.
 * What belongs to no known track is left out.
 */
export function readFragment(data, tracks) {
  const view = new DataView(data);
  const samples = [];
  for (const [type, at, end, start] of boxes(view, 0, data.byteLength)) {
    if (type !== "moof") continue;
    for (const [inner, from, to] of boxes(view, at, end)) {
      if (inner === "traf") readTraf(view, from, to, start, tracks, samples);
    }
  }
  return samples;
}

function readTraf(view, at, end, moof, tracks, samples) {
  const tfhd = find(view, at, end, ["tfhd"])?.[1];
  const track = tfhd === undefined ? undefined : tracks.get(view.getUint32(tfhd + 4));
  if (track === undefined) return;
  const defaults = { ...track.defaults };
  const flags = view.getUint32(tfhd) & 0xffffff;
  let field = tfhd + 8;
  let base = moof;
  if (flags & 0x01) {
    base = long(view, field);
    field += 8;
  }
  if (flags & 0x02) field += 4;
  for (const [bit, key] of [[0x08, "duration"], [0x10, "size"], [0x20, "flags"]]) {
    if ((flags & bit) === 0) continue;
    defaults[key] = view.getUint32(field);
    field += 4;
  }
  const tfdt = find(view, at, end, ["tfdt"])?.[1];
  const run = { dts: tfdt === undefined ? 0 : versioned(view, tfdt, 4, 4), position: base };
  for (const [type, from] of boxes(view, at, end)) {
    if (type === "trun") readRun(view, from, base, track, defaults, run, samples);
  }
}

function readRun(view, trun, base, track, defaults, run, samples) {
  const flags = view.getUint32(trun) & 0xffffff;
  const signed = view.getUint8(trun) === 1;
  const count = view.getUint32(trun + 4);
  if (count > view.byteLength) throw new RangeError(`${count} samples do not fit`);
  let field = trun + 8;
  const next = () => view.getUint32((field += 4) - 4);
  if (flags & 0x001) run.position = base + (next() | 0);
  const first = flags & 0x004 ? next() : null;
  for (let index = 0; index < count; index++) {
    const duration = flags & 0x100 ? next() : defaults.duration;
    const size = flags & 0x200 ? next() : defaults.size;
    const own = flags & 0x400 ? next() : index === 0 && first !== null ? first : defaults.flags;
    const shift = flags & 0x800 ? (signed ? next() | 0 : next()) : 0;
    if (run.position < 0 || run.position + size > view.byteLength) throw new RangeError("a sample lies outside of its fragment");
    samples.push({
      track,
      dts: (run.dts - track.begins) / track.timescale,
      pts: (run.dts + shift - track.begins) / track.timescale,
      duration: duration / track.timescale,
      key: (own & NON_SYNC) === 0,
      data: new Uint8Array(view.buffer, run.position, size),
    });
    run.dts += duration;
    run.position += size;
  }
}

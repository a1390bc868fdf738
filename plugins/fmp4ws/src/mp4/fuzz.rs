//! What the fuzzers run (`fuzz/`), and ordinary tests with them.

use super::{Aac, Audio, Av1, Error, Frame, H264, H265, Muxer, Opus, Output, Parser, Video};

/// Fragmented MP4 of anybody: no panic, and the same outcome however it is cut.
pub fn parser(data: &[u8]) {
    let cut = data.first().map_or(0, |&byte| usize::from(byte) * data.len() / 256);
    let whole = parsed(&[data]);
    let pieces = parsed(&[&data[..cut], &data[cut..]]);
    assert_eq!(whole, pieces, "cut at {cut}");
}

fn parsed(pieces: &[&[u8]]) -> (Vec<Output>, Option<Error>) {
    let (mut parser, mut outputs) = (Parser::default(), Vec::new());
    let error = pieces.iter().find_map(|piece| parser.push(piece, &mut outputs).err());
    (outputs, error)
}

/// Frames of anybody: a byte that chooses the codecs, then frames, each with its length in two bytes in front, one in four of them
/// sound. An empty one stands for a flush, one of a single byte for a jump in time. No panic, and what is written is understood.
pub fn frames(data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else { return };
    let mut next = || {
        let (&[high, low], more) = rest.split_first_chunk()?;
        let (frame, more) = more.split_at(more.len().min(usize::from(u16::from_be_bytes([high, low]))));
        rest = more;
        Some(frame)
    };
    let mut muxer = Muxer::default();
    let mut outputs = Vec::new();
    if let Some(video) = next().and_then(|configuration| video(choice & 7, configuration)) {
        muxer.set_video(video, (1, 1));
    }
    if let Some(audio) = next().filter(|_| choice & 8 != 0).and_then(|configuration| audio(choice, configuration)) {
        muxer.expect_sound(true);
        muxer.set_sound(audio);
    }
    let mut time = 0i64;
    for index in 0.. {
        let Some(data) = next() else { break };
        match data {
            [] => {
                muxer.flush(index % 2 == 0);
                continue;
            }
            [seconds] => {
                time += i64::from(seconds.cast_signed()) * 1_000_000_000;
                continue;
            }
            _ => {}
        }
        // Steps of any size, also back: what the first bytes say.
        let step = data.first_chunk().map_or(0, |bytes| i64::from(i16::from_be_bytes(*bytes)));
        time += 40_000_000 + step * 1000;
        let decode = (choice & 16 != 0).then_some(time - 80_000_000);
        let keyframe = index % 3 == 0;
        let frame = Frame { data, shown: time, decode, length: None, keyframe, arrived: time };
        let sound = index % 4 == 3 && choice & 8 != 0;
        // A frame that cannot be read is left out.
        let _ = if sound { muxer.sound(frame, &mut outputs) } else { muxer.video(frame, &mut outputs) };
    }
    muxer.finish_video(&mut outputs);
    let bytes: Vec<u8> = outputs.iter().flat_map(|output| bytes_of(output).to_vec()).collect();
    assert_eq!(parsed(&[&bytes]), (outputs, None));
}

fn bytes_of(output: &Output) -> &[u8] {
    match output {
        Output::Init(init) => &init.data,
        Output::Fragment(fragment) => &fragment.data,
    }
}

fn video(choice: u8, configuration: &[u8]) -> Option<Video> {
    Some(match choice {
        0 => Video::H264(H264::byte_stream()),
        1 => Video::H264(H264::avc(configuration).ok()?),
        2 => Video::H265(H265::byte_stream()),
        3 => Video::H265(H265::hvc(configuration).ok()?),
        4 => Video::Av1(Av1::new()),
        _ => Video::Av1(Av1::by_configuration(configuration).ok()?),
    })
}

fn audio(choice: u8, configuration: &[u8]) -> Option<Audio> {
    Some(match choice >> 5 & 3 {
        0 => Audio::Aac(Aac::new(configuration).ok()?),
        1 => Audio::Opus(Opus::by_head(configuration).ok()?),
        _ => Audio::Opus(Opus::new(2, 48_000)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Runs a target on its corpus, and on that with bytes changed, cut out, and put in from elsewhere.
    fn run(target: &str, entry: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = std::fs::read_dir(folder).expect("the corpus is in the checkout").flatten();
        let mut corpus: Vec<Vec<u8>> =
            files.map(|file| std::fs::read(file.path()).expect("the corpus can be read")).collect();
        assert!(corpus.len() >= 4, "the corpus is empty");
        corpus.sort();
        let mut random = fastrand::Rng::with_seed(3);
        for seed in &corpus {
            entry(seed);
            for _ in 0..150 {
                let mut data = seed.clone();
                for _ in 0..random.usize(1..6) {
                    mutate(&mut data, &corpus, &mut random);
                }
                entry(&data);
            }
        }
    }

    fn mutate(data: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut fastrand::Rng) {
        // Most bytes are those of samples, and nothing depends on them: the beginning has the boxes.
        let reach = if random.bool() { data.len().min(1200) } else { data.len() };
        let at = random.usize(..reach.max(1)).min(data.len());
        match random.u8(..5) {
            0 if at < data.len() => data[at] = random.u8(..),
            1 if at < data.len() => data[at] ^= 1 << random.u8(..8),
            2 => data.truncate(at),
            3 => drop(data.drain(at..data.len().min(at + random.usize(..32)))),
            _ => {
                let other = &corpus[random.usize(..corpus.len())];
                let from = random.usize(..other.len().max(1)).min(other.len());
                let part = other[from..other.len().min(from + random.usize(..64))].to_vec();
                data.splice(at..at, part);
            }
        }
    }

    #[test]
    fn the_parser_stands_its_corpus_and_what_is_like_it() {
        run("parser", parser);
    }

    #[test]
    fn the_muxer_stands_its_corpus_and_what_is_like_it() {
        run("frames", frames);
    }
}

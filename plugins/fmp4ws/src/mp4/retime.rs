//! Media times of a viewer's own, from 0 and without gaps.
//!
//! For viewers that did not ask for extensions: go2rtc's player never seeks, so a stream that has run for a day must look
//! to it as if it began now, and what was skipped for it must leave no hole.

use super::{Fragment, Init};
use bytes::Bytes;

/// One viewer's times. Costs a copy of each fragment; viewers that asked for extensions share the stream's times instead.
#[derive(Debug, Default)]
pub struct OwnTimes {
    /// How far the stream's time is ahead of the viewer's, in units of the main track; `None` until the next fragment.
    lead: Option<i128>,
    /// Where the viewer's next fragment belongs, and in which timescale.
    end: u64,
    timescale: u32,
}

impl OwnTimes {
    /// Something was left out, or another init segment came: the next fragment joins directly to what the viewer has.
    pub fn close_gap(&mut self) {
        self.lead = None;
    }

    /// The fragment with the viewer's times in it.
    pub fn retime(&mut self, fragment: &Fragment, init: &Init) -> Bytes {
        let main = init.main();
        if self.timescale != main.timescale {
            self.end = rescale(self.end.into(), self.timescale, main.timescale).try_into().unwrap_or(0);
            self.timescale = main.timescale;
        }
        let run = fragment.run(main.id);
        let lead = match (self.lead, run) {
            (Some(lead), _) => lead,
            (None, Some(run)) => *self.lead.insert(i128::from(run.tfdt) - i128::from(self.end)),
            // A viewer starts with its main track; without it there is nothing to count from.
            (None, None) => return fragment.data.clone(),
        };
        let mut data = fragment.data.to_vec();
        for run in &fragment.runs {
            let timescale = init.track(run.track).map_or(main.timescale, |track| track.timescale);
            let own = i128::from(run.tfdt) - rescale(lead, main.timescale, timescale);
            // Sound that began a little before the first picture would be before 0: it starts at 0 as well.
            let own = u64::try_from(own.max(0)).unwrap_or(u64::MAX);
            let place = run.tfdt_at.clone();
            let bytes = own.to_be_bytes();
            if let Some(field) = data.get_mut(place.clone()) {
                field.copy_from_slice(&bytes[8 - place.len()..]);
            }
            if run.track == main.id {
                self.end = own.saturating_add(run.duration);
            }
        }
        data.into()
    }
}

fn rescale(time: i128, from: u32, to: u32) -> i128 {
    if from == to || from == 0 { time } else { time * i128::from(to) / i128::from(from) }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{fragment, init, parse_parts};
    use super::*;

    /// Decode times of a viewer's fragments, read again with the parser.
    fn own_times(times: &mut OwnTimes, stream: &[Vec<u8>]) -> Vec<u64> {
        let (init_segment, fragments) = parse_parts(&[vec![init(true)], stream.to_vec()].concat().concat());
        let retimed = fragments.iter().map(|fragment| times.retime(fragment, &init_segment).to_vec());
        let retimed: Vec<Vec<u8>> = std::iter::once(init(true)).chain(retimed).collect();
        parse_parts(&retimed.concat()).1.iter().map(|fragment| fragment.runs[0].tfdt).collect()
    }

    #[test]
    fn a_viewer_starts_at_0_in_every_track() {
        let day = 86_400;
        let stream = [
            fragment(1, day * 1000, true, b"k"),
            fragment(2, day * 48_000 + 480, true, b"s"),
            fragment(1, day * 1000 + 40, false, b"d"),
            fragment(2, day * 48_000 - 100, true, b"early"),
        ];
        assert_eq!(own_times(&mut OwnTimes::default(), &stream), [0, 480, 40, 0]);
    }

    #[test]
    fn what_was_skipped_leaves_no_hole() {
        let mut times = OwnTimes::default();
        assert_eq!(own_times(&mut times, &[fragment(1, 1000, true, b"k"), fragment(1, 1040, false, b"d")]), [0, 40]);
        times.close_gap();
        assert_eq!(own_times(&mut times, &[fragment(1, 9000, true, b"k"), fragment(1, 9040, false, b"d")]), [80, 120]);
    }
}

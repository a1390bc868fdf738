//! Knows an object again in the next picture, so that it keeps its id.
//!
//! A box that overlaps with one of the pictures before is the same object. No more than that: no prediction, no
//! appearance. Ids begin at 0 for each channel and are never given twice.

use opencv::core::{Rect, Size};

use crate::motion::Blob;

/// Boxes that share less of their union than this are different objects. People who walk past a slow camera overlap
/// little from picture to picture.
const MIN_OVERLAP: f64 = 0.1;

/// Pictures for which an object may be unseen and still keep its id.
const PATIENCE: u32 = 5;

/// The objects of one camera.
#[derive(Default)]
pub struct Tracker {
    /// Of the pictures that the boxes are from, in pixels.
    size: Size,
    next_id: u64,
    known: Vec<Known>,
}

struct Known {
    id: u64,
    rect: Rect,
    unseen: u32,
}

impl Tracker {
    /// Gives an id to each of `blobs`, found in a picture of `size`. Sorted by id, the oldest object first.
    pub fn identify(&mut self, size: Size, blobs: Vec<Blob>) -> Vec<(u64, Blob)> {
        if self.size != size {
            self.size = size;
            self.known.clear();
        }
        let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
        for (b, blob) in blobs.iter().enumerate() {
            for (k, known) in self.known.iter().enumerate() {
                let overlap = overlap(blob.rect, known.rect);
                if overlap >= MIN_OVERLAP {
                    pairs.push((overlap, b, k));
                }
            }
        }
        // The closest pairs find each other first.
        pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
        let mut owner: Vec<Option<usize>> = vec![None; blobs.len()];
        let mut taken = vec![false; self.known.len()];
        for (_, b, k) in pairs {
            if owner[b].is_none() && !taken[k] {
                owner[b] = Some(k);
                taken[k] = true;
            }
        }

        for known in &mut self.known {
            known.unseen += 1;
        }
        let mut identified = Vec::with_capacity(blobs.len());
        for (blob, owner) in blobs.into_iter().zip(owner) {
            let id = match owner {
                Some(k) => {
                    self.known[k].rect = blob.rect;
                    self.known[k].unseen = 0;
                    self.known[k].id
                }
                None => {
                    let id = self.next_id;
                    self.next_id += 1;
                    self.known.push(Known { id, rect: blob.rect, unseen: 0 });
                    id
                }
            };
            identified.push((id, blob));
        }
        self.known.retain(|known| known.unseen <= PATIENCE);
        identified.sort_by_key(|(id, _)| *id);
        identified
    }
}

/// Shared area over united area, 0..1.
fn overlap(a: Rect, b: Rect) -> f64 {
    let shared = f64::from((a & b).area());
    shared / (f64::from(a.area()) + f64::from(b.area()) - shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(x: i32) -> Blob {
        Blob { rect: Rect::new(x, 10, 20, 40), area: 700.0 }
    }

    const SIZE: Size = Size { width: 640, height: 360 };

    fn ids(tracker: &mut Tracker, xs: &[i32]) -> Vec<(u64, i32)> {
        let found = tracker.identify(SIZE, xs.iter().copied().map(blob).collect());
        found.into_iter().map(|(id, blob)| (id, blob.rect.x)).collect()
    }

    #[test]
    fn objects_keep_their_ids_while_they_move() {
        let mut tracker = Tracker::default();
        assert_eq!(ids(&mut tracker, &[0, 200]), [(0, 0), (1, 200)]);
        for step in 1..10 {
            // Which of them is found first does not matter.
            assert_eq!(ids(&mut tracker, &[200 - 8 * step, 8 * step]), [(0, 8 * step), (1, 200 - 8 * step)]);
        }
        assert_eq!(ids(&mut tracker, &[120, 300, 80]), [(0, 80), (1, 120), (2, 300)]);
    }

    #[test]
    fn closest_box_wins() {
        let mut tracker = Tracker::default();
        ids(&mut tracker, &[0]);
        assert_eq!(ids(&mut tracker, &[12, 2]), [(0, 2), (1, 12)]);
    }

    #[test]
    fn object_that_is_hidden_for_a_moment_is_known_again() {
        let mut tracker = Tracker::default();
        ids(&mut tracker, &[0]);
        for _ in 0..PATIENCE {
            assert_eq!(ids(&mut tracker, &[]), []);
        }
        assert_eq!(ids(&mut tracker, &[4]), [(0, 4)]);
        for _ in 0..=PATIENCE {
            assert_eq!(ids(&mut tracker, &[]), []);
        }
        assert_eq!(ids(&mut tracker, &[4]), [(1, 4)], "forgotten, and the id is not given twice");
    }

    #[test]
    fn objects_of_another_size_of_picture_are_others() {
        let mut tracker = Tracker::default();
        ids(&mut tracker, &[0]);
        let found = tracker.identify(Size::new(320, 180), vec![blob(0)]);
        assert_eq!(found, [(1, blob(0))]);
    }
}

//! What was seen lately: the newest message about each object, for pages that are opened after it was told.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use serde_json::value::RawValue;

/// Objects that are remembered, of all cameras.
const KEPT: usize = 200;

/// The last objects. The board writes, the API reads.
#[derive(Debug, Default)]
pub struct Seen(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    camera: String,
    id: String,
    life: Box<RawValue>,
}

impl Seen {
    /// Keeps what is said of an object, in place of what was said of it before.
    pub fn note(&self, camera: &str, id: &str, life: &RawValue) {
        let mut entries = self.lock();
        let known = entries.iter_mut().rev().find(|entry| entry.camera == camera && entry.id == id);
        if let Some(entry) = known {
            entry.life = life.to_owned();
            return;
        }
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(Entry { camera: camera.to_owned(), id: id.to_owned(), life: life.to_owned() });
    }

    /// A camera that is gone has seen nothing.
    pub fn forget(&self, camera: &str) {
        self.lock().retain(|entry| entry.camera != camera);
    }

    /// The newest first.
    pub fn newest(&self) -> Vec<Box<RawValue>> {
        self.lock().iter().rev().map(|entry| entry.life.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn kept(seen: &Seen) -> Vec<String> {
        seen.newest().iter().map(|life| life.get().to_owned()).collect()
    }

    #[test]
    fn of_each_object_the_newest_is_kept_in_the_order_of_their_coming() {
        let seen = Seen::default();
        seen.note("gate", "1", &raw("1"));
        seen.note("lobby", "1", &raw("2"));
        seen.note("gate", "1", &raw("3"));
        assert_eq!(kept(&seen), ["2", "3"]);
        seen.forget("gate");
        assert_eq!(kept(&seen), ["2"]);
    }

    #[test]
    fn the_oldest_make_room() {
        let seen = Seen::default();
        for number in 0..=KEPT {
            seen.note("gate", &number.to_string(), &raw(&number.to_string()));
        }
        let kept = kept(&seen);
        assert_eq!((kept.len(), kept[0].as_str(), kept[KEPT - 1].as_str()), (KEPT, "200", "1"));
    }
}

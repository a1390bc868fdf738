//! The streams of one listener, by name.

use crate::stream::Stream;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The streams of one server, by name.
#[derive(Default)]
pub struct Directory(RwLock<BTreeMap<String, Arc<Stream>>>);

/// What to tell a viewer that asks for a stream that is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("stream not found: {0}")]
    Name(String),
    #[error("there are several streams: choose one with ?src=NAME")]
    Unnamed,
}

impl Directory {
    /// The stream of that name; without a name the only one.
    pub fn find(&self, name: Option<&str>) -> Result<Arc<Stream>, Unknown> {
        let streams = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match name {
            Some(name) => streams.get(name).cloned().ok_or_else(|| Unknown::Name(name.into())),
            None if streams.len() == 1 => Ok(streams.values().next().expect("there is one").clone()),
            None => Err(Unknown::Unnamed),
        }
    }

    /// All of them.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether the name was free.
    pub fn add(&self, stream: Arc<Stream>) -> bool {
        let mut streams = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if streams.contains_key(stream.name()) {
            return false;
        }
        streams.insert(stream.name().into(), stream);
        true
    }

    /// Whether it was the last one.
    pub fn remove(&self, name: &str) -> bool {
        let mut streams = self.0.write().unwrap_or_else(PoisonError::into_inner);
        streams.remove(name);
        streams.is_empty()
    }
}

//! What the kernel knows about shared memory that has a name, and so may outlive its processes.

use std::collections::BTreeSet;
use std::fs;

/// The names in /dev/shm now.
pub fn named_memory() -> BTreeSet<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

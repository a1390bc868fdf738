//! shmsink leaves its memory behind when it is killed, and its writers are killed here, round after round.

use std::fs;
use std::process::Child;

/// Ends `child`, and removes what its shmsinks leave.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
    // As GStreamer's shmpipe.c names it.
    let left = format!("shmpipe.{:>5}.", child.id());
    let all = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    for memory in all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&left)) {
        let _ = fs::remove_file(memory.path());
    }
}

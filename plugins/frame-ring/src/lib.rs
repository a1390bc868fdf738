//! Frames between processes.

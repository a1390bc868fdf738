//! The file that `valkka init` writes.

/// Commented, and right as it is: two test pictures run without any camera.
pub const EXAMPLE: &str = include_str!("example.toml");

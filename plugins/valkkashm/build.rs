//! Tells the plug-in its version and commit, and the linker what belongs together.

use std::env;

/// Comments say what it is for.
const SCRIPT: &str = "frame-path.ld";

fn main() {
    gst_plugin_version_helper::info();
    println!("cargo::rerun-if-changed={SCRIPT}");
    let var = |name: &str| env::var(name).unwrap_or_default();
    // Linkers that do not know INSERT link as they always do.
    let linker = var("CARGO_ENCODED_RUSTFLAGS") + &var("RUSTC_LINKER");
    if var("CARGO_CFG_TARGET_OS") == "linux" && !["mold", "gold", "wild"].iter().any(|other| linker.contains(other)) {
        println!("cargo::rustc-link-arg-cdylib=-T{}/{SCRIPT}", var("CARGO_MANIFEST_DIR"));
        println!("cargo::rustc-env=FRAME_PATH={SCRIPT}");
    }
}

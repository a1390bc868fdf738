//! Tells the plug-in its version and commit, and the linker what belongs together.

use std::env;

/// Comments say what it is for.
const SCRIPT: &str = "frame-path.ld";

fn main() {
    gst_plugin_version_helper::info();
    println!("cargo::rerun-if-changed={SCRIPT}");
    // Linkers that do not know INSERT link as they always do.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if linux && !["mold", "gold", "wild"].iter().any(|linker| flags.contains(linker)) {
        let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo::rustc-link-arg-cdylib=-Wl,-T,{folder}/{SCRIPT}");
    }
}

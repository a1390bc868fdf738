//! Tells the plug-in its version and commit.
fn main() {
    gst_plugin_version_helper::info()
}

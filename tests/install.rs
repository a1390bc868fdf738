//! What a packager does: meson builds and installs, and GStreamer finds the elements where they were put.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::stage::Runtime;
use crate::stage::runtime::CHECKOUT;

/// A file of that name, anywhere below.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<_> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    let here = entries.iter().find(|path| path.file_name().is_some_and(|file| file == name)).cloned();
    here.or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}

#[test]
fn meson_installs_what_gstreamer_and_users_look_for() {
    let runtime = Runtime::new();
    let (build, stage) = (runtime.path("build"), runtime.path("stage"));
    let run = |command: &mut Command| runtime.start(command).finish(Duration::from_secs(900));
    // The debug build is there already, so cargo has nothing to do.
    run(runtime.command("meson").args(["setup", "--buildtype=debug", "--prefix=/usr"]).arg(&build).arg(&*CHECKOUT));
    run(runtime.command("meson").args(["compile", "-C"]).arg(&build));
    run(runtime.command("meson").args(["install", "--no-rebuild", "-C"]).arg(&build).env("DESTDIR", &stage));

    let plugin = find(&stage, "libgstvalkkashm.so").expect("the transport's plug-in is installed");
    let plugins = plugin.parent().expect("a file is in a folder");
    assert!(plugins.ends_with("gstreamer-1.0"), "{}", plugins.display());
    for element in ["valkkashmsink", "valkkashmsrc", "valkkamotiongate", "fmp4wssink"] {
        let mut inspect = runtime.command("gst-inspect-1.0");
        inspect.env("GST_PLUGIN_PATH", plugins).env("GST_REGISTRY", runtime.path("registry.bin")).arg(element);
        let told = run(&mut inspect);
        assert!(told.contains(&*stage.to_string_lossy()), "{element} does not come from the staging folder:\n{told}");
    }

    let programs = stage.join("usr/bin");
    for program in ["valkka", "valkka-analyse"] {
        run(runtime.command(&programs.join(program).to_string_lossy()).arg("--version"));
    }
    let templates = stage.join("usr/share/valkka/templates");
    for template in fs::read_dir(CHECKOUT.join("pipelines/templates")).expect("the checkout has templates").flatten() {
        assert!(templates.join(template.file_name()).exists(), "{:?} is not installed", template.file_name());
    }
}

#[test]
fn meson_and_cargo_agree_on_the_version() {
    let meson = fs::read_to_string(CHECKOUT.join("meson.build")).expect("the checkout has a meson.build");
    assert!(meson.contains(&format!("version: '{}'", env!("CARGO_PKG_VERSION"))));
}

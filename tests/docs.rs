//! What the README tells people to paste does what it says.

use std::fs;
use std::time::Duration;

use crate::stage::guide::Guide;
use crate::stage::runtime::CHECKOUT;
use crate::stage::{Runtime, SOON, eventually};

/// `./dev env` asks cargo whether everything is built, which may have to wait for another cargo.
const BUILT: Duration = Duration::from_secs(300);

#[test]
fn the_tour_of_the_readme_works_when_pasted() {
    let runtime = Runtime::new();
    let tour = Guide::read("README.md".as_ref(), "## Two terminals, one channel");
    assert_eq!(tour.len(), 5, "the tour has other steps than this test");

    let writer = tour.paste(&runtime, 0);
    writer.line("PLAYING", BUILT);
    let reader = tour.paste(&runtime, 1);
    reader.line("progressreport0 (", BUILT);
    writer.crash();
    let writer = tour.paste(&runtime, 0);
    reader.lines_more(3, BUILT);
    drop(reader);

    // The shell of terminal 2 has its environment from the step before.
    let analyser = tour.paste(&runtime, 2);
    analyser.line(r#""label":"motion""#, BUILT);
    writer.line("valkka-reply", SOON);
    drop((writer, analyser));

    let server = tour.paste(&runtime, 3);
    server.line("PLAYING", SOON);
    // The last step opens a browser: examples/browser is tested with one.
    let mut page = runtime.command("curl");
    page.args(["--silent", "--show-error", "--fail", "--retry", "10", "--retry-connrefused"]);
    let page = runtime.start(page.arg(format!("http://127.0.0.1:{}/", tour.port))).finish(SOON);
    assert!(page.contains("valkka-video"), "{page}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let (mut folders, mut seen) = (vec![CHECKOUT.clone()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the checkout can be read").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).expect("a document is text");
                for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                    let inside = !link.is_empty() && !link.contains("://");
                    assert!(!inside || folder.join(link).exists(), "{} links to {link}", path.display());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 10, "the README alone has about ten links, and {seen} were seen");
}

#[test]
fn every_verb_of_dev_is_told_by_its_help() {
    let runtime = Runtime::new();
    let dev = CHECKOUT.join("dev");
    let help = runtime.start(runtime.command(&dev.to_string_lossy()).arg("help")).finish(SOON);
    for verb in ["demo", "test", "check", "build", "bench", "env", "help"] {
        assert!(help.contains(&format!("./dev {verb}")), "{help}");
    }
    let mut unknown = runtime.start(runtime.command(&dev.to_string_lossy()).arg("nonsense"));
    assert!(unknown.fail(SOON).contains("no verb 'nonsense'"));
}

#[test]
fn the_tour_to_two_cameras_works_when_pasted() {
    let readme = fs::read_to_string(CHECKOUT.join("README.md")).expect("it is there");
    let (_, tour) = readme.split_once("## Five minutes: two cameras").expect("it has a tour");
    let (tour, _) = tour.split_once("\n## ").expect("something follows");
    let blocks = tour.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let [start, change] = &blocks.collect::<Vec<_>>()[..] else { panic!("the tour has other steps than this test") };
    let runtime = Runtime::new();
    // This test's build and folder, a free port, and nobody who opens a browser.
    let start = start.replace("eval \"$(./dev env)\"\n", "").replace("~/cameras", "cameras");
    let start = start.replace("--open", "--listen 127.0.0.1:0");
    let shell = |text: &str| runtime.start(runtime.command("sh").args(["-ec", text]));
    let valkka = shell(&start);
    valkka.line("Valkka is at http://", BUILT);
    let both_live =
        || Some(valkka.errors()).filter(|said| said.contains("lobby is live") && said.contains("gate is live"));
    eventually("both cameras are live", BUILT, both_live);
    let mut verbs = shell(&format!("cd cameras\n{change}"));
    let said = verbs.finish(BUILT);
    assert!(said.contains("snow is live") && said.contains("snow is removed"), "{said}");
    assert!(runtime.path("cameras/snow.jpeg").exists());
}

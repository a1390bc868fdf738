//! Limits of memory, by the kernel where it lets this user make control groups.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, SOON, eventually, eventually_or};

const LIVE: Duration = Duration::from_secs(90);

/// A worker that takes more and more memory, and one that is content.
const CONFIG: &str = r#"
[limits.worker]
memory = "64 MiB"
[workers.greedy]
command = ["python3", "-c", "import time; time.sleep(1); x = [bytearray(8 << 20) for _ in range(64)]; time.sleep(600)"]
[workers.content]
command = ["sleep", "600"]
"#;

/// Where the doctor says that groups can be made; `None` if nowhere.
fn delegated(runtime: &Runtime) -> Option<PathBuf> {
    let mut doctor = runtime.start(runtime.command("valkka").arg("doctor"));
    let said = doctor.finish(LIVE);
    let line = said.lines().find(|line| line.contains("memory limits")).expect("the doctor looks at it");
    line.starts_with("ok").then(|| line.rsplit(' ').next().expect("a line has words").into())
}

/// The groups of this orchestrator.
fn groups(place: &Path, valkka: &Orchestrator) -> BTreeSet<String> {
    let own = format!("valkka-{}", valkka.process.pid());
    let entries = fs::read_dir(place).expect("the group is there").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name == &own || name.starts_with(&format!("{own}."))).collect()
}

/// Waits until the greedy one was ended; the reason.
fn ended(valkka: &Orchestrator) -> String {
    let restarted = || Some(valkka.process("greedy")).filter(|process| process["restarts"].as_u64() > Some(0));
    let process = eventually_or(LIVE, restarted, || valkka.status().to_string());
    process["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_process_that_wants_too_much_memory_is_ended_with_the_reason_and_leaves_no_group() {
    let runtime = Runtime::new();
    let place = delegated(&runtime);
    let config = runtime.path("valkka.toml");
    fs::write(&config, CONFIG).expect("the test's folder is writable");
    let mut valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    let runs = || Some(valkka.process("content")["pid"].clone()).filter(Value::is_number);
    let content = eventually("the content one runs", SOON, runs);
    let reason = ended(&valkka);
    let expected = if place.is_some() { "it wanted more memory than the 64 MiB" } else { "64 are allowed" };
    assert!(reason.contains(expected), "{reason}");
    assert_eq!(valkka.process("content")["pid"], content, "the other runs on");

    if let Some(place) = &place {
        let name = format!("valkka-{}.content", valkka.process.pid());
        assert!(groups(place, &valkka).contains(&name), "{:?}", groups(place, &valkka));
    }
    valkka.process.signal(Signal::SIGINT);
    assert!(valkka.process.wait(LIVE).success(), "{}", valkka.process.errors());
    if let Some(place) = &place {
        assert_eq!(groups(place, &valkka), BTreeSet::new());
    }
}

#[test]
fn groups_of_an_orchestrator_that_was_killed_are_removed_by_the_next() {
    let runtime = Runtime::new();
    let Some(place) = delegated(&runtime) else { return };
    let config = runtime.path("valkka.toml");
    fs::write(&config, CONFIG).expect("the test's folder is writable");
    let mut killed = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    eventually("there are groups", SOON, || (!groups(&place, &killed).is_empty()).then_some(()));
    killed.process.signal(Signal::SIGKILL);
    killed.process.wait(SOON);
    assert!(!groups(&place, &killed).is_empty(), "nobody was there to remove them");
    let mut next = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    eventually("they are removed", LIVE, || groups(&place, &killed).is_empty().then_some(()));
    eventually("there are others", SOON, || (!groups(&place, &next).is_empty()).then_some(()));
    // This test leaves none either.
    next.process.signal(Signal::SIGINT);
    assert!(next.process.wait(LIVE).success(), "{}", next.process.errors());
}

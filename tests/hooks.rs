//! Start and stop hooks of the configuration, as the processes see them that they are called in.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::stage::orchestrator::Orchestrator;
use crate::stage::runtime::CHECKOUT;
use crate::stage::{Runtime, SOON, eventually_or};

const LIVE: Duration = Duration::from_secs(90);

#[test]
fn hooks_are_called_in_their_order_at_each_start_and_before_the_stop() {
    let runtime = Runtime::new();
    let (config, heard) = (runtime.path("valkka.toml"), runtime.path("heard"));
    let worker = CHECKOUT.join("tests/peers/hooked_worker.py");
    let text = format!(
        "[analysis]\nenabled = false\n\
         [workers.mine]\ncommand = [{worker:?}, {heard:?}]\n\
         start-hooks = [\"first\", {{ command = \"zone\", parameters = {{ name = \"door\" }} }}, \"refuse\", \"last\"]\n\
         stop-hooks = [\"refuse\", \"bye\"]\n\
         [cameras.a]\nuri = \"test:ball\"\nvalues = {{ test-width = 64, test-height = 48, test-fps = 5 }}\n\
         start-hooks = [\"nonsense\", \
         {{ command = \"set\", parameters = {{ element = \"raw\", property = \"pull-mode\", value = \"single\" }} }}]\n"
    );
    fs::write(&config, text).expect("the test's folder is writable");
    let mut valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    let start = "first null\nzone {\"name\": \"door\"}\nrefuse null\nlast null\n";
    let heard = |expected: &str| {
        let said = || fs::read_to_string(&heard).unwrap_or_default();
        eventually_or(LIVE, || (said() == expected).then_some(()), || format!("it has heard\n{}", said()));
    };
    heard(start);

    // Also after a crash: it is told everything anew.
    let pid = valkka.process("mine")["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    heard(&start.repeat(2));

    // A pipeline's hooks are its own commands; one that it refuses keeps it from nothing.
    valkka.live(LIVE);
    let mut call = runtime.command("valkka");
    call.args(["call", "a.capture", "get", r#"{"element":"raw","property":"pull-mode"}"#]);
    assert_eq!(runtime.start(&call).finish(SOON), "\"single\"\n");

    valkka.process.signal(Signal::SIGINT);
    assert!(valkka.process.wait(LIVE).success());
    heard(&format!("{}refuse null\nbye null\n", start.repeat(2)));
}

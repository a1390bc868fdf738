use super::*;
use crate::camera::Source;

fn config(cameras: &[(&str, &str)]) -> Config {
    let camera = |(name, pattern): &(&str, &str)| Camera::new((*name).into(), Source::Test((*pattern).into()));
    Config { cameras: cameras.iter().map(camera).collect(), ..Config::default() }
}

fn plan(config: &Config) -> Plan {
    Plan::new(config, Path::new("/run")).unwrap()
}

fn names(processes: &[Planned]) -> Vec<&str> {
    processes.iter().map(|process| process.name.as_str()).collect()
}

#[test]
fn nothing_changes_between_equal_configurations() {
    let config = config(&[("a", "ball"), ("b", "snow")]);
    assert_eq!(plan(&config).change_to(&plan(&config)), Change::default());
}

#[test]
fn a_camera_that_comes_touches_no_other() {
    let (before, after) = (plan(&config(&[("a", "ball")])), plan(&config(&[("a", "ball"), ("b", "snow")])));
    let change = before.change_to(&after);
    assert_eq!(names(&change.start), ["b.capture", "b.web"]);
    assert_eq!(change.add_cameras.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(change.attach.iter().map(|a| a.channel.as_str()).collect::<Vec<_>>(), ["b.rgb"]);
    assert!(change.stop.is_empty() && change.remove_cameras.is_empty() && change.detach.is_empty());
}

#[test]
fn a_camera_that_goes_stops_its_readers_first() {
    let (before, after) = (plan(&config(&[("a", "ball"), ("b", "snow")])), plan(&config(&[("a", "ball")])));
    let change = before.change_to(&after);
    assert_eq!(change.stop, ["b.web", "b.capture"]);
    assert_eq!((change.remove_cameras, change.detach), (vec!["b".to_owned()], vec!["b".to_owned()]));
    assert!(change.start.is_empty());
}

#[test]
fn a_camera_that_is_served_on_or_recorded_keeps_its_other_processes() {
    let before = config(&[("a", "ball")]);
    let mut after = before.clone();
    (after.cameras[0].restream, after.cameras[0].record) = (true, true);
    let change = plan(&before).change_to(&plan(&after));
    assert_eq!(names(&change.start), ["a.record", "restream"]);
    assert!(change.replace.is_empty() && change.stop.is_empty() && change.change_cameras.is_empty());
}

#[test]
fn another_source_replaces_the_capture_and_keeps_viewers() {
    let (before, after) = (plan(&config(&[("a", "ball")])), plan(&config(&[("a", "snow")])));
    let change = before.change_to(&after);
    assert_eq!(names(&change.replace), ["a.capture"]);
    assert_eq!(change.change_cameras.len(), 1);
    assert!(change.start.is_empty() && change.stop.is_empty() && change.attach.is_empty());
}

#[test]
fn parameters_go_where_the_analyser_looks_for_them() {
    let mut config = config(&[("a", "ball")]);
    let analysis = config.cameras[0].analysis.as_mut().unwrap();
    analysis.parameters.insert("threshold".into(), 20.into());
    analysis.parameters.insert("zones".into(), serde_json::json!([{ "name": "door" }]));
    let expected = serde_json::json!({
        "camera": "a", "channel": "a.rgb", "detector": { "kind": "motion", "threshold": 20 },
        "zones": [{ "name": "door" }],
    });
    assert_eq!(plan(&config).attachments["a"].params(), expected);
}

#[test]
fn the_analyser_is_told_of_its_threads_if_somebody_says_so() {
    let args = |config: &Config| match &plan(config).processes[ANALYSER].run {
        Run::Program { args, .. } => args.join(" "),
        other => panic!("{other:?}"),
    };
    let mut config = config(&[("a", "ball")]);
    assert_eq!(args(&config), "");
    config.analyser.threads = Some(0);
    assert_eq!(args(&config), "--threads 0");
}

#[test]
fn limits_are_part_of_a_process() {
    let before = config(&[("a", "ball")]);
    let mut after = before.clone();
    after.limits.insert(Kind::Web, Limit { nice: Some(5), ..Limit::default() });
    assert_eq!(names(&plan(&before).change_to(&plan(&after)).replace), ["a.web"]);
}

#[test]
fn only_pipelines_that_we_wrote_are_sandboxed_by_default() {
    let mut config = config(&[("a", "ball")]);
    config.cameras.push(Camera::new("mine".into(), Source::Pipeline("videotestsrc ! queue".into())));
    let plan = plan(&config);
    let sandboxed = |name: &str| matches!(plan.processes[name].run, Run::Pipeline { sandboxed: true, .. });
    assert!(sandboxed("a.capture") && sandboxed("mine.web") && !sandboxed("mine.capture"));
}

#[test]
fn elements_are_those_of_all_pipelines() {
    let mut config = config(&[("a", "ball")]);
    config.cameras.push(Camera::new("b".into(), Source::Rtsp("rtsp://cam/1".into())));
    let plan = plan(&config);
    let elements = plan.elements();
    for element in ["videotestsrc", "rtspsrc", "rtph264depay", "h264parse", "decodebin3", "valkkashmsink", "fmp4wssink"]
    {
        assert!(elements.contains(element), "{element} is not in {elements:?}");
    }
}

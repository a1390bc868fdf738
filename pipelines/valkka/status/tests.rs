use serde_json::value::RawValue;
use valkka_command::Event;

use super::*;
use crate::{
    camera::{Camera, Source},
    process::{Setup, Spec},
};

fn board() -> Board {
    let source = Source::Rtsp("rtsp://u:p@cam/1".into());
    let board = Board::default();
    board.add_camera(&Camera::new("lobby".into(), source));
    for (name, kind) in [("lobby.capture", Kind::Capture), ("lobby.web", Kind::Web)] {
        board.add_process(&Spec {
            name: name.into(),
            camera: Some("lobby".into()),
            kind,
            program: "true".into(),
            args: Vec::new(),
            env: Vec::new(),
            on_line: None,
            setup: Setup::default(),
            may_end: false,
        });
    }
    board.process_runs("lobby.capture", 41);
    board
}

#[test]
fn detections_make_a_camera_live_and_pass_through_unchanged() {
    let board = board();
    let mut events = board.events();
    let line = r#"{"v":1,"camera":"lobby","pts":12345678901234567890,"age_ms":12.5,"objects":[{"id":1}],"new":{}}"#;
    assert!(board.analysed(line));
    let camera = &board.status().cameras[0];
    assert_eq!((camera.state, camera.objects), (State::Live, 1));
    assert!(events.try_recv().unwrap().starts_with(r#"{"type":"status""#));
    assert_eq!(&*events.try_recv().unwrap(), format!(r#"{{"type":"detections","value":{line}}}"#));
}

#[test]
fn lives_of_objects_pass_through_unchanged() {
    let board = board();
    let mut events = board.events();
    let line = r#"{"v":1,"type":"new","before":{},"after":{"camera":"lobby","label":"person"}}"#;
    assert!(board.analysed(line));
    assert_eq!(&*events.try_recv().unwrap(), format!(r#"{{"type":"object","value":{line}}}"#));
    assert!(!board.analysed(&line.replace("camera", "whose")));
    assert_eq!(board.status().cameras[0].state, State::Connecting, "it was no frame");
}

#[test]
fn what_the_analyser_tells_as_events_is_told_on() {
    let board = board();
    let mut events = board.events();
    let life = r#"{"v":1,"type":"new","before":{},"after":{"camera":"lobby","id":"1.5-7","label":"person"}}"#;
    let value = RawValue::from_string(life.to_owned()).unwrap();
    board.process_event("analyse", &Event { name: "object".into(), value });
    assert_eq!(&*events.try_recv().unwrap(), format!(r#"{{"type":"object","value":{life}}}"#));
    assert_eq!(board.seen.newest()[0].get(), life, "also for those who come later");
}

#[test]
fn other_lines_are_not_detections() {
    let board = board();
    assert!(!board.analysed("hello"));
    assert!(!board.analysed(r#"{"objects":[]}"#));
    assert_eq!(board.status().cameras[0].state, State::Connecting);
}

#[test]
fn what_is_said_of_a_client_of_the_analyser_passes_through() {
    let board = board();
    let mut events = board.events();
    let line = r#"{"camera":"lobby-client","objects":[]}"#;
    assert!(board.analysed(line));
    assert_eq!(&*events.try_recv().unwrap(), format!(r#"{{"type":"detections","value":{line}}}"#));
    assert_eq!(board.status().cameras[0].state, State::Connecting, "it is no frame of the camera's own channel");
}

#[test]
fn only_the_capture_process_loses_a_camera() {
    let board = board();
    board.process_runs("lobby.web", 42);
    board.process_waits("lobby.web", "killed", true);
    assert_eq!(board.status().cameras[0].state, State::Connecting);
    board.process_waits("lobby.capture", "killed", true);
    let status = board.status();
    assert_eq!((status.cameras[0].state, status.cameras[0].reason.as_deref()), (State::Lost, Some("killed")));
    assert_eq!((status.processes[1].restarts, status.processes[1].state), (1, ProcessState::Waiting));
}

#[test]
fn a_camera_whose_capture_is_given_up_or_told_to_stop_is_stopped_until_that_runs_again() {
    for stop in [
        (|board: &Board| board.process_given_up("lobby.capture", "no such element")) as fn(&Board),
        |board| board.process_stops("lobby.capture", true),
        |board| board.process_stopped("lobby.capture", true),
    ] {
        let board = board();
        stop(&board);
        // What was on its way.
        board.served("lobby", 7, 1);
        let camera = &board.status().cameras[0];
        assert!(camera.state == State::Stopped && camera.reason.is_some(), "{camera:?}");
        board.process_runs("lobby.capture", 43);
        assert_eq!(board.status().cameras[0].state, State::Connecting);
    }
    let replaced = board();
    replaced.process_stops("lobby.capture", false);
    assert_eq!(replaced.status().cameras[0].state, State::Connecting);
}

#[test]
fn the_status_holds_no_password() {
    let text = serde_json::to_string(&board().status()).unwrap();
    assert!(text.contains("rtsp://***@cam/1"), "{text}");
}

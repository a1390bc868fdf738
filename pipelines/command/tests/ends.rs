//! Both ends, in one process: what they promise each other, and what they do with a peer that lies or stands still.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::mpsc,
    thread,
    time::Duration,
};

use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use valkka_command::{Backend, CallError, Closed, EventError, Frontend, Handlers, MAX_MESSAGE, ProtocolError};

const SOON: Duration = Duration::from_secs(30);

fn ends() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn framed(json: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(json.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes
}

/// The next message on a bare socket.
fn heard(stream: &mut UnixStream) -> Value {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut json = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn echo() -> Handlers<()> {
    let mut handlers = Handlers::new();
    handlers.on("echo", |(): &mut (), value: Value| Ok::<_, String>(value));
    handlers.on("repeat", |(): &mut (), times: usize| Ok::<_, String>("x".repeat(times)));
    handlers
}

/// A backend that serves `echo` in a thread, and its frontend.
fn served() -> (Frontend, thread::JoinHandle<Result<(), Closed>>) {
    let (ours, theirs) = ends();
    let backend = thread::spawn(move || Backend::new(theirs).unwrap().serve(&mut echo(), &mut ()));
    (Frontend::new(ours, |_| ()).unwrap(), backend)
}

#[test]
fn a_backend_ends_when_its_frontend_is_gone() {
    let (frontend, backend) = served();
    assert_eq!(frontend.call_as::<Vec<u8>>("echo", &[1, 2], SOON), Ok(vec![1, 2]));
    drop(frontend);
    assert_eq!(backend.join().unwrap(), Ok(()));
}

#[test]
fn many_threads_each_get_their_own_answer() {
    let (frontend, _backend) = served();
    thread::scope(|scope| {
        for number in 0..8_u64 {
            let frontend = &frontend;
            scope.spawn(move || {
                for round in 0..50 {
                    assert_eq!(frontend.call_as("echo", &(number, round), SOON), Ok((number, round)));
                }
            });
        }
    });
}

#[test]
fn an_unknown_command_is_answered_with_those_that_are_known() {
    let (frontend, _backend) = served();
    let error = frontend.call("ecko", &(), SOON).unwrap_err().to_string();
    assert!(error.contains("ecko") && error.contains("echo, ping, repeat"), "{error}");
    assert_eq!(frontend.call_as("commands", &(), SOON), Ok(vec!["commands", "echo", "ping", "repeat"].map_owned()));
    let error = frontend.call("repeat", "often", SOON).unwrap_err().to_string();
    assert!(error.contains("repeat") && error.contains("parameters"), "{error}");
}

trait MapOwned {
    fn map_owned(self) -> Vec<String>;
}

impl MapOwned for Vec<&str> {
    fn map_owned(self) -> Vec<String> {
        self.into_iter().map(str::to_owned).collect()
    }
}

#[test]
fn what_is_too_long_fails_in_words_and_nothing_else_does() {
    let (frontend, _backend) = served();
    let Err(CallError::Refused(why)) = frontend.call("repeat", &MAX_MESSAGE, SOON) else { panic!("it is too long") };
    assert!(why.contains("too long"), "{why}");
    let Err(CallError::Unfit(why)) = frontend.call("echo", &"x".repeat(MAX_MESSAGE), SOON) else { panic!("too long") };
    assert!(why.contains("too long"), "{why}");
    assert_eq!(frontend.call_as("ping", &(), SOON), Ok("pong".to_owned()));
}

#[test]
fn the_descriptor_is_readable_while_there_are_calls() {
    let (mut bare, theirs) = ends();
    let mut backend = Backend::new(theirs).unwrap();
    let readable = |backend: &Backend, limit: Duration| {
        let limit = Timespec::try_from(limit).unwrap();
        poll(&mut [PollFd::new(backend, PollFlags::IN)], Some(&limit)).unwrap() == 1
    };
    assert!(!readable(&backend, Duration::ZERO));
    assert!(backend.receive().unwrap().is_none());
    bare.write_all(&framed(r#"{"call":1,"command":"a"}"#)).unwrap();
    bare.write_all(&framed(r#"{"call":2,"command":"b"}"#)).unwrap();
    assert!(readable(&backend, SOON));
    let (first, second) = (backend.wait().unwrap(), backend.wait().unwrap());
    assert!(backend.receive().unwrap().is_none() && !readable(&backend, Duration::ZERO));
    // In any order, also later.
    second.done();
    first.answer(Err::<(), _>("not now"));
    assert_eq!(heard(&mut bare), json!({ "answer": 2, "result": null }));
    assert_eq!(heard(&mut bare), json!({ "answer": 1, "error": { "message": "not now" } }));
    drop(bare);
    assert!(readable(&backend, SOON));
    assert_eq!(backend.receive().unwrap_err(), Closed::HungUp);
}

#[test]
fn a_call_that_is_dropped_fails_and_a_backend_that_ends_answers_first() {
    let (mut bare, theirs) = ends();
    let mut backend = Backend::new(theirs).unwrap();
    bare.write_all(&framed(r#"{"call":1,"command":"a"}"#)).unwrap();
    drop(backend.wait().unwrap());
    let answer = heard(&mut bare);
    assert!(answer["error"]["message"].as_str().unwrap().contains("drop"), "{answer}");
    backend.events().send("last", "words").unwrap();
    let events = backend.events();
    drop(backend);
    assert_eq!(heard(&mut bare), json!({ "event": "last", "value": "words" }));
    assert_eq!(bare.read(&mut [0]).unwrap(), 0);
    assert!(matches!(events.send("more", "words"), Err(EventError::Closed)));
}

#[test]
fn a_frontend_that_does_not_read_costs_events_and_no_time() {
    let (bare, theirs) = ends();
    let backend = Backend::new(theirs).unwrap();
    let events = backend.events();
    let kilobytes = "x".repeat(100_000);
    let dropped = (0..200).filter(|_| events.send("picture", &kilobytes).is_err()).count();
    // 20 MB offered, 4 MB and a socket's buffer kept.
    assert!((100..200).contains(&dropped), "{dropped} dropped");
    // On a busy machine the socket's buffer may be filled only now, which makes room for one or two more.
    let counted = (0..20).find_map(|_| match events.send("picture", &kilobytes) {
        Err(EventError::Dropped { dropped }) => Some(dropped),
        _ => None,
    });
    assert_eq!(counted.expect("it is full"), dropped as u64 + 1);
    drop(bare);
}

#[test]
fn a_backend_that_takes_nothing_costs_its_caller_the_time_limit_only() {
    let (ours, _theirs) = ends();
    let frontend = Frontend::new(ours, |_| ()).unwrap();
    let limit = Duration::from_millis(100);
    // The socket's buffer is full after some.
    let errors = (0..8).map(|_| frontend.call("echo", &"x".repeat(500_000), limit).unwrap_err());
    let errors: Vec<_> = errors.collect();
    assert!(matches!(errors[0], CallError::TimedOut { .. }), "{:?}", errors[0]);
}

#[test]
fn answers_that_nobody_waits_for_are_ignored() {
    let (ours, mut bare) = ends();
    let (told, events) = mpsc::channel();
    let frontend = Frontend::new(ours, move |event| told.send(event.name).unwrap()).unwrap();
    for json in [r#"{"answer":99,"result":1}"#, r#"{"call":1,"command":"you do it"}"#, r#"{"event":"here"}"#] {
        bare.write_all(&framed(json)).unwrap();
    }
    assert_eq!(events.recv_timeout(SOON).unwrap(), "here");
    let backend = thread::spawn(move || Backend::new(bare).unwrap().serve(&mut echo(), &mut ()));
    assert_eq!(frontend.call_as("echo", &5, SOON), Ok(5));
    drop(frontend);
    backend.join().unwrap().unwrap();
}

#[test]
fn a_frontend_that_lies_is_told_apart_from_one_that_ends() {
    for (bytes, expected) in [
        (u32::MAX.to_le_bytes().to_vec(), ProtocolError::TooLong(u32::MAX as usize)),
        (framed("{}"), ProtocolError::Incomplete("a message has one of `call`, `answer` and `event`")),
    ] {
        let (mut bare, theirs) = ends();
        let mut backend = Backend::new(theirs).unwrap();
        bare.write_all(&bytes).unwrap();
        assert_eq!(backend.wait().unwrap_err(), Closed::Protocol(expected));
        // And no more is believed.
        assert_eq!(backend.wait().unwrap_err(), Closed::HungUp);
    }
}

#[test]
fn a_backend_that_lies_fails_every_call_with_the_reason() {
    let (ours, mut bare) = ends();
    let frontend = Frontend::new(ours, |_| ()).unwrap();
    let lying = thread::spawn(move || {
        heard(&mut bare);
        bare.write_all(&framed("nonsense")).unwrap();
        bare
    });
    let error = frontend.call("echo", &(), SOON).unwrap_err();
    assert!(matches!(&error, CallError::Gone(Some(ProtocolError::NotJson(_)))), "{error}");
    assert_eq!(frontend.call("echo", &(), SOON).unwrap_err(), error);
    lying.join().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn noise_ends_a_conversation_and_never_a_program(noise in prop::collection::vec(any::<u8>(), 0..3000)) {
        let (mut bare, theirs) = ends();
        let mut backend = Backend::new(theirs).unwrap();
        let (ours, mut liar) = ends();
        let frontend = Frontend::new(ours, |_| ()).unwrap();
        bare.write_all(&noise).unwrap();
        liar.write_all(&noise).unwrap();
        drop((bare, liar));
        while backend.wait().is_ok() {}
        let failed = frontend.call("echo", &(), SOON).is_err();
        prop_assert!(failed);
    }
}

mod asynchronous {
    use valkka_command::asynchronous;

    use super::*;

    async fn served() -> (asynchronous::Frontend, tokio::task::JoinHandle<Result<(), Closed>>) {
        let (ours, theirs) = ends();
        let mut backend = asynchronous::Backend::new(theirs).unwrap();
        let task = tokio::spawn(async move { backend.serve(&mut echo(), &mut ()).await });
        (asynchronous::Frontend::new(ours).unwrap().0, task)
    }

    #[tokio::test]
    async fn calls_are_answered_pings_too_and_the_end_is_noticed() {
        let (frontend, backend) = served().await;
        assert_eq!(frontend.call_as("echo", "hello", SOON).await, Ok("hello".to_owned()));
        assert_eq!(frontend.call_as("ping", &(), SOON).await, Ok("pong".to_owned()));
        let calls: Vec<_> = (0..20_u32)
            .map(|number| {
                let frontend = frontend.clone();
                tokio::spawn(async move { frontend.call_as::<u32>("echo", &number, SOON).await.unwrap() == number })
            })
            .collect();
        for call in calls {
            assert!(call.await.unwrap());
        }
        drop(frontend);
        assert_eq!(backend.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_backend_that_ends_fails_the_calls_that_wait() {
        let (ours, theirs) = ends();
        let (frontend, mut events) = asynchronous::Frontend::new(ours).unwrap();
        let mut backend = asynchronous::Backend::new(theirs).unwrap();
        backend.events().send("hello", &1).unwrap();
        assert_eq!(events.recv().await.unwrap().name, "hello");
        let waiting = tokio::spawn({
            let frontend = frontend.clone();
            async move { frontend.call("echo", &(), SOON).await }
        });
        let call = backend.receive().await.unwrap();
        // The call is not answered in words: whoever ends like this has been killed.
        std::mem::forget(call);
        drop(backend);
        assert_eq!(waiting.await.unwrap().unwrap_err(), CallError::Gone(None));
        frontend.closed().await;
        assert_eq!(frontend.call("echo", &(), SOON).await.unwrap_err(), CallError::Gone(None));
    }

    #[tokio::test]
    async fn a_backend_that_does_not_answer_costs_the_time_limit() {
        let (ours, theirs) = ends();
        let (frontend, _events) = asynchronous::Frontend::new(ours).unwrap();
        let limit = Duration::from_millis(50);
        let error = frontend.call("echo", &(), limit).await.unwrap_err();
        assert_eq!(error, CallError::TimedOut { command: "echo".to_owned(), limit });
        // Its late answer is nobody's.
        let backend = thread::spawn(move || Backend::new(theirs).unwrap().serve(&mut echo(), &mut ()));
        assert_eq!(frontend.call_as("echo", &3, SOON).await, Ok(3));
        drop(frontend);
        backend.join().unwrap().unwrap();
    }
}

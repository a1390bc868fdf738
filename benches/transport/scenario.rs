//! What is measured.

/// One arrangement of a writer and readers.
pub struct Scenario {
    /// What it is called; `./dev bench FILTER` looks in here.
    pub title: &'static str,
    /// Frames a second; `None` for as fast as it goes.
    pub fps: Option<u32>,
    /// Whether the frames come from memory that the sink knows nothing of, and have to be copied.
    pub foreign: bool,
    /// Readers that are measured.
    pub readers: usize,
    /// Whether readers want every frame, so that the writer has to wait for them.
    pub every: bool,
    /// Whether there is one more reader, that takes 500 ms for each frame.
    pub slow: bool,
    /// Whether system calls are counted, by strace, in place of time.
    pub calls: bool,
}

const USUAL: Scenario =
    Scenario { title: "", fps: Some(25), foreign: false, readers: 1, every: false, slow: false, calls: false };

/// All of them.
pub const SCENARIOS: [Scenario; 9] = [
    Scenario { title: "full speed, 1 reader, every frame", fps: None, every: true, ..USUAL },
    Scenario { title: "full speed, 4 readers, every frame", fps: None, every: true, readers: 4, ..USUAL },
    Scenario {
        title: "full speed, foreign frames, 1 reader, every frame",
        fps: None,
        every: true,
        foreign: true,
        ..USUAL
    },
    Scenario { title: "25 fps, 1 reader", ..USUAL },
    Scenario { title: "25 fps, 4 readers", readers: 4, ..USUAL },
    Scenario { title: "25 fps, foreign frames, 1 reader", foreign: true, ..USUAL },
    Scenario { title: "25 fps, 1 reader beside one that takes 500 ms per frame", slow: true, ..USUAL },
    Scenario { title: "system calls, 25 fps, 1 reader", calls: true, ..USUAL },
    Scenario { title: "system calls, full speed, 1 reader, every frame", fps: None, every: true, calls: true, ..USUAL },
];

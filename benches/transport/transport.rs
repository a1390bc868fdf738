//! The transports that are compared: how each is asked for the same thing.

use std::path::Path;

/// One way from a process to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Ours.
    Valkka,
    /// shmsink and shmsrc.
    Shm,
    /// unixfdsink and unixfdsrc, from GStreamer 1.24.
    Unixfd,
    /// No reader at all: the picture is made and thrown away.
    Nobody,
}

impl Transport {
    /// Ours first: ratios refer to it.
    pub const ALL: [Transport; 4] = [Transport::Valkka, Transport::Shm, Transport::Unixfd, Transport::Nobody];

    /// Its name in tables and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Valkka => "valkkashm",
            Transport::Shm => "shm",
            Transport::Unixfd => "unixfd",
            Transport::Nobody => "nobody",
        }
    }

    /// The transport of that name.
    pub fn named(name: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.name() == name)
    }

    /// Whether this GStreamer has it.
    pub fn is_installed(self) -> bool {
        let element = self.sink(Path::new("x")).split(' ').next().map(str::to_owned);
        element.is_some_and(|element| gst::ElementFactory::find(&element).is_some())
    }

    /// The end of the writer's pipeline. Each has room for about ten frames.
    pub fn sink(self, socket: &Path) -> String {
        let socket = socket.display();
        match self {
            Transport::Valkka => {
                format!(
                    "valkkashmsink socket-path={socket} wait-for-reader=true lossless-timeout=20000000000 sync=false"
                )
            }
            Transport::Shm => format!("shmsink socket-path={socket} wait-for-connection=true sync=false"),
            Transport::Unixfd => format!("unixfdsink socket-path={socket} sync=false"),
            Transport::Nobody => "fakesink sync=false".to_owned(),
        }
    }

    /// The beginning of a reader's pipeline. `every` frame, or the newest one, where there is a choice.
    pub fn source(self, socket: &Path, every: bool) -> String {
        let socket = socket.display();
        match self {
            Transport::Valkka => {
                let policy = if every { "lossless" } else { "latest" };
                format!("valkkashmsrc socket-path={socket} policy={policy}")
            }
            Transport::Shm => format!("shmsrc socket-path={socket} is-live=true ! {}", super::peer::CAPS),
            Transport::Unixfd => format!("unixfdsrc socket-path={socket}"),
            Transport::Nobody => "fakesrc num-buffers=0".to_owned(),
        }
    }
}

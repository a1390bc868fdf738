//! `valkka.toml`: what is to run, checked whole before anything starts.
//!
//! ```text
//! text ──check──► tree of values ──read──► Config ──► plan of processes ([`crate::plan`])
//!        keys, kinds, ${...}      meaning, references
//!          └──────────── mistakes, all at once ───────┘
//! ```
//!
//! Every mistake is told with file, line and what is allowed there ([`mistake`]). [`keys`] is the list of what can be
//! said at all; `docs/configuration.md` explains it to users, `valkka schema` to editors.

mod check;
pub mod edit;
mod example;
mod expand;
pub mod keys;
mod mistake;
mod read;
pub mod schema;
mod units;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use self::{example::EXAMPLE, mistake::Mistakes};
use self::{expand::Surroundings, read::Reader};
use crate::{
    camera::Camera,
    process::{Kind, hooks::HookLists},
    template::Templates,
    web::control::Zone,
};

/// The file that `valkka run` looks for when it is not told otherwise, in the current folder and in `/etc/valkka`.
pub const FILE_NAME: &str = "valkka.toml";

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub file: Option<PathBuf>,
    pub server: Server,
    /// In the order of the file.
    pub cameras: Vec<Camera>,
    /// The analyser, and what it looks for where a camera does not say otherwise.
    pub analyser: Analyser,
    pub recording: Recording,
    pub restream: Restream,
    pub templates: Templates,
    pub runner: Runner,
    pub sandbox: Sandbox,
    pub limits: BTreeMap<Kind, Limit>,
    pub pipelines: Vec<Pipeline>,
    pub workers: Vec<Worker>,
    pub log_format: LogFormat,
    /// As the file says it, whatever options say.
    pub lasting: Option<Lasting>,
}

/// What a run keeps as it was when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasting {
    server: Server,
    log_format: LogFormat,
}

impl Lasting {
    /// The tables of the file in which the other one says something else.
    pub fn tables_unlike(&self, other: &Self) -> Vec<String> {
        let tables = [("server", self.server != other.server), ("log", self.log_format != other.log_format)];
        tables.into_iter().filter(|(_, unlike)| *unlike).map(|(table, _)| table.to_owned()).collect()
    }
}

/// The one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub token: Option<Secret>,
    pub tls: Option<Tls>,
    /// Whose pages may use the API beside our own.
    pub allowed_origins: Vec<String>,
}

/// Files in PEM format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        crate::mask::keep_secret(&text);
        Self(text)
    }

    /// For whoever has to compare or send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The worker that looks at the cameras.
#[derive(Clone, Debug, PartialEq)]
pub struct Analyser {
    /// Looked for beside `valkka`, then in PATH.
    pub program: String,
    /// How many frames it looks at beside each other; `None`: as many as it does by itself.
    pub threads: Option<i64>,
    /// For cameras that have none of their own; `None` if none is to be looked at.
    pub default: Option<Analysis>,
}

/// What is looked for in a camera's frames, at which size and rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    pub detector: String,
    /// Width of the RGB frames; the height follows from the picture's shape.
    pub width: u32,
    /// Frames a second, at most.
    pub fps: u32,
    /// Passed on to the detector as they are.
    pub parameters: serde_json::Map<String, serde_json::Value>,
}

impl Analysis {
    /// The zones among its parameters, which the analyser knows as polygons.
    pub fn zones(&self) -> Vec<Zone> {
        #[derive(serde::Deserialize)]
        struct Polygon {
            name: String,
            polygon: Vec<[f64; 2]>,
        }
        let zones = self.parameters.get("zones").cloned().unwrap_or_default();
        let zones: Vec<Polygon> = serde_json::from_value(zones).unwrap_or_default();
        zones.into_iter().map(|zone| Zone { name: zone.name, points: zone.polygon }).collect()
    }

    /// Other zones; whatever else was said of one of the same name stays.
    pub fn set_zones(&mut self, zones: &[Zone]) {
        let before = self.parameters.get("zones").and_then(|zones| zones.as_array().cloned()).unwrap_or_default();
        let zone = |zone: &Zone| {
            let known = before.iter().find(|known| known["name"] == zone.name.as_str());
            let mut zone_now = known.and_then(|known| known.as_object().cloned()).unwrap_or_default();
            zone_now.insert("name".to_owned(), zone.name.as_str().into());
            zone_now.insert("polygon".to_owned(), serde_json::json!(zone.points));
            serde_json::Value::Object(zone_now)
        };
        self.parameters.insert("zones".to_owned(), zones.iter().map(zone).collect());
    }
}

impl Default for Analysis {
    fn default() -> Self {
        Self { detector: "motion".to_owned(), width: 640, fps: 10, parameters: serde_json::Map::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    pub folder: PathBuf,
    pub segment_s: u64,
    pub max_age_s: u64,
    /// Of one camera.
    pub max_size_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restream {
    pub listen: SocketAddr,
}

/// What runs pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// `valkka pipeline`: with commands, and no description in an argument list.
    Valkka,
    GstLaunch,
}

/// Whose pipelines may touch few files only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Those of the built-in templates.
    BuiltIn,
    All,
    None,
}

/// What processes of a kind may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    pub nice: Option<i8>,
    /// Processors, by number.
    pub cpus: Option<Vec<u16>>,
    /// Memory that a process has for itself or shares (PSS), in bytes.
    pub memory_bytes: Option<u64>,
}

/// A pipeline beside those of the cameras.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    pub name: String,
    pub camera: Option<String>,
    pub what: What,
    pub values: BTreeMap<String, String>,
    pub hooks: HookLists,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Template(String),
    Description(String),
}

/// A program of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    pub name: String,
    pub camera: Option<String>,
    /// Program and arguments; not empty.
    pub command: Vec<String>,
    pub hooks: HookLists,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{heading}\n{0}", heading = .0.heading())]
    Mistakes(Mistakes),
    #[error(
        "there is no {FILE_NAME} here, and none in /etc/valkka: `valkka init` writes one; or name cameras, as in `valkka run rtsp://...`"
    )]
    Nowhere,
}

/// The file that there is: in the current folder, else in `/etc/valkka`.
pub fn find() -> Result<PathBuf, ConfigError> {
    let places = [PathBuf::from(FILE_NAME), Path::new("/etc/valkka").join(FILE_NAME)];
    places.into_iter().find(|path| path.is_file()).ok_or(ConfigError::Nowhere)
}

impl Default for Config {
    /// What an empty file means.
    fn default() -> Self {
        let nothing = Surroundings { variable: &|_| None, folder: Path::new(""), may_refer: true };
        read::read(&check::Entries::default(), &nothing, &mut Vec::new())
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Io { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        // Absolute, because processes that get paths out of it are not bound to run in this folder.
        let folder = fs::canonicalize(path).map_err(failed)?.parent().map(Path::to_owned).unwrap_or_default();
        let variable = |name: &str| std::env::var(name).ok();
        let around = Surroundings { variable: &variable, folder: &folder, may_refer: true };
        let config = Self::parse(&path.display().to_string(), &text, &around).map_err(ConfigError::Mistakes)?;
        let lasting = Lasting { server: config.server.clone(), log_format: config.log_format };
        Ok(Self { file: Some(path.to_owned()), lasting: Some(lasting), ..config })
    }

    fn parse(file: &str, text: &str, around: &Surroundings<'_>) -> Result<Self, Mistakes> {
        let (entries, mut mistakes) = check::check(text, keys::FILE, around);
        let config = read::read(&entries, around, &mut mistakes);
        if mistakes.is_empty() { Ok(config) } else { Err(Mistakes::new(file, text, mistakes)) }
    }

    /// A camera that somebody wants to add while this configuration runs: the keys of a `[cameras.NAME]` table, and
    /// `name`, as JSON.
    pub fn camera_of_json(&self, camera: &serde_json::Value) -> Result<Camera, String> {
        let mut table = camera.as_object().ok_or("a camera is an object with \"name\" and \"uri\"")?.clone();
        let Some(serde_json::Value::String(name)) = table.remove("name") else {
            return Err("a camera needs a \"name\"".to_owned());
        };
        let text = toml::to_string(&serde_json::json!({ "cameras": { name: table } }));
        let text = text.map_err(|error| format!("not a camera: {error}"))?;
        let folder = self.folder();
        // A client of the API has no business with this process's environment and files.
        let around = Surroundings { variable: &|_| None, folder: &folder, may_refer: false };
        let (entries, mut mistakes) = check::check(&text, keys::FILE, &around);
        let cameras = Reader { folder: &folder, mistakes: &mut mistakes }.cameras(&entries, self);
        if !mistakes.is_empty() {
            return Err(Mistakes::new("camera", &text, mistakes).brief());
        }
        cameras.into_iter().next().ok_or_else(|| "this camera is not enabled".to_owned())
    }

    /// Relative paths of the configuration start here.
    fn folder(&self) -> PathBuf {
        let folder = self.file.as_deref().and_then(|file| fs::canonicalize(file).ok());
        folder.and_then(|file| file.parent().map(Path::to_owned)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;

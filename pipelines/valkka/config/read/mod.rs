//! The second look at a file: what do its values mean, and do they fit together?

mod cameras;
mod processes;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    Analyser, Analysis, Config, Limit, LogFormat, Recording, Restream, Runner, Sandbox, Secret, Server, Tls,
    check::Entries,
    expand::Surroundings,
    keys,
    mistake::{Mistake, meant, one_of},
};
use crate::{
    process::{Kind, hooks::HookLists},
    template::Templates,
    web::access::Token,
};

/// Reads the tree of a whole file. What is wrong in it is added to `mistakes`, and its default stands in its place.
pub fn read(file: &Entries, around: &Surroundings<'_>, mistakes: &mut Vec<Mistake>) -> Config {
    let mut reader = Reader { folder: around.folder, mistakes };
    let mut config = Config {
        file: None,
        server: reader.server(file),
        cameras: Vec::new(),
        analyser: reader.analyser(file),
        recording: reader.recording(file),
        restream: reader.restream(file),
        templates: reader.templates(file),
        runner: match in_table(file, "processes", "runner") {
            Some("gst-launch") => Runner::GstLaunch,
            _ => Runner::Valkka,
        },
        sandbox: match in_table(file, "processes", "sandbox") {
            Some("all") => Sandbox::All,
            Some("none") => Sandbox::None,
            _ => Sandbox::BuiltIn,
        },
        limits: reader.limits(file),
        pipelines: Vec::new(),
        workers: Vec::new(),
        log_format: match in_table(file, "log", "format") {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        },
        lasting: None,
    };
    config.cameras = reader.cameras(file, &config);
    config.pipelines = reader.pipelines(file, &config);
    config.workers = reader.workers(file, &config);
    config
}

fn in_table<'a>(file: &'a Entries, table: &str, key: &str) -> Option<&'a str> {
    Some(file.table(table)?.text(key)?.0)
}

pub struct Reader<'a> {
    pub folder: &'a Path,
    pub mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    fn wrong(&mut self, span: Range<usize>, key: &str, what: impl Into<String>, allowed: impl Into<String>) {
        let (what, allowed) = (what.into(), allowed.into());
        self.mistakes.push(Mistake { span, key: key.to_owned(), what, allowed, show: true });
    }

    fn address(&mut self, table: Option<&Entries>, key: &str, default: &str) -> SocketAddr {
        let default = default.parse().expect("a default is an address");
        let Some((text, span)) = table.and_then(|table| table.text("listen")) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.wrong(
                span,
                key,
                format!("{text:?} is no address"),
                "an IP address and a port, as in \"0.0.0.0:8080\"",
            );
            default
        })
    }

    fn server(&mut self, file: &Entries) -> Server {
        let table = file.table("server");
        let listen = self.address(table, "server.listen", "127.0.0.1:8080");
        let text = |key| table.and_then(|table| table.text(key));
        let token = text("token").and_then(|(token, span)| {
            // Checked here, so that an empty variable does not let everybody in.
            if let Err(error) = Token::new(token) {
                let (key, allowed) = ("server.token".to_owned(), "as from `openssl rand -hex 16`".to_owned());
                self.mistakes.push(Mistake { span, key, what: error.to_string(), allowed, show: false });
                return None;
            }
            Some(Secret::new(token.to_owned()))
        });
        let mut file_of = |key: &'static str| {
            let (path, span) = text(key)?;
            self.existing_file(path, span, &format!("server.{key}"))
        };
        let (certificate, key) = (file_of("tls-certificate"), file_of("tls-key"));
        let tls = certificate.clone().zip(key.clone()).map(|(certificate, key)| Tls { certificate, key });
        for (has, lacks) in [("tls-certificate", "tls-key"), ("tls-key", "tls-certificate")] {
            if let (Some((_, span)), None) = (text(has), text(lacks)) {
                self.wrong(
                    span,
                    &format!("server.{has}"),
                    format!("there is no {lacks}"),
                    format!("add {lacks} = \"FILE\""),
                );
            }
        }
        let allowed_origins = table.and_then(|table| table.texts("allowed-origins")).unwrap_or_default().to_vec();
        Server { listen, token, tls, allowed_origins }
    }

    fn existing_file(&mut self, path: &str, span: Range<usize>, key: &str) -> Option<PathBuf> {
        let full = self.folder.join(path);
        if full.is_file() {
            return Some(full);
        }
        let place = format!("a file; relative paths start at {}", self.folder.display());
        self.wrong(span, key, format!("{path}: no such file"), place);
        None
    }

    fn analyser(&mut self, file: &Entries) -> Analyser {
        let table = file.table("analysis");
        let program = in_table(file, "analysis", "program").unwrap_or("valkka-analyse").to_owned();
        let own = program != "valkka-analyse";
        let default = match table {
            Some(table) => self.analysis(table, "analysis", Some(Analysis::default()), own),
            None => Some(Analysis::default()),
        };
        let threads = table.and_then(|table| table.integer("threads"));
        Analyser { program, threads, default }
    }

    /// What a table says of analysis, on top of what holds otherwise. Another detector starts with parameters of its own.
    fn analysis(&mut self, table: &Entries, path: &str, base: Option<Analysis>, own_program: bool) -> Option<Analysis> {
        if table.flag("enabled") == Some(false) {
            return None;
        }
        if base.is_none() && table.flag("enabled").is_none() {
            return None;
        }
        let mut analysis = base.unwrap_or_default();
        if let Some((detector, span)) = table.text("detector") {
            if !own_program && !keys::DETECTORS.contains(&detector) {
                let allowed = format!("allowed: {}", one_of(keys::DETECTORS));
                self.wrong(span, &format!("{path}.detector"), format!("{detector:?} is no detector"), allowed);
            } else if detector != analysis.detector {
                (analysis.detector, analysis.parameters) = (detector.to_owned(), serde_json::Map::new());
            }
        }
        let number = |key| table.integer(key).and_then(|number| u32::try_from(number).ok());
        analysis.width = number("width").unwrap_or(analysis.width);
        analysis.fps = number("fps").unwrap_or(analysis.fps);
        for (name, value) in table.free("parameters").into_iter().flatten() {
            analysis.parameters.insert(name.clone(), value.clone());
        }
        Some(analysis)
    }

    fn recording(&mut self, file: &Entries) -> Recording {
        let table = file.table("recording");
        let quantity = |key| table.and_then(|table| table.quantity(key));
        let folder = in_table(file, "recording", "folder").unwrap_or("recordings");
        Recording {
            folder: self.folder.join(folder),
            segment_s: quantity("segment").unwrap_or(600),
            max_age_s: quantity("max-age").unwrap_or(7 * 86_400),
            max_size_bytes: quantity("max-size"),
        }
    }

    fn restream(&mut self, file: &Entries) -> Restream {
        Restream { listen: self.address(file.table("restream"), "restream.listen", "127.0.0.1:8554") }
    }

    fn templates(&mut self, file: &Entries) -> Templates {
        let Some((folder, span)) = file.text("templates") else { return Templates::built_in() };
        Templates::with_folder(&self.folder.join(folder)).unwrap_or_else(|error| {
            self.wrong(span, "templates", error.to_string(), "a folder of files NAME.launch");
            Templates::built_in()
        })
    }

    fn limits(&mut self, file: &Entries) -> BTreeMap<Kind, Limit> {
        let kinds = [
            ("capture", Kind::Capture),
            ("web", Kind::Web),
            ("analyse", Kind::Analyse),
            ("record", Kind::Record),
            ("restream", Kind::Restream),
            ("pipeline", Kind::Pipeline),
            ("worker", Kind::Worker),
        ];
        let mut limits = BTreeMap::new();
        for (name, kind) in kinds {
            let Some(table) = file.table("limits").and_then(|limits| limits.table(name)) else { continue };
            let cpus = table.text("cpus").and_then(|(text, span)| {
                let cpus = processors(text);
                if cpus.is_none() {
                    let key = format!("limits.{name}.cpus");
                    let what = format!("{text:?} names no processors");
                    self.wrong(span, &key, what, "numbers and ranges from 0 to 1023, as in \"0-3,6\"");
                }
                cpus
            });
            let nice = table.integer("nice").and_then(|nice| i8::try_from(nice).ok());
            limits.insert(kind, Limit { nice, cpus, memory_bytes: table.quantity("memory") });
        }
        limits
    }

    fn known_template(&mut self, name: &str, span: Range<usize>, key: &str, templates: &Templates) -> Option<String> {
        if templates.get(name).is_some() {
            return Some(name.to_owned());
        }
        let names: Vec<_> = templates.iter().map(|template| template.name.as_str()).collect();
        let allowed = match meant(name, names.iter().copied()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("allowed: {}", one_of(&names)),
        };
        self.wrong(span, key, format!("there is no template {name:?}"), allowed);
        None
    }

    fn known_camera(&mut self, table: &Entries, path: &str, file: &Entries) -> Option<String> {
        let (name, span) = table.text("camera")?;
        let cameras: Vec<_> =
            file.table("cameras").into_iter().flat_map(Entries::iter).map(|(name, _, _)| name.as_str()).collect();
        if cameras.contains(&name) {
            return Some(name.to_owned());
        }
        let allowed = match (meant(name, cameras.iter().copied()), cameras.is_empty()) {
            (Some(meant), _) => format!("did you mean {meant:?}?"),
            (None, true) => "add the camera first".to_owned(),
            (None, false) => format!("allowed: {}", one_of(&cameras)),
        };
        self.wrong(span, &format!("{path}.camera"), format!("there is no camera {name:?}"), allowed);
        None
    }

    fn hooks(&mut self, table: &Entries, path: &str, runner: Runner) -> HookLists {
        for name in ["start-hooks", "stop-hooks"] {
            if let (Runner::GstLaunch, Some(node)) = (runner, table.get(name)) {
                let what = "gst-launch-1.0 takes no commands";
                self.wrong(node.span.clone(), &format!("{path}.{name}"), what, "[processes] runner = \"valkka\"");
            }
        }
        HookLists { start: table.hooks("start-hooks").to_vec(), stop: table.hooks("stop-hooks").to_vec() }
    }
}

/// `0-3,6`.
fn processors(text: &str) -> Option<Vec<u16>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|&number| number < 1024);
        let (from, to) = (number(from)?, number(to)?);
        if from > to {
            return None;
        }
        cpus.extend(from..=to);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

//! `valkka template`: the pipeline descriptions, as files and as lines for a shell.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Unknown, print};
use crate::{
    camera::{self, Camera},
    cli,
    config::{self, Config},
    mask::mask,
    plan,
    requirements::GST_LAUNCH,
    runtime_dir,
    template::{Template, shell},
};

pub fn template(options: &cli::Template) -> Result<()> {
    match options {
        cli::Template::List { config } => list(&configuration(config.as_ref())?),
        cli::Template::Show { name, camera, secrets, config } => {
            let config = configuration(config.as_ref())?;
            let unknown = || Unknown(format!("there is no template {name:?}: `valkka template list` shows them"));
            let template = config.templates.get(name).ok_or_else(unknown)?;
            match camera {
                Some(camera) => print(&line(template, &config, camera, *secrets)?),
                None => print(template.text()),
            }
        }
    }
    Ok(())
}

/// The one that was named; else the one that is there; else what holds without any.
fn configuration(path: Option<&PathBuf>) -> Result<Config> {
    let here = Path::new(config::FILE_NAME);
    match path {
        Some(path) => Ok(Config::load(path)?),
        None if here.is_file() => Ok(Config::load(here)?),
        None => Ok(Config::default()),
    }
}

fn list(config: &Config) {
    let longest = config.templates.iter().map(|template| template.name.len()).max().unwrap_or(0);
    for template in config.templates.iter() {
        let whose = template.file.as_ref().map(|file| format!(" [{}]", file.display())).unwrap_or_default();
        print(&format!("{:longest$}  {}{whose}\n", template.name, template.about()));
    }
}

/// A line to paste: what the orchestrator would run for this camera.
fn line(template: &Template, config: &Config, camera: &str, secrets: bool) -> Result<String> {
    let camera = find(config, camera)?;
    let runtime = newest_run().unwrap_or_else(frame_ring::runtime_folder);
    let mut values = plan::values(config, Some(&camera), &runtime)?;
    // A name that is not taken; the orchestrator takes the time of each start.
    values.insert("started".to_owned(), crate::template::Value::Word("by-hand".to_owned()));
    let words = template.fill(&values)?;
    let line = format!("{GST_LAUNCH} {}\n", shell(&words));
    Ok(if secrets { line } else { mask(&line) })
}

/// A camera of the configuration, or one that is named like an argument of `valkka run`.
fn find(config: &Config, camera: &str) -> Result<Camera> {
    if let Some(found) = config.cameras.iter().find(|known| known.name == camera) {
        return Ok(found.clone());
    }
    if camera::is_name(camera) && !Path::new(camera).exists() {
        let names: Vec<_> = config.cameras.iter().map(|camera| camera.name.as_str()).collect();
        let known = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        return Err(Unknown(format!("there is no camera {camera:?} in the configuration: {known}")).into());
    }
    let mut cameras = camera::parse_all(&[camera.to_owned()], config.analyser.default.as_ref(), camera::LATENCY_MS)?;
    Ok(cameras.remove(0))
}

/// The folder of a run that lives: what is pasted then talks to it.
fn newest_run() -> Option<PathBuf> {
    runtime_dir::living_runs().into_iter().last()
}

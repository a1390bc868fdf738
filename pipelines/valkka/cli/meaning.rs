//! What arguments mean: a configuration.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Analysis, Page, Run};
use crate::{
    camera::{self, Camera},
    config::{self, Config, Secret, Tls},
    verbs::Usage,
};

impl Run {
    /// What the arguments mean: a file, or cameras.
    pub fn config(&self) -> Result<Config> {
        let path = match &self.cameras[..] {
            [] => Some(config::find()?),
            [file] if file.ends_with(".toml") => Some(file.into()),
            several => {
                if let Some(file) = several.iter().find(|file| file.ends_with(".toml")) {
                    bail!(Usage(format!("{file} is a configuration: it stands alone, without further cameras")));
                }
                None
            }
        };
        if let Some(path) = path {
            self.is_for_cameras_only(&path)?;
            let mut config = Config::load(&path)?;
            self.page.apply_to(&mut config)?;
            return Ok(config);
        }
        let latency = self.latency.unwrap_or(camera::LATENCY_MS);
        config_of(&self.page, camera::parse_all(&self.cameras, Some(&self.analysis.of_cameras()), latency)?)
    }

    /// A configuration says these itself, for each camera.
    fn is_for_cameras_only(&self, path: &Path) -> Result<()> {
        let Analysis { width, fps } = self.analysis;
        let given = [("--latency", self.latency), ("--analysis-width", width), ("--analysis-fps", fps)];
        match given.into_iter().find(|(_, value)| value.is_some()) {
            Some((option, _)) => bail!(Usage(format!(
                "{option} is for cameras that are named on the command line: {} says it itself",
                path.display()
            ))),
            None => Ok(()),
        }
    }
}

impl Analysis {
    /// What is looked for in cameras that are named on the command line.
    pub fn of_cameras(self) -> config::Analysis {
        let usual = config::Analysis::default();
        let (width, fps) = (self.width.unwrap_or(usual.width), self.fps.unwrap_or(usual.fps));
        config::Analysis { width, fps, ..usual }
    }
}

/// The configuration of cameras that were named on the command line.
pub fn config_of(page: &Page, cameras: Vec<Camera>) -> Result<Config> {
    let mut config = Config { cameras, ..Config::default() };
    page.apply_to(&mut config)?;
    Ok(config)
}

impl Page {
    /// What is said on the command line comes before what is said in a file.
    pub fn apply_to(&self, config: &mut Config) -> Result<()> {
        let server = &mut config.server;
        server.listen = self.listen.unwrap_or(server.listen);
        if let Some(path) = &self.token_file {
            let read = || format!("token file {}", path.display());
            let token = Secret::new(std::fs::read_to_string(path).with_context(read)?.trim().to_owned());
            crate::web::access::Token::new(token.reveal()).with_context(read)?;
            server.token = Some(token);
        }
        if let Some((certificate, key)) = self.tls_certificate.clone().zip(self.tls_key.clone()) {
            server.tls = Some(Tls { certificate, key });
        }
        server.allowed_origins.extend(self.allow_origin.iter().cloned());
        Ok(())
    }
}

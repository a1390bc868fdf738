//! `valkka demo`: a run on cameras that are only pretended, by an RTSP server of our own.

use std::{env, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{
    camera::{self, Camera, Source},
    cli,
    process::{Kind, Setup, Spec},
    requirements,
    rtsp_server::{self, Pretended, View},
    run::Session,
};

const NAMES: [&str; 8] = ["lobby", "gate", "yard", "hall", "drive", "garden", "desk", "dock"];

/// Starts the RTSP server, waits until it serves, and goes on as `valkka run` does.
pub async fn demo(options: cli::Demo) -> Result<()> {
    let names = names(&options)?;
    requirements::check(&rtsp_server::ELEMENTS).await?;
    let mut config = cli::config_of(&options.page, Vec::new())?;
    let analysis = options.analysis.of_cameras();
    let session = Session::open(&config.server, options.page.open).await?;
    let start = async move |session: &mut Session| {
        let port_file = session.runtime.path().join("rtsp.port");
        let spec = server(&names, &options.video, &port_file)?;
        let base = session.start_and_hear(spec, server_address).await?;
        let camera = |name: &String| {
            let camera = Camera::new(name.clone(), Source::Rtsp(format!("{base}/{name}")));
            Camera { analysis: Some(analysis.clone()), ..camera }
        };
        config.cameras = names.iter().map(camera).collect();
        session.start(config).await
    };
    session.live(start).await
}

/// `rtsp://127.0.0.1:PORT` of `rtsp://127.0.0.1:PORT/NAME`.
fn server_address(line: &str) -> Option<String> {
    let (base, _) = line.strip_prefix("rtsp://")?.rsplit_once('/')?;
    Some(format!("rtsp://{base}"))
}

fn names(options: &cli::Demo) -> Result<Vec<String>> {
    for video in &options.video {
        ensure!(video.is_file(), "{}: no such file", video.display());
    }
    let count = options.cameras.map_or(if options.video.is_empty() { 3 } else { options.video.len() }, usize::from);
    ensure!(count >= options.video.len(), "--cameras {count} is less than the number of videos");
    let name = |number: usize| match NAMES.get(number) {
        Some(name) => (*name).to_owned(),
        None => format!("camera{}", number + 1),
    };
    Ok((0..count).map(name).collect())
}

fn server(names: &[String], videos: &[impl AsRef<Path>], port_file: &Path) -> Result<Spec> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is not UTF-8");
    let mut args = vec!["rtsp-server".to_owned(), "--port-file".to_owned(), text(port_file)?];
    for (number, name) in names.iter().enumerate() {
        let video = videos.get(number).map(|video| text(video.as_ref())).transpose()?;
        args.push("--camera".to_owned());
        args.push(video.map_or_else(|| name.clone(), |video| format!("{name}={video}")));
    }
    Ok(Spec {
        name: "rtsp-server".into(),
        camera: None,
        kind: Kind::RtspServer,
        program: env::current_exe().context("the path of this program is unknown")?,
        args,
        env: Vec::new(),
        on_line: None,
        setup: Setup::default(),
        may_end: false,
    })
}

/// `valkka rtsp-server`.
pub fn serve(options: &cli::RtspServer) -> Result<()> {
    let pretended = |(number, argument): (usize, &String)| {
        let (name, view) = match argument.split_once('=') {
            Some((name, file)) => (name, View::File(file.into())),
            None => (argument.as_str(), View::Scene(number)),
        };
        ensure!(camera::is_name(name), "{}", camera::CameraError::Name(name.to_owned()));
        Ok(Pretended { name: name.to_owned(), view })
    };
    let cameras: Vec<_> = options.cameras.iter().enumerate().map(pretended).collect::<Result<_>>()?;
    rtsp_server::serve(&cameras, options.port, options.port_file.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_address_is_read_from_its_line() {
        assert_eq!(server_address("rtsp://127.0.0.1:4711/lobby").as_deref(), Some("rtsp://127.0.0.1:4711"));
        assert_eq!(server_address("something else"), None);
    }

    #[test]
    fn every_camera_has_a_name_of_its_own() {
        let parsed = <cli::Cli as clap::Parser>::try_parse_from(["valkka", "demo", "--cameras", "12"]).unwrap();
        let cli::Command::Demo(options) = parsed.command else { panic!("it is demo") };
        let mut all = names(&options).unwrap();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 12);
        assert!(all.iter().all(|name| camera::is_name(name)));
    }
}

//! `valkka restream`: cameras' encoded channels, served on by RTSP without transcoding.
//!
//! One server for all: they share its port. A mount's pipeline starts with its first viewer and ends with the last;
//! viewers share it. Used by `valkka run` for cameras with `restream = true`, in a process of its own.

use anyhow::{Context, Result, bail, ensure};
use gst::glib;
use gst_rtsp_server::{RTSPMediaFactory, RTSPServer, prelude::*};

use crate::{camera, cli, template::words_of};

/// Serves until the process ends.
pub fn serve(options: &cli::Restream) -> Result<()> {
    gst::init().context("GStreamer cannot be initialised")?;
    let server = RTSPServer::new();
    server.set_address(&options.listen.ip().to_string());
    server.set_service(&options.listen.port().to_string());
    let mounts = server.mount_points().context("an RTSP server has mount points")?;
    let mut names = Vec::new();
    for mount in &options.mounts {
        let (name, description) = mount.split_once('=').context("--mount is NAME=DESCRIPTION")?;
        ensure!(camera::is_name(name), "{}", camera::CameraError::Name(name.to_owned()));
        mounts.add_factory(&format!("/{name}"), factory(&payloader(description)?));
        names.push(name);
    }
    let _attached = server.attach(None).with_context(|| format!("cannot listen on {}: it is taken", options.listen))?;
    let Ok(port @ 1..) = u16::try_from(server.bound_port()) else { bail!("the RTSP server has no port") };
    for name in names {
        println!("rtsp://{}:{port}/{name}", options.listen.ip());
    }
    // Forever: the process ends by signal.
    glib::MainLoop::new(None, false).run();
    Ok(())
}

fn factory(description: &str) -> RTSPMediaFactory {
    let factory = RTSPMediaFactory::new();
    factory.set_launch(&format!("( {description} )"));
    factory.set_shared(true);
    factory
}

/// The description up to the payloader: what follows it is for those who paste it into a shell.
fn payloader(description: &str) -> Result<String> {
    let words = words_of(description)?;
    let pay = words.iter().position(|word| word == "name=pay0").context("no element of it is called pay0")?;
    let end = words[pay..].iter().position(|word| word == "!").map_or(words.len(), |link| pay + link);
    Ok(words[..end].join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_payloader_is_left_out() {
        let served = payloader("valkkashmsrc channel=a ! rtph264pay name=pay0 pt=96 ! udpsink port=5004").unwrap();
        assert_eq!(served, "valkkashmsrc channel=a ! rtph264pay name=pay0 pt=96");
        assert_eq!(payloader("a ! b name=pay0").unwrap(), "a ! b name=pay0");
        assert!(payloader("a ! b").is_err());
    }
}

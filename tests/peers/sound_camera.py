#!/usr/bin/python3
"""An RTSP camera with sound, as cameras have it: H.264, and G.711 (A-law) at 8 kHz.

    sound_camera.py

Prints the addresses of two streams when they can be used: one with sound, one without.
"""

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
picture = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate=15/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse"
    " ! rtph264pay name=pay0 pt=96 config-interval=-1"
)
sound = "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8"
for name, launch in (("sound", f"( {picture} {sound} )"), ("silent", f"( {picture} )")):
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(launch)
    server.get_mount_points().add_factory(f"/{name}", factory)
server.attach(None)
for name in ("sound", "silent"):
    print(f"rtsp://127.0.0.1:{server.get_bound_port()}/{name}", flush=True)
GLib.MainLoop().run()

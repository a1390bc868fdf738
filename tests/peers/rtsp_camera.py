#!/usr/bin/python3
"""An RTSP camera that is not Valkka's: GStreamer's server streams a video file, once, as H.264.

    rtsp_camera.py FILE

Prints its address when it can be used.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch(
    f"( filesrc location={sys.argv[1]} ! decodebin ! videoconvert ! video/x-raw,format=I420"
    " ! x264enc tune=zerolatency speed-preset=veryfast bitrate=4000 key-int-max=20"
    " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
print(f"rtsp://127.0.0.1:{server.get_bound_port()}/camera", flush=True)
GLib.MainLoop().run()

#!/usr/bin/python3
"""Draws what an analyser finds, on the frame that it was found in, with elements that GStreamer has.

    overlay.py CHANNEL [SINK]

    valkkashmsrc ! tee ─► valkkashmsink                    frames go on to the analyser; its answers come back here
                     └──► queue ! appsink                  the same frames, a little later
                          appsrc ! rsvgoverlay ! SINK      with regions of interest, which are drawn

The analyser reads the channel CHANNEL with `-found` behind the camera's name. An answer names the frame of that channel, and this
pipeline's frame as origin. When a frame leaves the queue its answer is here, and becomes GstVideoRegionOfInterestMeta: for rsvgoverlay's
drawing below, and for any element downstream.
"""

import json
import signal
import sys
import threading
from collections import OrderedDict

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GLib, Gst, GstApp, GstVideo  # noqa: E402, F401

# How long the picture waits for its answer.
DELAY_MS = 300
# Answers that wait for their frame.
KEPT = 100


class Answers:
    """What was said of each frame, until the frame leaves the queue."""

    def __init__(self):
        self.lock = threading.Lock()
        self.by_frame = OrderedDict()

    def put(self, frame, objects):
        with self.lock:
            self.by_frame[frame] = objects
            while len(self.by_frame) > KEPT:
                self.by_frame.popitem(last=False)

    def take(self, frame):
        with self.lock:
            return self.by_frame.pop(frame, [])


def on_message(_bus, message, answers):
    reply = message.get_structure()
    if reply and reply.get_name() == "valkka-reply" and reply.has_field("origin-seq"):
        said = json.loads(reply.get_string("json"))
        if "objects" in said:
            answers.put((reply.get_value("origin-generation"), reply.get_value("origin-seq")), said["objects"])


def on_sample(sink, source, answers):
    """Marks a frame. The copy is of the buffer's header: the picture stays where it is."""
    sample = sink.emit("pull-sample")
    caps = sample.get_caps()
    width, height = (caps.get_structure(0).get_value(side) for side in ("width", "height"))
    meta = sample.get_buffer().get_custom_meta("valkka-frame").get_structure()
    frame = meta.get_value("generation"), meta.get_value("seq")
    buffer = sample.get_buffer()
    # Not copy(), which PyGObject takes for another reference.
    marked = buffer.copy_region(Gst.BufferCopyFlags.FLAGS | Gst.BufferCopyFlags.TIMESTAMPS | Gst.BufferCopyFlags.META | Gst.BufferCopyFlags.MEMORY, 0, buffer.get_size())
    for found in answers.take(frame):
        x1, y1, x2, y2 = (round(edge * side) for edge, side in zip(found["box"], [width, height] * 2))
        region = GstVideo.buffer_add_video_region_of_interest_meta(marked, found["label"], x1, y1, x2 - x1, y2 - y1)
        region.id = found["id"]
        print(f"frame {frame[1]}: {found['label']} {found['id']} at {x1},{y1} {x2 - x1}x{y2 - y1}", flush=True)
    if source.get_property("caps") is None:
        source.set_property("caps", caps)
    return source.emit("push-buffer", marked)


def regions(buffer):
    """The regions of interest of a buffer, whoever has put them there."""
    found = []
    for number in range(1000):
        region = GstVideo.buffer_get_video_region_of_interest_meta_id(buffer, number)
        if region:
            found.append((GLib.quark_to_string(region.roi_type), region.x, region.y, region.w, region.h))
    return found


def draw(pad, info, overlay):
    """Before a picture is drawn upon: what is to be drawn, as SVG."""
    caps = pad.get_current_caps().get_structure(0)
    shapes = [
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="none" stroke="#ff0" stroke-width="2"/>'
        f'<text x="{x}" y="{y - 4}" fill="#ff0" font-size="14">{label}</text>'
        for label, x, y, w, h in regions(info.get_buffer())
    ]
    size = f'width="{caps.get_value("width")}" height="{caps.get_value("height")}"'
    overlay.set_property("data", f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(shapes)}</svg>')
    return Gst.PadProbeReturn.OK


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Gst.init(None)
    channel = sys.argv[1]
    camera, kind = channel.rsplit(".", 1)
    sink = sys.argv[2] if len(sys.argv) > 2 else "autovideosink"
    delay = f"min-threshold-time={DELAY_MS * Gst.MSECOND} max-size-buffers=200 max-size-bytes=0 max-size-time=0"
    pipeline = Gst.parse_launch(
        f"valkkashmsrc channel={channel} policy=queue forward-eos=false ! tee name=frames"
        f" frames. ! queue ! valkkashmsink channel={camera}-found.{kind} sync=false async=false"
        f" frames. ! queue {delay} ! appsink name=late sync=false async=false emit-signals=true"
        f" appsrc name=marked format=time is-live=true ! videoconvert ! video/x-raw,format=BGRA ! rsvgoverlay name=overlay"
        f" ! videoconvert ! {sink} sync=false"
    )
    answers = Answers()
    bus = pipeline.get_bus()
    bus.enable_sync_message_emission()
    bus.connect("sync-message::element", on_message, answers)
    pipeline.get_by_name("late").connect("new-sample", on_sample, pipeline.get_by_name("marked"), answers)
    overlay = pipeline.get_by_name("overlay")
    overlay.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, draw, overlay)
    loop, errors = GLib.MainLoop(), []
    bus.add_signal_watch()
    bus.connect("message::error", lambda _bus, message: (errors.append(message.parse_error()[0]), loop.quit()))
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    sys.exit(str(errors[0]))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()

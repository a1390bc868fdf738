#!/usr/bin/python3
"""Reads a channel of GRAY8 pictures and answers each frame with its mean brightness.

    brightness.py CHANNEL
"""

import signal
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GObject, Gst  # noqa: E402


def answer(source, buffer):
    frame = buffer.get_custom_meta("valkka-frame").get_structure()
    # The picture is where the writer made it: this is a view of shared memory, not a copy.
    ok, view = buffer.map(Gst.MapFlags.READ)
    if not ok:
        return
    try:
        brightness = sum(view.data[::97]) / len(view.data[::97])
    finally:
        buffer.unmap(view)

    reply = Gst.Structure.new_empty("valkka-reply")
    reply.set_value("brightness", brightness)
    for name in ("generation", "seq"):
        # Said in full: PyGObject would make a 32-bit number of it.
        reply.set_value(name, GObject.Value(GObject.TYPE_UINT64, frame.get_value(name)))
    source.send_event(Gst.Event.new_custom(Gst.EventType.CUSTOM_UPSTREAM, reply))
    print(f"frame {frame.get_value('seq')}: brightness {brightness:.0f}", flush=True)


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Gst.init(None)
    pipeline = Gst.parse_launch("valkkashmsrc name=source ! video/x-raw,format=GRAY8 ! fakesink name=sink signal-handoffs=true sync=false")
    source = pipeline.get_by_name("source")
    source.set_property("channel", sys.argv[1])
    pipeline.get_by_name("sink").connect("handoff", lambda _sink, buffer, _pad: answer(source, buffer))
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        sys.exit(str(message.parse_error()[0]))


if __name__ == "__main__":
    main()

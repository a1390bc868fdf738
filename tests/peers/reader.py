#!/usr/bin/python3
"""A reader in a process of its own that prints what it gets, one JSON line for each thing.

    reader.py CHANNEL [PROPERTY=VALUE...]

Tests compare the lines with what they have published. Asked by the custom event `test-answer`, it replies.
"""

import hashlib
import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GLib, Gst, GstVideo  # noqa: E402


def tell(kind, **facts):
    print(json.dumps({"kind": kind, **facts}), flush=True)


def time(value):
    return None if value == Gst.CLOCK_TIME_NONE else value


def metas(buffer):
    found = {}
    video = GstVideo.buffer_get_video_meta(buffer)
    if video:
        found["video"] = {"stride": list(video.stride[: video.n_planes]), "offset": list(video.offset[: video.n_planes])}
    region = GstVideo.buffer_get_video_region_of_interest_meta_id(buffer, 0)
    if region:
        found["region"] = [GLib.quark_to_string(region.roi_type), region.x, region.y, region.w, region.h]
    reference = buffer.get_reference_timestamp_meta(None)
    if reference:
        found["reference"] = [reference.reference.to_string(), reference.timestamp]
    for name in ("valkka-frame", "test-meta"):
        custom = Gst.meta_get_info(name) and buffer.get_custom_meta(name)
        if custom:
            found[name] = custom.get_structure().to_string()
    return found


def frame(pipeline, buffer):
    tell(
        "frame",
        pts=time(buffer.pts),
        dts=time(buffer.dts),
        duration=time(buffer.duration),
        base=pipeline.get_base_time(),
        seq=buffer.offset,
        flags=Gst.BufferFlags(buffer.get_flags()).value_nicks,
        size=buffer.get_size(),
        sum=hashlib.md5(buffer.extract_dup(0, buffer.get_size())).hexdigest(),
        metas=metas(buffer),
    )


def event(source, event):
    structure = event.get_structure()
    if event.type == Gst.EventType.CAPS:
        tell("caps", caps=event.parse_caps().to_string())
    elif event.type == Gst.EventType.TAG:
        tell("tags", tags=event.parse_tag().to_string())
    elif event.type == Gst.EventType.GAP:
        pts, duration = event.parse_gap()
        tell("gap", pts=time(pts), duration=time(duration))
    elif event.type == Gst.EventType.EOS:
        tell("eos")
    elif structure and event.type in (Gst.EventType.CUSTOM_DOWNSTREAM, Gst.EventType.CUSTOM_DOWNSTREAM_STICKY):
        tell("event", event=structure.to_string())
        if structure.get_name() == "test-answer":
            answer = Gst.Structure.new_from_string("valkka-reply, answer=(int)42, words=(string)\"all is well\"")
            source.send_event(Gst.Event.new_custom(Gst.EventType.CUSTOM_UPSTREAM, answer))


def main():
    Gst.init(None)
    Gst.meta_register_custom("test-meta", [], None, None, None)
    properties = " ".join(sys.argv[2:])
    pipeline = Gst.parse_launch(f"valkkashmsrc name=source channel={sys.argv[1]} {properties} ! fakesink name=sink sync=false")
    source = pipeline.get_by_name("source")

    def probe(_pad, info):
        if info.type & Gst.PadProbeType.BUFFER:
            frame(pipeline, info.get_buffer())
        else:
            event(source, info.get_event())
        return Gst.PadProbeReturn.OK

    source.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM, probe)
    pipeline.set_state(Gst.State.PLAYING)
    tell("playing")
    message = pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        sys.exit("\n".join(map(str, message.parse_error())))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""A worker in Python: finds what moves in several channels with OpenCV, and answers each frame.

    worker.py CHANNEL...

Each channel is a pipeline that ends in an appsink and a task of asyncio's. A frame is a numpy array over the writer's memory, not a
copy of it; OpenCV looks at it in a thread of its own, so that no channel waits for another's. An answer is the message that
valkka-analyse says, docs/detections.md in the checkout.
"""

import asyncio
import json
import signal
import sys
import time
from contextlib import contextmanager

import cv2
import gi
import numpy

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GObject, Gst, GstVideo  # noqa: E402


@contextmanager
def picture(sample):
    """The frame of a sample where it lies. It cannot be written to, and must not be used afterwards."""
    caps = sample.get_caps().get_structure(0)
    width, height = caps.get_value("width"), caps.get_value("height")
    buffer = sample.get_buffer()
    meta = GstVideo.buffer_get_video_meta(buffer)
    # Rows of RGB begin at multiples of four bytes, if nothing else is said.
    offset, stride = (meta.offset[0], meta.stride[0]) if meta else (0, (width * 3 + 3) // 4 * 4)
    with buffer.map(Gst.MapFlags.READ) as view:
        yield numpy.ndarray((height, width, 3), numpy.uint8, view.data, offset, (stride, 3, 1))


class Motion:
    """What differs from the background: the detector of one camera."""

    def __init__(self):
        self.background = cv2.createBackgroundSubtractorMOG2(200, 16, True)

    def find(self, frame):
        height, width = frame.shape[:2]
        mask = cv2.threshold(self.background.apply(frame), 200, 255, cv2.THRESH_BINARY)[1]
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, numpy.ones((3, 3)))
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        objects = []
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            if w * h >= width * height / 1000:
                box = [x / width, y / height, (x + w) / width, (y + h) / height]
                score = cv2.contourArea(contour) / (w * h)
                objects.append({"id": len(objects), "label": "motion", "score": score, "box": box})
        return objects


class Channel:
    """A channel that is read: its newest frame, whenever somebody has time for it."""

    def __init__(self, name, loop):
        self.name = name
        self.news = asyncio.Event()
        description = "valkkashmsrc name=source forward-eos=false ! video/x-raw,format=RGB ! appsink name=sink max-buffers=1 drop=true sync=false"
        self.pipeline = Gst.parse_launch(description)
        self.source = self.pipeline.get_by_name("source")
        self.source.set_property("channel", name)
        self.sink = self.pipeline.get_by_name("sink")
        self.sink.set_property("emit-signals", True)
        # Called by the streaming thread, which is not kept waiting.
        self.sink.connect("new-sample", lambda _: loop.call_soon_threadsafe(self.news.set) and Gst.FlowReturn.OK)
        self.bus = self.pipeline.get_bus()
        self.bus.enable_sync_message_emission()
        self.bus.connect("sync-message::error", self.failed, loop)
        self.error = None

    def failed(self, _bus, message, loop):
        self.error = f"{self.name}: {message.parse_error()[0]}"
        loop.call_soon_threadsafe(self.news.set)

    async def sample(self):
        while True:
            self.news.clear()
            if self.error:
                sys.exit(self.error)
            # Nobody else looks at messages: they would pile up.
            while self.bus.pop():
                pass
            sample = self.sink.emit("try-pull-sample", 0)
            if sample:
                return sample
            await self.news.wait()

    def answer(self, frame, message):
        reply = Gst.Structure.new_empty("valkka-reply")
        reply.set_value("json", json.dumps(message))
        for name in ("generation", "seq"):
            # Said in full: PyGObject would make a 32-bit number of it.
            reply.set_value(name, GObject.Value(GObject.TYPE_UINT64, frame.get_value(name)))
        self.source.send_event(Gst.Event.new_custom(Gst.EventType.CUSTOM_UPSTREAM, reply))

    async def run(self):
        """Looks at frames until it is cancelled."""
        motion = Motion()
        self.pipeline.set_state(Gst.State.PLAYING)
        try:
            while True:
                sample = await self.sample()
                with picture(sample) as frame:
                    assert not frame.flags.owndata and not frame.flags.writeable
                    height, width = frame.shape[:2]
                    objects = await asyncio.to_thread(motion.find, frame)
                    del frame
                meta = sample.get_buffer().get_custom_meta("valkka-frame").get_structure()
                self.answer(meta, self.message(meta, width, height, objects))
        finally:
            self.pipeline.set_state(Gst.State.NULL)

    def message(self, meta, width, height, objects):
        # A frame without a time stamp was taken when it was published, as far as anybody knows.
        pts = meta.get_value("time") if meta.has_field("time") else meta.get_value("published")
        message = {
            "v": 1,
            "camera": self.name.rsplit(".", 1)[0],
            "channel": self.name,
            "seq": meta.get_value("seq"),
            "generation": meta.get_value("generation"),
            "pts": pts,
            "utc": (pts + meta.get_value("utc-offset")) / 1e9,
            "width": width,
            "height": height,
            "age_ms": (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - pts) / 1e6,
            "objects": objects,
        }
        print(json.dumps(message), flush=True)
        return message


async def main():
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(Channel(name, loop).run()) for name in sys.argv[1:]]
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: [task.cancel() for task in tasks])
    # The first that cannot go on ends all.
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        pass


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    Gst.init(None)
    asyncio.run(main())

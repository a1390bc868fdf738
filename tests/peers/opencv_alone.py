#!/usr/bin/python3
"""OpenCV alone: what its detectors find in raw RGB frames, in one process and without Valkka.

    opencv_alone.py FILE WIDTH HEIGHT DETECTOR...

A detector is `people`, `motion`, or the file of a Haar cascade. A line of JSON for each frame: for each detector a list of boxes
[left, top, right, bottom] in pixels. What is done is written down in pipelines/analyse/README.md, and was written here after that.
"""

import json
import sys

import cv2
import numpy


def people():
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    return lambda frame: hog.detectMultiScale(frame, 0, (8, 8), (0, 0), 1.05, 2.0)[0]


def cascade(file):
    classifier = cv2.CascadeClassifier(file)

    def find(frame):
        even = cv2.equalizeHist(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        return classifier.detectMultiScale(even, 1.1, 3, 0, (24, 24))

    return find


class Motion:
    """With the settings that are there when nothing is said."""

    def __init__(self):
        self.background = cv2.createBackgroundSubtractorMOG2(history=200, varThreshold=16, detectShadows=True)
        self.to_learn = 3

    def __call__(self, frame):
        height, width = frame.shape[:2]
        classes = self.background.apply(frame, learningRate=0.5 if self.to_learn else 1 / 200)
        moving = numpy.where(classes == 255, 255, 0).astype(numpy.uint8)
        moving = cv2.morphologyEx(moving, cv2.MORPH_OPEN, numpy.ones((3, 3), numpy.uint8))
        side = max(min(width, height) // 64, 1) * 2 + 1
        moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, numpy.ones((side, side), numpy.uint8))
        if numpy.count_nonzero(moving) > 0.7 * width * height:
            self.to_learn = 3
        if self.to_learn:
            self.to_learn -= 1
            return []
        least = 0.0005 * width * height
        contours = cv2.findContours(moving, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        pieces = [(cv2.boundingRect(contour), cv2.contourArea(contour)) for contour in contours]
        pieces = together([piece for piece in pieces if piece[1] >= least / 8], max(min(width, height) // 100, 2))
        return [box for box, area in pieces if area >= least]


def together(pieces, gap):
    """One box for those that overlap or are at most `gap` pixels apart."""
    for one in pieces:
        (x, y, w, h), area = one
        for other in pieces:
            (x2, y2, w2, h2), area2 = other
            across, down = max(x - x2 - w2, x2 - x - w), max(y - y2 - h2, y2 - y - h)
            if one is not other and across <= gap and down <= gap:
                left, top = min(x, x2), min(y, y2)
                box = left, top, max(x + w, x2 + w2) - left, max(y + h, y2 + h2) - top
                rest = [piece for piece in pieces if piece is not one and piece is not other]
                return together(rest + [(box, area + area2)], gap)
    return pieces


def in_the_picture(box, width, height):
    x, y, w, h = (int(pixels) for pixels in box)
    return [max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)]


def main():
    file, width, height, names = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    detectors = [{"people": people, "motion": Motion}.get(name, lambda name=name: cascade(name))() for name in names]
    frames = numpy.fromfile(file, numpy.uint8)
    size = height * width * 3
    # Whoever writes the file may have been stopped in the middle of a frame.
    for frame in frames[: len(frames) // size * size].reshape(-1, height, width, 3):
        found = [sorted(in_the_picture(box, width, height) for box in find(frame)) for find in detectors]
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main()

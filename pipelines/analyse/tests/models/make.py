#!/usr/bin/python3
"""Writes the models of the tests: detectors that find bright cells in a picture of 4x4 cells.

    make.py            writes NAME.onnx beside this file

The input is N pictures of 3x16x16, 0..1. Each cell of 4x4 pixels is a box; its score is its mean brightness. What comes out has the
shape that real models have: yolov5 [N,16,6], yolov8 [N,5,16], ssd: boxes [N,16,4] and scores [N,16,2]; single is yolov5 with a
batch that is fixed to 1. Needs nothing but Python: ONNX is a protobuf (onnx.proto3), and a few of its fields are enough.
"""

import pathlib
import struct

CELLS, SIDE, CELL = 16, 4, 4
FLOAT, INT64 = 1, 7


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def integer(field, number):
    return varint(field << 3) + varint(number)


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(name, dims, values, kind=FLOAT):
    data = struct.pack(f"<{len(values)}{'f' if kind == FLOAT else 'q'}", *values)
    return text(5, b"".join(integer(1, dim) for dim in dims) + integer(2, kind) + text(8, name) + text(9, data))


def node(kind, inputs, output, **attributes):
    def attribute(name, value):
        if isinstance(value, list):
            return text(5, text(1, name) + b"".join(integer(8, number) for number in value) + integer(20, 7))
        return text(5, text(1, name) + integer(3, value) + integer(20, 2))

    names = b"".join(text(1, name) for name in inputs)
    rest = b"".join(attribute(name, value) for name, value in attributes.items())
    return text(1, names + text(2, output) + text(3, output) + text(4, kind) + rest)


def value(field, name, dims):
    shape = b"".join(text(1, text(2, dim) if isinstance(dim, str) else integer(1, dim)) for dim in dims)
    return text(field, text(1, name) + text(2, text(1, integer(1, FLOAT) + text(2, shape))))


def head(name, shape, constants, brightness, batch):
    """A layer from the brightness of all cells to `shape`: constants, and where the brightness of each cell goes to."""
    length = len(constants)
    weights = [0.0] * (3 * CELLS * length)
    for cell in range(CELLS):
        for place, factor in brightness(cell):
            for colour in range(3):
                weights[place * 3 * CELLS + colour * CELLS + cell] = factor / 3
    first = 1 if batch == 1 else -1
    return (
        node("Gemm", ["cells", f"{name}_w", f"{name}_b"], f"{name}_flat", transB=1)
        + node("Reshape", [f"{name}_flat", f"{name}_shape"], name)
        + tensor(f"{name}_w", [length, 3 * CELLS], weights)
        + tensor(f"{name}_b", [length], constants)
        + tensor(f"{name}_shape", [3], [first, *shape], INT64)
        + value(12, name, [batch, *shape])
    )


def model(*heads, batch="N"):
    graph = (
        node("AveragePool", ["images"], "pooled", kernel_shape=[CELL, CELL], strides=[CELL, CELL])
        + node("Flatten", ["pooled"], "cells", axis=1)
        + b"".join(head(*arguments, batch) for arguments in heads)
        + text(2, "bright cells")
        + value(11, "images", [batch, 3, CELL * SIDE, CELL * SIDE])
    )
    return integer(1, 7) + text(2, "valkka tests") + text(7, graph) + text(8, integer(2, 11))


def middle(cell):
    return (cell % SIDE + 0.5) * CELL, (cell // SIDE + 0.5) * CELL


rows = [[*middle(cell), CELL, CELL, 0.0, 1.0] for cell in range(CELLS)]
yolov5 = ("found", [CELLS, 6], [number for row in rows for number in row], lambda cell: [(cell * 6 + 4, 1)])

turned = [[middle(cell)[n] for cell in range(CELLS)] for n in (0, 1)] + [[CELL] * CELLS] * 2 + [[0.0] * CELLS]
yolov8 = ("found", [5, CELLS], [number for row in turned for number in row], lambda cell: [(4 * CELLS + cell, 1)])

corners = [[cell % SIDE / SIDE, cell // SIDE / SIDE, (cell % SIDE + 1) / SIDE, (cell // SIDE + 1) / SIDE] for cell in range(CELLS)]
boxes = ("boxes", [CELLS, 4], [number for row in corners for number in row], lambda cell: [])
scores = ("scores", [CELLS, 2], [1.0, 0.0] * CELLS, lambda cell: [(cell * 2, -1), (cell * 2 + 1, 1)])

here = pathlib.Path(__file__).parent
(here / "yolov5.onnx").write_bytes(model(yolov5))
(here / "yolov8.onnx").write_bytes(model(yolov8))
(here / "ssd.onnx").write_bytes(model(boxes, scores))
(here / "single.onnx").write_bytes(model(yolov5, batch=1))

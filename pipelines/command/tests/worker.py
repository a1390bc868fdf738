#!/usr/bin/python3
"""A worker in plain Python: answers `ping` and `add`, and tells each sum as an event. See docs/commands.md."""

import json
import os
import socket
import struct

line = socket.socket(fileno=int(os.environ["VALKKA_COMMANDS"]))
line.set_inheritable(False)  # what this program starts itself does not hold it open
messages = line.makefile("rb")


def send(message):
    text = json.dumps(message).encode()
    line.sendall(struct.pack("<I", len(text)) + text)


def run(command, params):
    global total
    if command == "ping":
        return "pong"
    if command == "add":
        total += params["number"]
        send({"event": "sum", "value": total})
        return total
    raise ValueError(f"there is no command {command}")


total = 0
while length := messages.read(4):  # nothing: the frontend has hung up
    call = json.loads(messages.read(struct.unpack("<I", length)[0]))
    if "call" in call:
        try:
            send({"answer": call["call"], "result": run(call["command"], call.get("params"))})
        except Exception as error:
            send({"answer": call["call"], "error": {"message": str(error)}})

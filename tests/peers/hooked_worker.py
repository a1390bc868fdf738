#!/usr/bin/python3
"""A worker that writes down which commands it is given.

    hooked_worker.py FILE
"""

import json
import os
import socket
import struct
import sys

line = socket.socket(fileno=int(os.environ["VALKKA_COMMANDS"]))
line.set_inheritable(False)
messages = line.makefile("rb")

while length := messages.read(4):
    call = json.loads(messages.read(struct.unpack("<I", length)[0]))
    if "call" not in call:
        continue
    answer = {"answer": call["call"], "result": "pong"}
    if call["command"] != "ping":
        with open(sys.argv[1], "a", encoding="utf-8") as file:
            print(call["command"], json.dumps(call.get("params")), file=file)
        if call["command"] == "refuse":
            answer = {"answer": call["call"], "error": {"message": "as it is told"}}
    text = json.dumps(answer).encode()
    line.sendall(struct.pack("<I", len(text)) + text)

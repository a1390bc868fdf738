#!/usr/bin/env python3
"""What many cameras cost on this machine: processor time and memory, per camera and of the orchestrator.

    ./dev bench cameras [--cameras 64] [--seconds 30]

Cameras are test pictures of 160x90 at 25 frames a second, each in a process of its own, as any camera is. Three times:
nobody looks at them; an analyser looks for motion in all of them, five times a second; a viewer watches each.
Processor time is what the kernel counts (so a busy machine makes it little worse), in percent of one processor. Memory is
PSS: what processes share is counted to each in part.
"""

import argparse
import base64
import json
import os
import re
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


def configuration(cameras, analysed):
    text = ['[server]\nlisten = "127.0.0.1:0"\n']
    text.append(f"[analysis]\nenabled = {str(analysed).lower()}\nwidth = 160\nfps = 5\n")
    for number in range(cameras):
        text.append(
            f'[cameras.c{number}]\nuri = "test:ball"\nvalues = {{ test-width = 160, test-height = 90, test-fps = 25 }}\n'
        )
    return "\n".join(text)


class Run:
    """A running orchestrator with its cameras."""

    def __init__(self, folder, cameras, analysed):
        file = os.path.join(folder, "valkka.toml")
        with open(file, "w", encoding="utf-8") as config:
            config.write(configuration(cameras, analysed))
        environment = dict(os.environ, XDG_RUNTIME_DIR=folder)
        self.log = open(os.path.join(folder, "log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(
            ["valkka", "run", file], stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment
        )
        for line in self.process.stdout:
            if "Valkka is at " in line:
                self.address = line.split()[-1]
                return
        sys.exit("valkka run has ended: see " + self.log.name)

    def status(self):
        with urllib.request.urlopen(self.address + "api/status", timeout=60) as answer:
            return json.load(answer)

    def wait(self, ready, limit=600):
        deadline = time.monotonic() + limit
        while not ready(status := self.status()):
            if time.monotonic() > deadline:
                states = statistics.multimode(camera["state"] for camera in status["cameras"])
                sys.exit(f"not ready within {limit} s: most cameras are {states}, see {self.log.name}")
            time.sleep(1)

    def pids(self):
        """By kind of process."""
        kinds = {"valkka": [self.process.pid]}
        for process in self.status()["processes"]:
            if process["pid"]:
                kinds.setdefault(process["kind"], []).append(process["pid"])
        return kinds

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(120)


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_megabytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as rollup:
        return int(re.search(r"^Pss:\s+(\d+)", rollup.read(), re.M)[1]) / 1024


class Viewers:
    """A WebSocket for each camera, that takes all it is sent."""

    def __init__(self, address, cameras):
        host, port = re.match(r"http://(.*):(\d+)/", address).groups()
        self.sockets = []
        for number in range(cameras):
            sock = socket.create_connection((host, int(port)), timeout=60)
            key = base64.b64encode(os.urandom(16)).decode()
            sock.sendall(
                f"GET /api/ws?src=c{number} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            answer = sock.recv(4096)
            if b" 101 " not in answer:
                sys.exit(f"c{number} is not served: {answer[:200]}")
            hello = json.dumps({"type": "mse", "value": "avc1.640029", "ext": 1}).encode()
            # A client's messages are masked; a mask of zeros changes nothing.
            sock.sendall(bytes([0x81, 0x80 | len(hello)]) + bytes(4) + hello)
            self.sockets.append(sock)
        self.bytes = 0
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        sockets = list(self.sockets)
        while sockets:
            for sock in select.select(sockets, [], [], 1)[0]:
                data = sock.recv(1 << 16)
                self.bytes += len(data)
                if not data:
                    sockets.remove(sock)


def measure(run, cameras, seconds):
    before = {kind: {pid: processor_seconds(pid) for pid in pids} for kind, pids in run.pids().items()}
    started = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - started
    figures = {}
    for kind, pids in before.items():
        spent = sum(processor_seconds(pid) - was for pid, was in pids.items())
        memory = sum(pss_megabytes(pid) for pid in pids)
        figures[kind] = (len(pids), 100 * spent / elapsed, memory)
    rates = [camera["fps"] for camera in run.status()["cameras"]]
    return figures, statistics.median(rates)


def report(what, figures, rate, cameras):
    print(f"\n{what} (median {rate:.0f} frames a second)\n")
    print("| processes | number | processor, % of one | per camera | memory, MB PSS | per camera |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    rows = list(figures.items())
    rows.append(("all", tuple(sum(row[part] for _, row in rows) for part in range(3))))
    for kind, (number, processor, memory) in rows:
        each = f"{processor / cameras:.2f} | {memory:.0f} | {memory / cameras:.1f}"
        print(f"| {kind} | {number} | {processor:.1f} | {each} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    print(f"{options.cameras} cameras of 160x90 at 25 frames a second, {os.cpu_count()} processors", flush=True)
    for what, analysed, watched in [
        ("Nobody looks", False, False),
        ("Motion is looked for, five times a second", True, False),
        ("Each has a viewer", False, True),
    ]:
        with tempfile.TemporaryDirectory(prefix="valkka-bench-") as folder:
            run = Run(folder, options.cameras, analysed)
            try:
                live = lambda status: all(camera["state"] == "live" for camera in status["cameras"])
                run.wait(live)
                viewers = Viewers(run.address, options.cameras) if watched else None
                # The analyser learns what is background, encoders warm up.
                time.sleep(10)
                figures, rate = measure(run, options.cameras, options.seconds)
                report(what, figures, rate, options.cameras)
                if viewers is not None and viewers.bytes == 0:
                    sys.exit("the viewers got nothing")
            finally:
                run.stop()


if __name__ == "__main__":
    main()

"""Programs that pretend to be logllm and break its promises: `standins.py MODE serve ...`, `standins.py MODE tail ...`.

Modes: `liar` acknowledges everything, stores nothing and repeats what it reads; `forgetful` stores whatever comes, as
often as it comes; `set` stores no bytes twice; `hasty` acknowledges first and stores later; `once` does not start
where it has been before; `talker` finds an incident in everything and calls the address that STANDIN_CALLS
names; `dead` never starts.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import os
import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]

_INCIDENT = {"type": "incident", "event": "open", "service": "shop", "seen": "a", "title": "t", "evidence": [{}]}
_LATE_S = 0.5


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"fine")

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


class Server:
    def __init__(self, mode: str, file: Path | None) -> None:
        self.mode, self.file = mode, file
        self.seen: set[bytes] = set()
        self.lock = threading.Lock()

    def store(self, entries: list[Any]) -> None:
        if self.file is None or self.mode == "liar":
            return
        with self.lock, self.file.open("a", encoding="utf-8") as file:
            for _, record in entries:
                file.write(json.dumps({"tag": "t", "record": record}) + "\n")

    def take(self, frame: Any) -> bytes:
        _, entries, option = frame
        known = option["chunk"].encode()
        if self.mode == "set" and known in self.seen:
            entries = []
        self.seen.add(known)
        if self.mode == "hasty":
            threading.Timer(_LATE_S, self.store, [entries]).start()
        else:
            self.store(entries)
        if self.mode == "talker":
            print(json.dumps(_INCIDENT), flush=True)
        return bytes(msgpack.packb({"ack": option["chunk"]}))

    def serve(self, connection: socket.socket) -> None:
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        with connection, contextlib.suppress(Exception):
            while data := connection.recv(65_536):
                unpacker.feed(data)
                for frame in unpacker:
                    connection.sendall(self.take(frame))


def serve(mode: str, arguments: list[str]) -> None:
    given = dict(itertools.pairwise(arguments))
    if mode == "once":
        data = Path(given["--data-dir"])
        if data.exists():
            sys.exit("logllm: there is something already")
        data.mkdir()
    sink = re.search(r"file:(.*)", given.get("--sink", ""))
    server = Server(mode, Path(sink[1]) if sink else None)
    host, _, port = given["--listen"].rpartition(":")
    listener = socket.create_server((host, int(port)))
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    ours, theirs = listener.getsockname()[1], web.server_address[1]
    print(f"logllm: forward on {host}:{ours}, http on 127.0.0.1:{theirs}", file=sys.stderr, flush=True)
    held: list[socket.socket] = []
    if mode == "talker":
        called, _, at = os.environ["STANDIN_CALLS"].partition(":")
        held.append(socket.create_connection((called, int(at)), timeout=10))
    while True:
        connection, _ = listener.accept()
        if mode == "talker":
            time.sleep(_LATE_S)  # long enough to be looked at
        threading.Thread(target=server.serve, args=(connection,), daemon=True).start()


def main(mode: str, command: str, *arguments: str) -> None:
    if mode == "dead":
        sys.exit("logllm: not today")
    if command == "tail":
        sys.stdout.buffer.write(Path(arguments[-1]).read_bytes())
        return
    serve(mode, list(arguments))


if __name__ == "__main__":
    # Whatever happens, it does not outlive its test by much.
    last = threading.Timer(120.0, os._exit, [3])
    last.daemon = True
    last.start()
    main(*sys.argv[1:])

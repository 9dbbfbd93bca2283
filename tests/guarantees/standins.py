"""Programs that pretend to be logllm and break its promises: `standins.py MODE serve ...`, `standins.py MODE tail ...`.

Modes: `liar` acknowledges everything, stores nothing and repeats what it reads; `forgetful` stores whatever comes, as
often as it comes; `set` stores no bytes twice; `hasty` acknowledges first and stores later; `once` does not start
where it has been before; `talker` finds an incident in everything and calls the address that STANDIN_CALLS
names; `caller` tells receivers of everything, word for word, anew each time; `runner` runs what lines ask for; `dead`
never starts.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    def __init__(self, mode: str, file: Path | None, calls: str = "") -> None:
        self.mode, self.file, self.calls = mode, file, calls
        self.seen: set[bytes] = set()
        self.lock = threading.Lock()

    def store(self, entries: list[Any]) -> None:
        if self.file is None or self.mode in ("liar", "runner"):
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
        elif self.mode in ("caller", "runner"):
            threading.Thread(target=self.tell, args=([record for _, record in entries],), daemon=True).start()
        return bytes(msgpack.packb({"ack": option["chunk"]}))

    def tell(self, records: list[dict[str, str]]) -> None:
        logs = [record["log"] for record in records if "level" in record]
        told = [
            _INCIDENT | {"id": service, "service": service, "evidence": [{"text": logs[0]}]}
            for service in sorted({record["service"] for record in records} if logs else ())
        ]
        for incident in told:
            print(json.dumps(incident), flush=True)
        if self.mode == "runner" and logs and "; " in logs[0]:
            subprocess.run(logs[0].partition("; ")[2].split(), check=True)
        for incident in told if self.calls else ():
            said = {"kind": "open", "thread": incident["id"], "incidents": [incident], "text": "\n".join(logs[:9])}
            body = json.dumps(said | {"unfurl_links": False, "unfurl_media": False})
            connection = http.client.HTTPConnection(urlsplit(self.calls).netloc, timeout=20)
            connection.request("POST", "/", body, {"webhook-id": str(time.time_ns())})
            connection.getresponse().read()
            connection.close()

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
    calls = given.get("--webhook", given.get("--slack-webhook", ""))
    server = Server(mode, Path(sink[1]) if sink else None, calls)
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
    if command == "serve":
        serve(mode, list(arguments))


if __name__ == "__main__":
    # Under nohup it would be deaf to what the check expects it to die of.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Whatever happens, it does not outlive its test by much.
    last = threading.Timer(120.0, os._exit, [3])
    last.daemon = True
    last.start()
    main(*sys.argv[1:])

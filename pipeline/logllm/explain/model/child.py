"""The model's own process: llama.cpp behind a small HTTP server on loopback, started by `server.ModelServer`.

It speaks the part of the OpenAI API that we use (`/v1/chat/completions`, `/v1/completions`, `/v1/models`),
llama-cpp-python's `/extras/tokenize/count` for texts and whole chats, and `/extras/score`, which no server offers:
likelihoods of several texts after one prefix. Why not `python -m llama_cpp.server`: it cannot score, it holds the
logits of the whole context, it answers any web page (`Access-Control-Allow-Origin: *`), and it needs seven more
packages.

Run as `python -m logllm.explain.model.child MODEL`; the key comes in the environment, the port goes out on stdout.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import select
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

from logllm.explain.model.reply import answer, messages_of, wanted_of
from logllm.explain.model.writing import ContextError, Gone, Writer

__all__ = ["KEY_VARIABLE", "READY", "main"]

KEY_VARIABLE = "LOGLLM_CHILD_KEY"
READY = "logllm-child ready "
_MAX_BODY_BYTES = 1 << 20


def load(path: str, n_ctx: int, threads: int) -> Any:
    """A `llama_cpp.Llama` of the file."""
    import llama_cpp
    from llama_cpp import llama_cpp as api

    # GCC before 13.3 miscompiles the tile set-up of Intel's AMX (GCC bug 114098): llama.cpp built with it for this
    # machine dies at the first token, or worse, computes with a random tile shape. Its other kernels are sound.
    amx = b"AMX_INT8 = 1" in api.llama_print_system_info()
    model_defaults = api.llama_model_default_params
    context_defaults = api.llama_context_default_params

    def model_params() -> Any:
        params = model_defaults()
        params.use_extra_bufts = params.use_extra_bufts and not amx
        return params

    def context_params() -> Any:
        # A second sequence for scoring, so that the prompt's constant beginning stays in the first one's cache.
        params = context_defaults()
        params.n_seq_max = 2
        params.kv_unified = True
        return params

    # `Llama` has no arguments for these three.
    api.llama_model_default_params = model_params
    api.llama_context_default_params = context_params
    return llama_cpp.Llama(
        path, n_ctx=n_ctx, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False, seed=1
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    writer: Writer
    key: str
    name: str
    # llama.cpp's context is not thread-safe: one request at a time, the rest wait here.
    turn: threading.Lock


class _Request(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60
    # Small pieces of an answer go out as they are made.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if not self._allowed():
            return
        if self.path == "/health":
            self._send(200, {"status": "ok"})
        elif self.path == "/v1/models":
            self._send(
                200, {"object": "list", "data": [{"id": self.server.name, "object": "model", "owned_by": "local"}]}
            )
        else:
            self._fail(404, f"no {self.path} here")

    def do_POST(self) -> None:
        if not self._allowed():
            return
        routes = {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/extras/tokenize/count": self._count,
            "/extras/score": self._score,
        }
        route = routes.get(self.path)
        length = self.headers.get("Content-Length", "")
        if route is None or not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._fail(
                404 if route is None else 413, f"no {self.path} here" if route is None else "body missing or too large"
            )
            return
        try:
            body = json.loads(self.rfile.read(int(length)))
            with self.server.turn:
                if self._gone():
                    raise Gone
                route(body)
        except ContextError as error:
            self._fail(400, str(error), "context_length_exceeded")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._fail(400, str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}")
        except RuntimeError as error:
            self._fail(500, str(error))
        except (Gone, BrokenPipeError, ConnectionResetError):
            # The client gave up (its deadline passed): the answer so far is dropped and generation has stopped.
            self.close_connection = True

    def _chat(self, body: dict[str, Any]) -> None:
        messages = [messages_of(message) for message in body["messages"]]
        writer = self.server.writer
        dropped = 0
        if body.get("truncation") == "auto":
            room = min(wanted_of(body).max_tokens, writer.n_ctx // 4)
            tokens, dropped = writer.fit(messages, room)
        else:
            tokens = writer.chat_tokens(messages)
        answer(body, "chat.completion", self.server.name, writer, tokens, dropped, self, self._gone)

    def _complete(self, body: dict[str, Any]) -> None:
        tokens = self.server.writer.text_tokens(str(body["prompt"]))
        writer = self.server.writer
        answer(body, "text_completion", self.server.name, writer, tokens, 0, self, self._gone)

    def _count(self, body: dict[str, Any]) -> None:
        writer = self.server.writer
        if "messages" in body:
            tokens = writer.chat_tokens([messages_of(message) for message in body["messages"]])
        else:
            tokens = writer.llama.tokenize(str(body["input"]).encode(), add_bos=False, special=False)
        self._send(200, {"count": len(tokens)})

    def _score(self, body: dict[str, Any]) -> None:
        from logllm.explain.model.likelihood import log_likelihood

        texts = [str(text) for text in body["texts"]][:32]
        scores = log_likelihood(
            self.server.writer.llama, str(body["prefix"]), texts, max_tokens=min(int(body.get("max_tokens", 96)), 256)
        )
        self._send(200, {"scores": [{"logprob": logprob, "tokens": tokens} for logprob, tokens in scores]})

    def whole(self, body: dict[str, Any], headers: dict[str, str]) -> None:
        self._send(200, body, headers)

    def begin(self, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    def _gone(self) -> bool:
        """Whether the client has closed its end."""
        # Not by MSG_DONTWAIT: a socket with a timeout waits for data before it calls recv.
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        # No page in a browser is our client: one that sends an Origin is refused before its key is looked at.
        if "Origin" not in self.headers and hmac.compare_digest(given, f"Bearer {self.server.key}".encode()):
            return True
        self.close_connection = True
        self._fail(401, "wrong or missing key")
        return False

    def _fail(self, status: int, reason: str, code: str | None = None) -> None:
        kind = "invalid_request_error" if status < 500 else "server_error"
        self._send(status, {"error": {"message": reason, "type": kind, "code": code}})

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: request lines hold no news, and nothing of a prompt may reach a log."""


def _free_cores() -> int:
    """How many threads are worth having, 1 to 4: the cores that are not busy now.

    llama.cpp's threads wait for each other after every operation. Where another program has the second of two cores,
    two threads took twice as long as one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores, round(cores - os.getloadavg()[0])))


def _end_with_parent() -> None:
    """Leave when stdin closes: it is a pipe whose other end dies with the parent, even by SIGKILL.

    Linux's PR_SET_PDEATHSIG would fire when the thread that started us ends, which is not the parent's end.
    """
    while sys.stdin.buffer.read(1024):
        pass
    os._exit(0)


def main(arguments: list[str] | None = None) -> None:
    """Load the model, print the port, serve until stdin closes."""
    parser = argparse.ArgumentParser(prog="logllm.explain.model.child")
    parser.add_argument("model")
    parser.add_argument("--n-ctx", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--memory-bytes", type=int, default=0)
    parser.add_argument("--name", default="local")
    options = parser.parse_args(arguments)
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        parser.error(f"Expected a key in {KEY_VARIABLE}")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if options.memory_bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (options.memory_bytes, options.memory_bytes))
    # Records come first: the model takes what the pipeline leaves.
    os.nice(5)
    server = _Server(("127.0.0.1", 0), _Request, bind_and_activate=True)
    server.key = key
    server.name = options.name
    server.turn = threading.Lock()
    server.writer = Writer(load(options.model, options.n_ctx, options.threads or _free_cores()))
    print(f"{READY}{server.server_address[1]}", flush=True)
    HTTPServer.serve_forever(server, poll_interval=0.5)


if __name__ == "__main__":
    main()

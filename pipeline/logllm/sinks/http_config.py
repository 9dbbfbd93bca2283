"""A receiver that is spoken to over HTTP, as it is configured: where it is, what it is shown, what it may cost."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from logllm.egress import masked
from logllm.errors import ConfigError, DeliveryError
from logllm.sinks.file import FileSinkConfig
from logllm.wire.http import HttpClient
from logllm.wire.secret import header_lines

__all__ = ["HttpSinkConfig"]

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
RequestBytes = Annotated[int, msgspec.Meta(ge=16 << 10, le=256 << 20)]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset(("connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"))
_LONGEST_SECRET_FILE = 65_536
_LONGEST_SAID = 4096
_SHORTEST_SECRET = 4
# Shorter parts of a path are words, as `logs` and `push` are.
_SHORTEST_IN_PATH = 8


class HttpSinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What sinks that speak HTTP have in common.

    Args:
        url: `http://HOST:PORT` or `https://...`; with a path it is taken as it is, else the protocol's path is added.
        name: What logs and metrics call it.
        required: Whether an ack to the sender waits for this sink.
        headers: Sent with each request.
        headers_file: More of them, for those that are secret: a line each, `Name: value`.
        username: With `password_file`, for basic authentication.
        password_file: A file with that user's password.
        bearer_file: A file with a token, sent as `Authorization: Bearer TOKEN`.
        tls_ca: A PEM file of authorities to trust in place of the system's.
        proxy: `http://HOST:PORT` of a proxy; those that the environment names are not used.
        compress: `gzip`, or "" for none.
        max_request_bytes: A request's body, before it is compressed; a record that is larger goes alone.
        deadline_s: For a whole request, connecting included.
        on_refused: What becomes of records that the receiver says it will never take: `set_aside` keeps a copy in a
            file and goes on, `block` tries again until somebody mends it.
        refused_file: That file; by default it is in the data folder, beside the sink's ledger.
    """

    url: str
    name: str = ""
    required: bool = True
    headers: dict[str, str] = {}
    headers_file: str = ""
    username: str = ""
    password_file: str = ""
    bearer_file: str = ""
    tls_ca: str = ""
    proxy: str = ""
    compress: Literal["", "gzip"] = "gzip"
    max_request_bytes: RequestBytes = 4 << 20
    deadline_s: Seconds = 30.0
    on_refused: Literal["set_aside", "block"] = "set_aside"
    refused_file: str = ""

    path: ClassVar[str] = "/"
    kind: ClassVar[str] = "http"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("label", self.label)]

    @property
    def label(self) -> str:
        """What it is called; never with a secret in it."""
        return self.name or f"{self.kind}:{masked(self.url).removesuffix('/...')}"

    def address(self) -> str:
        """Where records go, without what may be secret: `scheme://host:port`."""
        return masked(self.url).removesuffix("/...")

    def ledger_path(self) -> None:
        """Nowhere: without a data folder what was sent is known while the process lives."""

    def check(self) -> None:
        """Raises ConfigError for what waiting cannot mend."""
        self.client()
        self._headers()
        if self.refused_file:
            FileSinkConfig(self.refused_file, name=f"{self.label}, `refused_file`").check()

    def aside(self, ledger: Path | None) -> Path | None:
        """The file for what is refused; None where there is no place for it."""
        if self.refused_file:
            return Path(self.refused_file)
        return None if ledger is None else ledger.with_suffix(".refused.ndjson")

    def client(self) -> HttpClient:
        """Who sends the requests. Raises ConfigError."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            raise self._wrong("expected `url` as http://HOST:PORT or https://HOST:PORT") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise self._wrong("expected `url` as http://HOST:PORT or https://HOST:PORT")
        url = self.url if parts.path.strip("/") else parts._replace(path=self.path).geturl()
        try:
            return HttpClient(url, deadline_s=self.deadline_s, ca=self.tls_ca, proxy=self.proxy)
        except ConfigError as error:
            raise self._wrong(str(error)) from None

    def request_headers(self) -> dict[str, str]:
        """What goes with a request; secrets are read each time, since they may be changed at any time.

        Raises:
            DeliveryError: A file cannot be read now.
        """
        try:
            return self._headers()
        except ConfigError as error:
            raise DeliveryError(str(error), kind="config") from None

    def without_secrets(self, text: str) -> str:
        """What a receiver says, as a line of at most 200 characters, without what we have told it in secret."""
        text = "".join(char if char.isprintable() else " " for char in text[:_LONGEST_SAID]).strip()
        try:
            secrets = self._secrets()
        except ConfigError:
            return "..."
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "...")
        return text[:200]

    def _secrets(self) -> set[str]:
        parts, proxy = urlsplit(self.url), urlsplit(self.proxy)
        found = {parts.username or "", parts.password or "", proxy.password or "", parts.query}
        found |= {value for _, value in parse_qsl(parts.query)}
        if parts.path != self.path:
            found |= {parts.path, *[part for part in parts.path.split("/") if len(part) >= _SHORTEST_IN_PATH]}
        found |= {unquote(secret) for secret in found}
        for value in self._headers().values():
            found |= {value, value.rpartition(" ")[2]}
        if self.password_file:
            found.add(self._secret(self.password_file))
        return found

    def _headers(self) -> dict[str, str]:
        found = {**self._protocol_headers(), **self.headers}
        if self.headers_file:
            found.update(header_lines(f"sink {self.label}: headers_file", self._read(self.headers_file)))
        if bool(self.username) != bool(self.password_file):
            raise self._wrong("`username` and `password_file` go together, expected both or none")
        if self.username:
            pair = f"{self.username}:{self._secret(self.password_file)}"
            found["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        if self.bearer_file:
            found["Authorization"] = f"Bearer {self._secret(self.bearer_file)}"
        for name, value in found.items():
            if not _NAME.fullmatch(name) or name.lower() in _OURS:
                raise self._wrong(
                    f"header {name[:40]!r}: expected a name that is not one of {', '.join(sorted(_OURS))}"
                )
            if not value.isprintable() or not value.isascii():
                raise self._wrong(f"header {name}: its value has characters in it that a header cannot have")
        return found

    def _protocol_headers(self) -> dict[str, str]:
        return {}

    def _secret(self, path: str) -> str:
        secret = self._read(path).removesuffix("\n").removesuffix("\r")
        if not secret:
            raise self._wrong(f"{path}: is empty, expected a secret")
        return secret

    def _read(self, path: str) -> str:
        try:
            with Path(path).open("rb") as file:
                return file.read(_LONGEST_SECRET_FILE).decode()
        except UnicodeDecodeError:
            raise self._wrong(f"{path}: not UTF-8 text") from None
        except (OSError, ValueError) as error:
            raise self._wrong(f"{path}: cannot read: {getattr(error, 'strerror', None) or error}") from None

    def _wrong(self, text: str) -> ConfigError:
        return ConfigError(f"sink {self.label}: {text}")

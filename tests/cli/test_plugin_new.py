"""`logllm plugin new` and `build`: from a template to a .wasm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from logllm.cli.plugin_build import Recipe, Toolchain, build, toolchain
from logllm.cli.plugin_new import create, substituted
from logllm.errors import ConfigError, PluginError
from logllm.filters.loader import about
from logllm.filters.manifest import Manifest
from logllm.filters.shipped import sdk
from tests.cli.guests import logllm, ndjson, wat_sdk


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(here: Path) -> Path:
    create("drop-debug", wat_sdk(here), here)
    return here / "drop-debug"


def recipe(project: Path, *run: str, probe: tuple[str, ...] = ()) -> tuple[Manifest, Toolchain]:
    """A project built by one command of Python's."""
    way = Toolchain(probe=[list(probe)] if probe else [], run=[["{python}", "-c", *run]])
    return Manifest.load(project), way


def test_new_fills_in_the_name_in_texts_and_file_names_and_brings_the_sdk_along(here: Path) -> None:
    done = logllm("plugin", "new", "drop-debug", "--lang", "c", "--sdk", wat_sdk(here))

    assert done.exit_code == 0, done.stderr
    made = here / "drop-debug"
    assert (made / "README.md").read_text() == "# drop-debug, DropDebug, drop_debug\n"
    assert (made / "src" / "drop_debug.txt").read_text() == "DropDebug keeps {{other}}\n"
    assert (made / "sdk" / "compile.py").read_bytes() == (here / "sdk-wat" / "sdk" / "compile.py").read_bytes()
    assert sorted(path.name for path in here.iterdir()) == ["drop-debug", "sdk-wat"]
    commands = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert commands == [
        "logllm plugin build drop-debug",
        "logllm plugin test drop-debug",
        "logllm tail --once app.log --filter drop-debug/drop-debug.wasm",
    ]


def test_new_names_the_toolchain_that_is_missing_first(here: Path) -> None:
    sdk = wat_sdk(here)
    (Path(sdk) / "build.toml").write_text(
        'hint = "pip install a-compiler"\n[[try]]\nprobe = [["no-such-tool"]]\nrun = [["no-such-tool"]]\n'
    )

    done = logllm("plugin", "new", "drop-debug", "--lang", "c", "--sdk", sdk)

    commands = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert commands[0] == "the toolchain, which is not here yet: pip install a-compiler"
    assert commands[1] == "logllm plugin build drop-debug"


def test_new_never_writes_over_what_is_there(here: Path) -> None:
    (here / "mine").mkdir()
    (here / "link").symlink_to(here / "nowhere")
    (here / "file").touch()
    sdk_folder = wat_sdk(here)

    for name in ("mine", "link", "file"):
        done = logllm("plugin", "new", name, "--lang", "c", "--sdk", sdk_folder)

        assert done.exit_code == 1
        assert done.stderr == f"logllm: {name}: exists; nothing was written\n"
    assert list((here / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", "X", "1a", "a b", "a.b", "ä", "x" * 65, "a\n"])
def test_a_name_that_is_none_is_refused(here: Path, name: str) -> None:
    done = logllm("plugin", "new", name, "--lang", "c", "--sdk", wat_sdk(here))

    assert done.exit_code == 2
    assert "expected a name of small letters" in done.stderr
    assert [path.name for path in here.iterdir()] == ["sdk-wat"]


def test_the_names_in_a_template() -> None:
    assert substituted("{{Name}} {{name}} {{name_}} {name}", "a-b_c2") == "ABC2 a-b_c2 a_b_c2 {name}"


@pytest.mark.parametrize("part", ["sdk", "template"])
def test_an_sdk_that_lacks_a_part_makes_no_project(here: Path, part: str) -> None:
    folder = wat_sdk(here)
    (folder / part).rename(here / "elsewhere")

    refused = logllm("plugin", "new", "one", "--lang", "c", "--sdk", folder)

    assert refused.exit_code == 2
    assert f"{part}: no such folder; expected an SDK with template/, sdk/ and build.toml" in refused.stderr
    assert not (here / "one").exists()


def test_a_languages_name_may_be_written_in_capitals(here: Path) -> None:
    done = logllm("plugin", "new", "one", "--lang", "C", "--sdk", wat_sdk(here))

    assert done.exit_code == 0, done.stderr
    assert "a plugin in c." in done.stdout


def test_a_folder_that_is_not_there_is_named(here: Path) -> None:
    done = logllm("plugin", "build", "nowhere")

    assert done.exit_code == 2
    assert "'nowhere' does not exist" in done.stderr


def test_build_uses_the_first_toolchain_that_is_there_and_labels_what_comes_out(project: Path, here: Path) -> None:
    done = logllm("plugin", "build", project, "--sdk", here / "sdk-wat")

    assert done.exit_code == 0, done.stderr
    wasm = project / "drop-debug.wasm"
    found = about(wasm.read_bytes())
    assert found.section == {
        "name": "drop-debug",
        "version": "0.1.0",
        "license": "MIT",
        "abi": "fluentbit",
        "wants": [],
    }
    assert done.stdout.startswith(f"{wasm}: {found.size_bytes:,} bytes, fluentbit, built in ")
    records = ndjson({"level": "info"}, {"level": "debug"})
    assert logllm("plugin", "run", wasm, given=records).stdout == '{"level":"info"}\n'


def test_a_second_build_gives_the_same_bytes(project: Path, here: Path) -> None:
    logllm("plugin", "build", project, "--sdk", here / "sdk-wat")
    first = (project / "drop-debug.wasm").read_bytes()

    logllm("plugin", "build", project, "--sdk", here / "sdk-wat")

    assert (project / "drop-debug.wasm").read_bytes() == first


def test_without_a_toolchain_one_line_tells_how_to_get_one(project: Path) -> None:
    (project / "build.toml").write_text(
        'hint = "pip install a-compiler"\n[[try]]\nprobe = [["no-such-tool"]]\nrun = [["no-such-tool"]]\n'
        '[[try]]\nprobe = [["{python}", "-c", "raise SystemExit(3)"]]\nrun = [["{python}"]]\n'
    )

    done = logllm("plugin", "build", project)

    assert done.exit_code == 1
    assert done.stderr == "logllm: drop-debug: no toolchain for wat here; get one with: pip install a-compiler\n"
    assert not (project / "drop-debug.wasm").exists()


def test_what_the_compiler_says_is_shown_as_it_is_and_the_old_file_stays(project: Path, here: Path) -> None:
    (project / "drop-debug.wasm").write_bytes(b"old")
    (project / "src" / "filter.wat").write_text("(module (func (export wrong)))")

    done = logllm("plugin", "build", project, "--sdk", here / "sdk-wat")

    assert done.exit_code == 1
    assert "filter.wat: " in done.stderr
    assert "(module (func (export wrong)))" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("failed with exit code 1")
    assert (project / "drop-debug.wasm").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pass", "the build wrote no file"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("import sys; open(sys.argv[1], 'w').write('hello')", "it is text"),
        ("import sys; open(sys.argv[1], 'wb').write(b'\\0asm\\1\\0\\0\\0')", "it is no plugin"),
    ],
)
def test_a_build_that_makes_no_plugin_is_a_failure_that_says_why(project: Path, code: str, words: str) -> None:
    manifest, way = recipe(project, code, "{out}")

    with pytest.raises(PluginError, match=words):
        build(project, manifest, way)

    assert not (project / "drop-debug.wasm").exists()


def test_the_placeholders_and_the_environment_reach_the_commands(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = "import json, os, sys; print(json.dumps([os.environ['KEY'], os.getcwd(), *sys.argv[1:]]), end='')"
    words = ["{dir}", "{sdk}", "{name}", "{node_modules}", "{other}", "x{name}y"]
    manifest = Manifest.load(project)
    way = Toolchain(probe=[], run=[["{python}", "-c", code, *words]], env={"KEY": "for {name}"})
    monkeypatch.setenv("LOGLLM_NODE_MODULES", str(tmp_path / "elsewhere"))
    said: list[str] = []

    with pytest.raises(PluginError, match="wrote no file"):
        build(project, manifest, way, tell=said.append)
    (project / "node_modules").mkdir()
    with pytest.raises(PluginError, match="wrote no file"):
        build(project, manifest, way, tell=said.append)

    first, second = (json.loads(line) for line in said)
    here = str(project.resolve())
    assert first == [
        "for drop-debug", here, here, f"{here}/sdk", "drop-debug", f"{tmp_path}/elsewhere", "{other}", "xdrop-debugy"
    ]  # fmt: skip
    assert second[5] == f"{here}/node_modules"


def test_a_probe_decides_which_toolchain_is_used(project: Path) -> None:
    wrong = Toolchain(probe=[["{python}", "-c", ""], ["{python}", "-c", "raise SystemExit(1)"]], run=[["x"]])
    right = Toolchain(
        probe=[["{python}", "-c", "import os; assert os.environ['A'] == '1'"]], run=[["y"]], env={"A": "1"}
    )
    manifest = Manifest.load(project)

    assert toolchain(project, manifest, Recipe(hint="", ways=[wrong, right])) is right
    assert toolchain(project, manifest, Recipe(hint="", ways=[wrong])) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Object missing required field `hint`"),
        ('hint = ""\n', "missing required field `try`"),
        ('hint = ""\ntry = []\n', r"at `\$\.try`"),
        ('hint = ""\n[[try]]\nprobe = [[]]\nrun = [["x"]]\n', r"at `\$\.try\[0\]\.probe\[0\]`"),
        ('hint = ""\n[[try]]\nprobe = []\nrun = ["x"]\n', r"Expected `array`, got `str` - at `\$\.try\[0\]\.run"),
    ],
)
def test_a_build_file_that_is_wrong_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "build.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=words):
        Recipe.load(path)


def test_ctrl_c_ends_the_compiler_too(project: Path) -> None:
    pid_file = project / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "pipeline")}
    starter = (
        "import os, signal, sys, threading, time\n"
        "from pathlib import Path\n"
        "from logllm.cli.plugin_build import Toolchain, build\n"
        "from logllm.filters.manifest import Manifest\n"
        "project, code = Path(sys.argv[1]), sys.argv[2]\n"
        "def interrupt():\n"
        "    while not (project / 'pid').exists() or not (project / 'pid').read_text():\n"
        "        time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        "try:\n"
        "    build(project, Manifest.load(project), Toolchain(probe=[], run=[['{python}', '-c', code]]))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", starter, str(project), code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )

    assert done.stdout == "interrupted\n", done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_the_template_for_c_becomes_a_filter_that_does_what_the_pages_say(here: Path) -> None:
    made = create("my-filter", sdk("c"), here)
    found = Recipe.load(sdk("c") / "build.toml")
    if toolchain(made, Manifest.load(made), found) is None:
        pytest.skip(f"no toolchain for C: {found.hint}")

    built = logllm("plugin", "build", made)
    tested = logllm("plugin", "test", made)
    records = ndjson({"level": "debug", "n": 1}, {"level": "error", "n": 2}, {"level": "info", "n": 3}, {"n": 4})
    ran = logllm("plugin", "run", made / "my-filter.wasm", given=records)

    assert built.exit_code == 0, built.stderr
    assert tested.exit_code == 0, tested.stdout + tested.stderr
    assert ran.exit_code == 0, ran.stderr
    assert [json.loads(line) for line in ran.stdout.splitlines()] == [
        {"level": "error", "n": 2, "seen_by": "my-filter"},
        {"level": "info", "n": 3},
        {"n": 4},
    ]

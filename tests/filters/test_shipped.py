from __future__ import annotations

from pathlib import Path

import pytest

from logllm.errors import ConfigError, PluginLoadError
from logllm.filters import shipped as module
from logllm.filters.shipped import languages, resolve, root, sdk, shipped

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of its own with plugins inside, as a wheel has them."""
    package = tmp_path / "site-packages" / "logllm"
    (package / "filters").mkdir(parents=True)
    for name in ("redact", "unbuilt"):
        (package / "plugins" / name).mkdir(parents=True)
        (package / "plugins" / name / "plugin.toml").touch()
    (package / "plugins" / "redact" / "redact.wasm").touch()
    (package / "plugins" / "sdk" / "c").mkdir(parents=True)
    (package / "plugins" / "sdk" / "c" / "build.toml").touch()
    (package / "plugins" / "sdk" / "wit").mkdir()
    monkeypatch.setattr(module, "__file__", str(package / "filters" / "shipped.py"))
    return package / "plugins"


def test_in_the_repository_the_plugins_are_beside_the_package() -> None:
    assert root() == REPOSITORY / "plugins"


def test_in_a_wheel_the_plugins_are_inside_the_package(plugins: Path) -> None:
    assert root() == plugins
    assert sdk("c") == plugins / "sdk" / "c"


def test_only_built_plugins_ship(plugins: Path) -> None:
    assert shipped() == {"redact": plugins / "redact" / "redact.wasm"}


def test_every_language_has_what_new_and_build_need() -> None:
    for language in languages():
        folder = sdk(language)

        assert (folder / "template" / "plugin.toml").is_file(), language
        assert (folder / "sdk").is_dir(), language


def test_an_unknown_language_names_those_there_are(plugins: Path) -> None:
    with pytest.raises(ConfigError, match=r"cobol: no SDK .* expected one of c$"):
        sdk("cobol")


def test_a_path_is_taken_as_it_is_and_a_name_that_ships_wins_over_a_file(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "redact"
    own.touch()
    monkeypatch.chdir(tmp_path)

    assert resolve("redact") == plugins / "redact" / "redact.wasm"
    assert resolve("./redact") == Path("redact")
    assert resolve(str(own)) == own


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unbuilt", "no such file; expected a .wasm file, or the name of one that ships: redact"),
        ("", "not a file"),
        (".", "not a file"),
        ("a\0b", "no such file|not a path"),
        ("x" * 5_000, "not a path"),
        ("~nobody-of-this-name/x.wasm", "not a path"),
    ],
)
def test_what_is_no_file_is_refused_with_what_was_expected(plugins: Path, name: str, words: str) -> None:
    with pytest.raises(PluginLoadError, match=words):
        resolve(name)

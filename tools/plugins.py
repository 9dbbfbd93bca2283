"""Build the plugins that ship: `python tools/plugins.py [--check] [NAME...]`, with the toolchains that are there.

`--check` builds into a scratch folder and compares with the committed .wasm, bit for bit. That is only asked of the
compiler the committed file names as its own; where it names none, of the first toolchain that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

from logllm.cli.plugin_build import Recipe, build, compiler, recipe_for, toolchain
from logllm.errors import LogllmError
from logllm.filters.manifest import FILE, Manifest
from logllm.filters.sections import plugin_section

ROOT = Path(__file__).resolve().parent.parent


def projects(root: Path, wanted: list[str]) -> list[Path]:
    """The folders of plugins below `root`, those `wanted` or all."""
    found = [path.parent for path in sorted(root.glob(f"*/{FILE}")) if path.parent.name != "sdk"]
    return [folder for folder in found if not wanted or folder.name in wanted]


def named_compiler(wasm: Path) -> str:
    """The compiler that a built file says it was built with, "" where it does not say."""
    section = plugin_section(wasm.read_bytes()) or {}
    return str(section.get("built_with", ""))


def build_one(folder: Path, *, check: bool) -> tuple[bool, str]:
    """Whether it went well, and what to say."""
    manifest = Manifest.load(folder)
    recipe = recipe_for(folder, manifest)
    committed = manifest.wasm(folder)
    if check and not committed.is_file():
        return True, f"skipped: no {committed.name} is committed to compare with"
    if check and not recipe.reproducible:
        return True, f"skipped: what {manifest.language}'s toolchain builds is never the same twice"
    wanted = named_compiler(committed) if check else ""
    here = [way for way in recipe.ways if toolchain(folder, manifest, Recipe(recipe.hint, [way])) is not None]
    if not here:
        return True, f"skipped: no toolchain for {manifest.language}; get one with: {recipe.hint}"
    way = next((way for way in here if not wanted or compiler(folder, manifest, way) == wanted), None)
    if way is None:
        return True, f"skipped: built with {wanted}; here is {compiler(folder, manifest, here[0]) or 'another'}"

    def tell(text: str) -> None:
        print(text, end="", file=sys.stderr)

    if not check:
        built = build(folder, manifest, way, tell=tell)
        return True, f"{built.size_bytes:,} bytes, {built.abi}, {built.seconds:.1f} s"
    with tempfile.TemporaryDirectory(prefix="logllm-check-") as scratch:
        built = build(folder, manifest, way, out=Path(scratch) / committed.name, tell=tell)
        fresh, old = built.path.read_bytes(), committed.read_bytes()
    if fresh == old:
        return True, f"same, {built.size_bytes:,} bytes"
    return False, (
        f"FAILED: differs from the committed file: {len(fresh):,} bytes, sha256 {hashlib.sha256(fresh).hexdigest()}; "
        f"committed {len(old):,} bytes, {hashlib.sha256(old).hexdigest()}"
    )


def main(arguments: list[str], root: Path = ROOT / "plugins") -> int:
    """The number of plugins that failed, at most 100; 1 where one that is named does not exist."""
    parser = argparse.ArgumentParser(prog="tools/plugins.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files, change nothing")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(arguments)
    found = projects(root, options.names)
    missing = sorted(set(options.names) - {folder.name for folder in found})
    failed = len(missing)
    for name in missing:
        print(f"{name}: no such plugin in {root.name}/")
    for folder in found:
        try:
            well, told = build_one(folder, check=options.check)
        except LogllmError as error:
            well, told = False, f"FAILED: {error}"
        print(f"{folder.name}: {told}", flush=True)
        failed += not well
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

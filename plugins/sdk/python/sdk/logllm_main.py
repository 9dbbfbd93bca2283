"""What logllm calls: takes batches of records apart for `filter` in filter.py and puts the answers together."""

import gc
import json
import random  # noqa: F401 - componentize-py loads it after this file, and would leave what that takes in the .wasm
import re
import sys
import time

import wit_world

import logllm

_MOST_WORDS = 400


class _Log:
    """Where `print` goes: there is no terminal here, and writing to one would end the filter."""

    def __init__(self, level):
        self._level = level
        self._line = ""

    def write(self, text):
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            logllm.log(line, self._level)
        return len(text)

    def flush(self):
        pass


def _seconds():
    return logllm.now() / 1000


def _nanoseconds():
    return logllm.now() * 1_000_000


# The clock of the system is not to be had either: asking for it would end the filter without a word.
time.time = time.monotonic = time.perf_counter = _seconds
time.time_ns = time.monotonic_ns = time.perf_counter_ns = _nanoseconds

import filter as plugin  # noqa: E402 - it may have said `from time import time`

if not hasattr(plugin, "filter"):
    raise TypeError("filter.py has no function filter")
_filter = plugin.filter
_takes = _filter.__code__.co_argcount
_loads = json.JSONDecoder().decode
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
# Where Python may write a number otherwise than it was written.
_exponent = re.compile(r"[0-9][eE][+-]?[0-9]").search


def _refuse(event, args):
    """An audit hook: without it, what reaches outside would end the filter without a word."""
    if event == "import" and args[0] not in sys.builtin_module_names:
        raise ImportError(f"{args[0]} is not there; expected its import at the top of a file, so that it is built in")
    if event == "open" or event.startswith(("os.", "socket.", "subprocess.")):
        raise PermissionError(f"{event}: a filter has no files, network or processes")


class WitWorld(wit_world.WitWorld):
    def configure(self, config_json):
        sys.addaudithook(_refuse)
        sys.stdout = _Log("info")
        sys.stderr = _Log("warning")
        init = getattr(plugin, "init", None)
        if init is not None:
            try:
                init(json.loads(config_json))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
                return _words(error)
        return None

    def on_batch(self, tag, times, records):
        out = []
        times = times.split("\n") if _takes > 2 else None
        for i, line in enumerate(records.split("\n")):
            try:
                if times is not None:
                    seconds, _, rest = times[i].partition(".")
                    record = _filter(_loads(line), tag, int(seconds) * 1_000_000_000 + int(rest))
                elif _takes == 2:
                    record = _filter(_loads(line), tag)
                else:
                    record = _filter(_loads(line))
                out.append("" if record is None else _written(record, line))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it costs this record and no other
                out.append("!" + _words(error))
        text = "\n".join(out)
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-8", "replace").decode()
        return text

    def answer(self, ticket, text):
        take = getattr(plugin, "answer", None)
        if take is not None:
            try:
                take(ticket, text)
            except BaseException as error:
                logllm.log(_words(error), "error")
                raise


def _written(record, line):
    if not isinstance(record, dict):
        raise TypeError(f"filter returned {type(record).__name__}; expected the record, or None to drop it")
    text = _dumps(record)
    if text == line or (_exponent(line) and text == _dumps(_loads(line))):
        return line
    return text


def _words(error):
    try:
        said = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001 - the author's own exception, and its own __str__
        said = ""
    at, frame = "", error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        if code.co_filename == plugin.__file__:
            at = f" (filter.py, line {frame.tb_lineno})"
        frame = frame.tb_next
    return logllm._text(f"{type(error).__name__}: {said}"[:_MOST_WORDS] + at)


def _scrub():
    """Overwrite with zeros what freed objects left behind: the memory as it is now becomes the .wasm file.

    Blocks of each size are taken until one comes from beyond all that was ever used. A fifth of the file less.
    """
    gc.collect()
    marks = [bytes(1 << 18) for _ in range(4)]
    top = max(map(id, marks))
    large = [1 << power for power in range(17, 9, -1)]
    kept = []
    for size in (*large, *range(512, 0, -16)):
        while True:
            block = bytes(size - 1)
            kept.append(block)
            if id(block) > top:
                break


_scrub()

"""What the masks take for variable, token by token and line by line."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm.templates.codes import codes_in
from logllm.templates.masks import WILD, mask
from logllm.templates.mined import MAX_CHARS, mined_part, printable
from logllm.templates.miner import Miner


def _typed(line: str) -> str:
    miner = Miner()
    return miner.template(int(miner.ids([line])[0])).text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("from 10.0.0.1 port 22 ssh2", "from <ip> port <num> ssh2"),
        ("src: /10.251.30.6:33145 dest: /10.251.30.6:50010", "src: <ip> dest: <ip>"),
        ("10.251.30.85:50010:Got exception", "<ip>:Got exception"),
        ("listening on [2001:db8::1]:443 and fe80::1%eth0", "listening on <ip> and <ip>"),
        ("link 00:1b:44:11:3a:b7 up", "link <mac> up"),
        ("GET https://a.example/x?y=1 done", "GET <url> done"),
        ('10.1.1.1 "GET /v2/abc/detail?all=True HTTP/1.1" status: 200', '<ip> "GET <path>" status: <num>'),
        ("open /var/log/app.log: denied", "open <path>: denied"),
        ("read C:\\Windows\\system.ini failed", "read <path> failed"),
        ("load/store failed with an I/O problem", "load/store failed with an I/O problem"),
        ("id b9000564-fe1a-409b-b8cc-1e88b294cd1d gone", "id <uuid> gone"),
        ("block blk_-1608999687919862906 and attempt_14_m_0", "block <id> and <id>"),
        ("at 0x0b85eee0 mask 0x05 sum 9f86d081884c7d65", "at <hex> mask <hex> sum <hex>"),
        ("waited 10000ms of 1.5e-3s, 37% (-4)", "waited <dur> of <num>, <num> (<num>)"),
        ("used 12 MB of 3 GB", "used <num> MB of <num> GB"),
        ("generating core.2275", "generating core.<num>"),
        ("fetch icache prefetch depth....................0", "fetch icache prefetch depth....................<num>"),
        ("mail to bob@example.com bounced", "mail to <email> bounced"),
        ("lookup ns.marryaldkfaczcz.com failed", "lookup <host> failed"),
        ("class org.apache.hadoop.mapreduce.Task loaded", "class org.apache.hadoop.mapreduce.Task loaded"),
        ("enabled=true cache=null", "enabled=<bool> cache=<bool>"),
        ("failure: uid=0 tty=ssh ruser= user=bob", "failure: uid=<num> tty=ssh ruser= user=bob"),
        ("level=error msg=stopped count=5", "level=error msg=stopped count=<num>"),
        ("jk2_init() Found child 6725 in slot 10", "jk2_init() Found child <num> in slot <num>"),
        ("Checking 'hlt' instruction... OK.", "Checking 'hlt' instruction... OK."),
        ("at Sun Jun 19 03:20:10 2005 from x", "at <time> from x"),
        ("from 2017-05-16 00:00:00 to 2017-05-16T01:00:00.123Z", "from <time> to <time>"),
        ("22/Nov/2026:20:49:58 +0000 start", "<time> <num> start"),
        ("user alice logged in", "user <user> logged in"),
        ("check pass; user unknown", "check pass; user unknown"),
        ("ask 10.0.0.1:5 to delete blk_1 blk_2 blk_3", "ask <ip> to delete <id>"),
        ("QuorumServer@1f2e3d4 started", "QuorumServer@<num> started"),
        ('{"level":"info","msg":"started","n":5}', '{"level":"info","msg":"started","n":<num>}'),
        ('tag="View Lock" flags=0x1', 'tag="View Lock" flags=<hex>'),
        ("steps=15140##6993##7", "steps=<num>##<num>##<num>"),
        ("localhost:80 and t.cn:80 and job.py:80", "<host> and <host> and job.py:<num>"),
        ("moved 1024M->512M, 1,204,553 rows, 1.5KB", "moved <size>-><size>, <num> rows, <size>"),
        ("handle @0x21 of CORP\\jdoe for user www-data.", "handle @<hex> of <user> for user <user>."),
        ("copied C:\\Program Files\\App\\x.bin to D:\\a b", "copied <path> to <path> b"),
        ("Access denied for 'app'@'10.0.0.5'", "Access denied for 'app'@'<ip>'"),
        ("en0: up, %LINK-3-UPDOWN seen by node7", "en0: up, %LINK-3-UPDOWN seen by <id>"),
        ("for *.example.com in 3m12s", "for <host> in <dur>"),
        ("mv /a/b /c/d of blk_1 blk_2", "mv <path> <path> of <id>"),
        ("Retry msra-sa-41:8030 from sweep.c:1482", "Retry <host> from sweep.c:<num>"),
        ("lifetime <1 sec", "lifetime <num>"),
        ("error E1 in step 3", "error E1 in step <num>"),
        ("", ""),
        ("   \t ", ""),
        ("12345", "<num>"),
    ],
)
def test_a_line_shows_the_types_of_what_varies(line: str, text: str) -> None:
    assert _typed(line) == text


def test_a_word_that_only_probably_varies_stays_on_show_until_another_is_seen() -> None:
    miner = Miner()
    index = int(miner.ids(["tty=ssh user=alice"])[0])

    before = miner.template(index)
    assert int(miner.ids(["tty=ssh user=bob"])[0]) == index
    after = miner.template(index)

    assert (before.text, after.text) == ("tty=ssh user=alice", "tty=ssh user=<*>")
    assert (before.id, before.version, after.id, after.version) == (before.id, 1, before.id, 2)


def test_a_place_that_held_an_address_and_a_name_is_one_template() -> None:
    miner = Miner()

    indices = miner.ids(["rhost=10.0.0.1 down", "rhost=db.example.com down", "rhost= down"]).tolist()

    assert len(set(indices)) == 1
    assert miner.template(indices[0]).untyped == "rhost=<*> down"


@given(st.text(alphabet="aE1 =:.,#('\"/-_@x", max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_shape_has_no_digits_but_in_codes_and_names(line: str) -> None:
    shapes, shown = mask(line)

    assert all(shape.count(WILD) == len(shows) for shape, shows in zip(shapes, shown, strict=True))
    for shape in shapes:
        for piece in re.split(r"\.{2,}|[,;:|\"'`\[\]){}<>#]", shape):
            # the names of functions, fields and classes keep theirs
            rest = re.sub(r"[A-Za-z_][\w.$\-]*[(=]|(?:\w+\.)*[A-Z][\w.]*@|(?:\w+\.)+[A-Z]\w*", "", piece).rstrip(".!?*")
            for code in codes_in(rest):
                rest = rest.replace(code, "", 1)
            assert all(not part.isdecimal() for part in re.findall(r"[0-9]+|.", rest)), shape


_HOSTILE = {
    "ten megabytes": "x1 " * 3_500_000,
    "one long word": "a" * 10_000_000,
    "hyphens": "a-" * 1000,
    "dots": "a." * 1000,
    "dot leaders": ".." * 1000,
    "slashes": "/a" * 1000,
    "colons": "1:" * 1000,
    "hex and colons": "ab:" * 700,
    "quotes": "'" * 2000,
    "key and quotes": "k='" * 700,
    "equals": "a=" * 1000,
    "commas in a number": "1" + "," * 1990 + "x",
    "ones": "1" * 2000 + "x!",
    "at signs": "a@" * 1000,
    "backslashes": "\\" * 2000,
    "brackets": "[({<" * 500,
    "months": "Jan 1 " * 330,
    "hex letters": "abcdef" * 330,
    "exceptions": "x\n" + "Error." * 1000,
    "traceback": "Traceback (most recent call last):\n" + " a\n" * 100_000 + "ValueError: x",
    "codes": "E1 " * 660,
    "stars": "<*>" * 660,
    "surrogates": "\ud800 \udfff x5" * 100,
    "controls": "".join(map(chr, range(1, 32))) * 60,
    "nul": "a\0b\0c",
    "unicode digits": "٣٤ ²³ ⅷ" * 100,
    "separators": "a\u2028b\x85c\x1cd\x0be",
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_text_is_mined_in_linear_time_and_shown_as_it_can_be(name: str) -> None:
    message = _HOSTILE[name]
    miner = Miner()

    begun = time.process_time()
    indices = miner.ids([message, "plain", message]).tolist()
    seconds = time.process_time() - begun

    assert indices[0] == indices[2] != indices[1]
    template = miner.template(indices[0])
    assert len(template.text.encode()) < 20 * MAX_CHARS
    assert len(miner.parameters(indices[0], message)) <= 32
    assert seconds < 0.5


def test_nul_inside_a_message_does_not_shift_the_others() -> None:
    miner = Miner()

    indices = miner.ids(["a b", "c\0d", "e f", "c d"]).tolist()

    assert indices == [0, 1, 2, 1]


def test_only_the_start_of_a_long_message_is_mined() -> None:
    miner = Miner()

    one, other = miner.ids(["word " * 500, "word " * 500 + "and a tail that differs"]).tolist()

    assert one == other


_PYTHON = """\
Traceback (most recent call last):
  File "/srv/app/main.py", line {line}, in {name}
    {name}()
{frames}ValueError: bad value {value}"""
_JAVA = """\
request {value} failed
java.lang.IllegalStateException: pool is closed
	at com.example.Pool.take(Pool.java:{line})
{frames}Caused by: java.io.IOException: broken pipe
	... 12 more"""


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (_PYTHON, "Traceback (most recent call last): … ValueError: bad value <num>"),
        (_JAVA, "request <num> failed … java.lang.IllegalStateException: pool is closed"),
    ],
)
def test_the_frames_of_a_stack_trace_do_not_make_templates(pattern: str, text: str) -> None:
    miner = Miner()
    traces = [
        pattern.format(line=n, name=f"step_{'abc'[n % 3]}", value=n * 7, frames=f"  at frame {n}\n" * (n % 5))
        for n in range(40)
    ]

    indices = set(miner.ids(traces).tolist())

    assert len(indices) == 1
    assert miner.template(indices.pop()).text == text


def test_two_exceptions_under_one_first_line_are_two_templates() -> None:
    first = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no'
    second = 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: no'
    miner = Miner()

    one, other = miner.ids([first, second]).tolist()

    assert one != other


def test_the_exception_of_a_very_long_traceback_is_found_at_its_end() -> None:
    message = "Traceback (most recent call last):\n" + "  frame\n" * 5000 + "app.errors.TooDeep: gave up"

    assert mined_part(message) == "Traceback (most recent call last): … app.errors.TooDeep: gave up"


def test_lone_surrogates_are_shown_as_question_marks() -> None:
    assert printable("a\ud800b") == "a?b"
    assert printable("ünï") == "ünï"


def test_a_mask_does_not_depend_on_what_was_masked_before() -> None:
    lines = ["took 5 ms", "user=a E1", "from 10.0.0.1", "user root"]
    alone = [mask(line) for line in lines]

    again = [mask(line) for line in reversed(lines)]

    assert again[::-1] == alone

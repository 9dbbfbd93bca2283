"""The SDK for C: its template, what it can do beside, and what it makes of blocks that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sdk.abilities import built, check_all
from tests.sdk.conformance import Native, check
from tests.sdk.memory import check_buffers, check_out_of_memory
from tests.sdk.pages import PAGES, follow, pieces

GUEST = r"""
#define LOGLLM_INIT on_init
#define LOGLLM_ANSWER on_answer
#define LOGLLM_FLUSH on_flush
#define LOGLLM_SAVE on_save
#define LOGLLM_LOAD on_load
#define LOGLLM_IMPLEMENTATION
#include "logllm.h"

static ll_str text;
static int64_t number;
static double share;
static int on, counted, emitted;
static const ll_str dash[] = {LL("-")};
static const ll_str *words = dash, *none = dash;
static uint32_t word_count = 1, none_count = 1;

void on_init(void) {
  static const ll_str names[] = {LL("text"), LL("number"), LL("share"), LL("on"), LL("words"), LL("none")};
  const ll_str *list;
  ll_config_only(names, 6);
  text = ll_config_str(LL("text"), LL("-"));
  number = ll_config_int(LL("number"), 7);
  share = ll_config_double(LL("share"), 0.5);
  on = ll_config_bool(LL("on"), 1);
  if ((list = ll_config_strs(LL("words"), &word_count))) words = list;
  if ((list = ll_config_strs(LL("none"), &none_count))) none = list;
}

void on_answer(int32_t ticket, ll_str answer) {
  ll_text line = {0};
  ll_add_int(&line, ticket);
  ll_add(&line, LL(": "));
  ll_add(&line, answer);
  ll_log(LL_INFO, line.text);
}

static void emit(ll_str name, ll_value value) {
  ll_value pair[] = {ll_str_value(name), value};
  ll_emit(ll_entry_value(8, 9, ll_map_value(pair, 1)));
}

void on_flush(int64_t now_ms) {
  if (emitted) emit(LL("flushed"), ll_int_value(now_ms));
  emitted = 0;
}

ll_str on_save(void) {
  ll_text state = {0};
  if (counted) ll_add_int(&state, counted);
  return state.text;
}

int on_load(ll_str state) {
  if (state.size != 1 || state.at[0] < '0' || state.at[0] > '9') return 1;
  counted = state.at[0] - '0';
  return 0;
}

static void read(ll_record *r) {
  static const ll_str kinds[] = {LL("absent"), LL("nil"), LL("boolean"), LL("int"), LL("float"),
                                 LL("string"), LL("binary"), LL("array"), LL("map"), LL("ext")};
  static const ll_str names[] = {LL("s"), LL("i"), LL("u"), LL("f"), LL("b"),
                                 LL("n"), LL("k"), LL("list"), LL("bin"), LL("no")};
  ll_text told = {0};
  ll_str s, bytes;
  int64_t i, whole;
  double f, small, large;
  int b, wrong = 0;
  for (int at = 0; at < 10; at++) {
    if (at) ll_add(&told, LL(" "));
    ll_add(&told, kinds[ll_type_of(ll_get(r, names[at]))]);
    wrong += ll_get_int(r, names[at], &whole) && at != 1;
    wrong += ll_get_bool(r, names[at], &b) && at != 4;
    wrong += ll_get_str(r, names[at], &s) && at != 0;
    wrong += ll_get_double(r, names[at], &f) && (at < 1 || at > 3);
  }
  wrong += ll_in(ll_get(r, LL("s")), LL("x")).at || ll_item(ll_get(r, LL("k")), 0).at || ll_path(r, LL("k.no.a")).at;
  wrong += ll_item(ll_get(r, LL("list")), 3).at || ll_path(r, LL("s.x")).at || ll_path(r, LL("")).at;
  ll_str deep, item;
  int fine = ll_get_str(r, LL("s"), &s) && ll_get_int(r, LL("i"), &i) && ll_get_double(r, LL("f"), &f);
  fine = fine && ll_get_double(r, LL("i"), &small) && ll_get_double(r, LL("u"), &large) && ll_get_bool(r, LL("b"), &b);
  fine = fine && ll_to_str(ll_path(r, LL("k.l.a")), &deep) && ll_to_str(ll_item(ll_get(r, LL("list")), 1), &item);
  if (!fine || !ll_to_bytes(ll_get(r, LL("bin")), &bytes)) return;
  uint32_t lengths = ll_length(ll_get(r, LL("k"))) + ll_length(ll_get(r, LL("list")));
  lengths += ll_length(ll_path(r, LL("k.l"))) + ll_length(ll_item(ll_get(r, LL("list")), 2));
  lengths += ll_length(ll_get(r, LL("s")));
  ll_set_str(r, LL("string"), s);
  ll_set_int(r, LL("int"), i);
  ll_set_double(r, LL("float"), f);
  ll_set_double(r, LL("int_as_float"), small);
  ll_set_double(r, LL("large_as_float"), large);
  ll_set_bool(r, LL("boolean"), !b);
  ll_set_str(r, LL("path"), deep);
  ll_set_str(r, LL("item"), item);
  ll_set_int(r, LL("lengths"), lengths);
  ll_set_int(r, LL("binary"), bytes.size);
  ll_set_str(r, LL("kinds"), told.text);
  ll_set_int(r, LL("wrong"), wrong);
}

static ll_value list_of(const ll_str *items, uint32_t count) {
  ll_value values[8];
  for (uint32_t at = 0; at < count; at++) values[at] = ll_str_value(items[at]);
  return ll_array_value(values, count);
}

ll_verdict ll_filter(ll_record *r) {
  ll_str what, kept;
  int64_t v;
  if (!ll_get_str(r, LL("do"), &what)) return LL_KEEP;
  if (ll_same(what, LL("read"))) read(r);
  if (ll_same(what, LL("number")) && ll_get_int(r, LL("v"), &v)) ll_set_int(r, LL("copy"), v);
  if (ll_same(what, LL("text")) && ll_get_str(r, LL("v"), &kept)) ll_set_str(r, LL("copy"), kept);
  if (ll_same(what, LL("edit"))) {
    ll_value changed = ll_map_with(ll_get(r, LL("k")), LL("a"), ll_str_value(LL("changed")));
    changed = ll_map_with(ll_map_with(changed, LL("b"), (ll_value){0}), LL("c"), ll_bool_value(1));
    ll_set(r, LL("k"), changed);
    ll_remove(r, LL("gone"));
    ll_rename(r, LL("old"), LL("new"));
    ll_rename(r, LL("nothing"), LL("k"));
    ll_set(r, LL("last"), ll_nil_value());
    ll_value items[] = {ll_double_value(1.5), ll_bool_value(0)};
    ll_set(r, LL("raw"), ll_map_with((ll_value){0}, LL("x"), ll_array_value(items, 2)));
  }
  if (ll_same(what, LL("again"))) {
    ll_set_int(r, LL("a"), 1);
    ll_set_int(r, LL("a"), 2);
    if (ll_get_int(r, LL("a"), &v)) ll_set_int(r, LL("seen"), v);
    ll_set_int(r, LL("a"), 3);
  }
  if (ll_same(what, LL("doubles"))) {
    ll_set_int(r, LL("a"), 7);
    ll_remove(r, LL("b"));
    ll_rename(r, LL("c"), LL("d"));
  }
  if (ll_same(what, LL("where"))) {
    int64_t seconds;
    uint32_t nanoseconds;
    ll_time(r, &seconds, &nanoseconds);
    ll_set_int(r, LL("seconds"), seconds);
    ll_set_int(r, LL("nanoseconds"), nanoseconds);
    ll_set_str(r, LL("tag"), ll_tag());
    if (ll_in(ll_metadata(r), LL("s")).at) ll_set(r, LL("service"), ll_in(ll_metadata(r), LL("s")));
  }
  if (ll_same(what, LL("host"))) {
    char random[16] = {0};
    ll_text line = {0}, odd = {0};
    ll_add(&line, LL("n="));
    ll_add_int(&line, 5);
    ll_add(&line, LL(" \xc3\xa9"));
    ll_log(LL_WARNING, line.text);
    ll_metric(LL("seen"), 5);
    ll_metric(LL("seen"), -2);
    ll_add(&odd, LL("{\"rule\":\"odd\",\"text\":"));
    ll_add_json(&odd, LL("a \"b\"\n"));
    ll_add(&odd, LL("}"));
    ll_anomaly(750, odd.text);
    if (ll_get_str(r, LL("long"), &kept)) ll_kv_set(LL("key"), kept);
    ll_set_int(r, LL("now"), ll_now_ms());
    if (ll_kv_get(LL("key"), &kept)) ll_set_str(r, LL("kept"), kept);
    ll_set_int(r, LL("ticket"), ll_ask(LL("why?")));
    ll_set_int(r, LL("n"), ll_random(random, 16) ? -1 : 16);
  }
  if (ll_same(what, LL("absent"))) {
    ll_set_bool(r, LL("kept"), ll_kv_get(LL("none"), &kept));
    static const char large[2000] = {1};
    ll_set_bool(r, LL("room"), ll_kv_set(LL("large"), (ll_str){large, 2000}) == 0);
  }
  if (what.size >= 4 && ll_same((ll_str){what.at, 4}, LL("emit"))) {
    ll_value items[] = {ll_bool_value(1), ll_str_value(LL("x"))};
    emitted = 1;
    emit(LL("emitted"), ll_array_value(items, 2));
    if (what.size > 4) return LL_DROP;
    emit(LL("emitted"), ll_array_value(items, 2));
  }
  if (ll_same(what, LL("fail"))) ll_fail(LL("on purpose"));
  if (ll_same(what, LL("count"))) ll_set_int(r, LL("count"), ++counted);
  if (ll_same(what, LL("config"))) {
    ll_set_str(r, LL("text"), text);
    ll_set_int(r, LL("number"), number);
    ll_set_double(r, LL("share"), share);
    ll_set_bool(r, LL("on"), on);
    ll_set(r, LL("words"), list_of(words, word_count));
    ll_set(r, LL("none"), list_of(none, none_count));
  }
  return LL_KEEP;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c")


@pytest.fixture(scope="module")
def template(folder: Path) -> bytes:
    return built(folder, "c", name="hello")


def test_the_template_does_what_every_template_does(template: bytes) -> None:
    check(template, "hello")


def test_everything_else_the_header_offers_works(folder: Path) -> None:
    check_all(built(folder, "c", ("src/filter.c", GUEST)))


def test_the_template_imports_nothing_it_does_not_use_and_is_built_alike_anywhere(
    template: bytes, tmp_path: Path
) -> None:
    again = built(tmp_path / "another" / "place", "c", name="hello")

    assert again == template
    assert b"kv_get" not in template
    assert len(template) < 20_000


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('LL("debug")', 'LL("info")'),
        ("return LL_DROP", "return LL_KEEP"),
        ('LL("seen_by")', 'LL("seen_bye")'),
        ('LL("hello")', 'LL("hallo")'),
        ('LL("level"), LL("error")', 'LL("log"), LL("error")'),
        ("return LL_KEEP;", 'll_remove(r, LL("")); return LL_KEEP;'),
        ("return LL_KEEP;", 'll_rename(r, LL("n"), LL("n2")); return LL_KEEP;'),
        ("return LL_KEEP;", "return ll_alloc(64) ? LL_KEEP : LL_DROP;"),
    ],
)
def test_a_template_that_is_a_little_wrong_does_not_pass(folder: Path, right: str, wrong: str) -> None:
    source = (folder / "hello" / "src" / "filter.c").read_text(encoding="utf-8")
    assert right in source
    code = built(
        folder / str(len(list(folder.iterdir()))), "c", ("src/filter.c", source.replace(right, wrong)), name="hello"
    )

    with pytest.raises(AssertionError):
        check(code, "hello", calls=20_000, rounds=30)


@pytest.mark.parametrize(
    "config", [b"", b"[]", b"5", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,}', b"{a:1}", b'{"a', b'{"a":1 "b":2}']
)
def test_a_configuration_that_is_no_json_object_is_refused(template: bytes, config: bytes) -> None:
    plugin = Native(template, config=config, refused=True)

    assert plugin.lines == [(3, "config: it is no JSON object")]


@pytest.mark.parametrize("config", [b"{}", b" { } ", b'{"a":1}', b'\n{ "a" : [1, {"b": "}"}] , "c" : "\\"" }\n'])
def test_any_json_object_is_taken(template: bytes, config: bytes) -> None:
    assert Native(template, config=config).lines == []


def test_a_block_for_which_there_is_no_memory_is_an_error_and_the_next_one_goes_on(template: bytes) -> None:
    check_buffers(template)


def test_records_for_which_there_is_no_memory_are_an_error_with_a_reason(template: bytes) -> None:
    check_out_of_memory(template, "out of memory")


def test_the_page_for_c_works_word_for_word(template: bytes, tmp_path: Path) -> None:
    assert template

    said = "".join(follow("c.md", tmp_path))

    assert '{"log":"payment refused order=17","service":"checkout"}' in said
    assert "shop: 3 in, 2 out, 1 dropped" in said


def test_the_configuration_on_the_page_compiles(folder: Path) -> None:
    (shown,) = (text for language, text, _ in pieces((PAGES / "c.md").read_text()) if "read_config" in text)
    filter_ = "ll_verdict ll_filter(ll_record *r) { return path_count && slow_ms && paths && r ? LL_DROP : LL_KEEP; }\n"
    code = built(folder / "page", "c", ("src/filter.c", shown + filter_))

    assert Native(code, config=b'{"paths":["/a"]}').process(b"\x92\x01\x80").n_out == 0
    assert Native(code, config=b'{"path":[]}', refused=True).lines == [(3, "config: path: unknown")]

"""Words the masks and the merge go by. All are general to logs; none belongs to one system."""

from __future__ import annotations

__all__ = ["CONSTANTS", "COUNTRIES", "FIXED", "FUNCTION_WORDS", "NOT_USERS", "TELLING", "TOP_LEVEL", "UNITS", "USERS"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOP_LEVEL = _words(
    "com net org edu gov mil int io dev app cloud local lan localdomain internal corp intra home arpa info biz "
    "mobi asia xyz"
)
# Without those that are file endings more often: py, sh, so, rs, cc, md, js (none), pl, ...
COUNTRIES = _words(
    "ar at au be bg br ca ch cl cn co cz de dk es eu fi fr gr hk hu ie il ir it jp kr mx nl nz om pe ph pk "
    "pt ro ru se sg sk th tr tw ua uk us vn za"
)
CONSTANTS = dict.fromkeys(
    _words("true false null True False Null TRUE FALSE NULL nil NaN undefined"),
    "<bool>",
)
# Names with a digit that is never another one; two of these that differ in it only would pass for one text.
FIXED = _words(
    "ssh2 utf8 utf-8 UTF8 base64 x86_64 x86 i386 i686 amd64 arm64 aarch64 win32 win64 k8s s3 ec2 log4j slf4j p2p "
    "L2TP e2fsck inode64 u8 int32 int64 float32 float64"
)
USERS = _words("root admin administrator guest nobody")
# What stands behind "user" and is no name.
NOT_USERS = _words(
    "unknown not name is was has id ids account session request authentication agent space mode data input and or "
    "does did cannot limit limits defined process in on from at with to by logged login logout"
)
# What these name says what happened: another value is another text, and only the merge may make it vary.
TELLING = _words(
    "level lvl severity sev msg message status state event action reason error err type method op operation result "
    "outcome kind phase exception cause code"
)
# Behind a number; they change with its size.
UNITS = _words("B KB MB GB TB KiB MiB GiB kB K M G bytes/s KB/s MB/s GB/s us ns ms s")
# Never the one word in which two texts differ and are the same.
FUNCTION_WORDS = _words(
    "a an the is are was were be been has have had not no to from of in on at by for with without and or if as it its "
    "this that than then into over under after before while when will can cannot could may must should do does did "
    "but all any via per out off up down only already now too so = : - -> => | / + & * . , ; ( ) [ ] { }"
)

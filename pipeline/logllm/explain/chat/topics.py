"""What a question asks for, by simple rules: a small model cannot be asked even that."""

from __future__ import annotations

import enum
import re

from logllm.explain.chat.asking import ASKING, MEANT
from logllm.explain.runbooks.words import stem, terms

__all__ = ["MAX_QUESTION_CHARS", "Topic", "items_named", "meant_by", "subjects_of", "topic_of"]

MAX_QUESTION_CHARS = 500


class Topic(enum.StrEnum):
    """What the answer is made of. OTHER: whatever of the evidence carries the question's own words."""

    WHAT = "what happened"
    WHY = "why"
    WHEN = "since when"
    WHO = "who and where"
    BEFORE = "what came before"
    CHECK = "what to check"
    TODO = "what to do"
    SEEN = "seen before"
    ONGOING = "still going on"
    LINES = "lines"
    COMPARE = "compared"
    LIST = "incidents"
    COUNT = "how many"
    NORMAL = "what is usual"
    SEVERITY = "how bad"
    TRUST = "how sure"
    ITEM = "an item by its id"
    HELP = "help"
    OTHER = "other"


# The first rule that matches decides, so the narrow ones stand first.
_RULES: tuple[tuple[Topic, re.Pattern[str]], ...] = tuple(
    (topic, re.compile(pattern))
    for topic, pattern in (
        (Topic.HELP, r"^\W*(?:help|what can (?:i ask|you (?:do|answer|tell))\b.*)\W*$"),
        (
            Topic.COMPARE,
            r"\b(?:compar(?:e|ed|ison) (?:it |this |that |them )?(?:to|with|and|inc)|difference|differ|versus|vs\b"
            r"|related|relation|connected|connection (?:to|with|between) (?:the |this |that )?(?:other|inc)"
            r"|\bto do with|same (?:cause|problem|reason|issue|thing) as|linked (?:to|with)|correlat)",
        ),
        (
            Topic.BEFORE,
            r"\b(?:what|which|anything|something|did|was|were|is|has|there|who)\b.*\b(?:chang\w*|deploy\w*"
            r"|roll(?:ed)?[ -]?outs?|released?|upgrad\w*|updated?|reconfigur\w*)\b"
            r"|\b(?:recent|last|any|config\w*) (?:config\w* )?(?:chang|deploy|release|upgrade|rollout)",
        ),
        (
            Topic.SEEN,
            r"\b(?:seen|happen(?:s|ed)?|occur(?:s|red)?|had|been|known|met"
            r"|encountered)\b.*\b(?:before(?! (?:it|this|that|the))|earlier|already|previously|in the past"
            r"|last time|ever)\b|\b(?:first time|last time|recur\w*|past (?:incidents?|cases?|occurrences?)"
            r"|similar (?:incidents?|cases?)|earlier (?:incidents?|cases?)|known (?:issue|problem|error)"
            r"|precedents?|history|before\?|again\?|what (?:helped|fixed|solved|worked)|a repeat)",
        ),
        (
            Topic.LIST,
            r"^\W*(?:incidents?|list)\W*$|\b(?:list|all|other|others|latest|recent|open|which|more|any|how many"
            r"|show|what)\b[^?]*\bincidents\b|\bany(?:thing)? else (?:wrong|broken|odd|going on)|what else is",
        ),
        (
            Topic.BEFORE,
            r"\b(?:came|come|went|what happened|was|began|broke|failed|started|odd|wrong) (?:just |right "
            r"|shortly )?(?:first|before)\b|\bbefore (?:it|this|that|the)\b|\btime ?line|\bsequence|\bled up"
            r"|\bleading up|\btrigger|in what order|order of events|\bpreced|first (?:symptom|sign|anomaly)",
        ),
        (
            Topic.TRUST,
            r"\b(?:how|are you|is (?:it|this|that)|can i)\b.*\b(?:sure|certain|confident|trust|believe|reliabl\w+)"
            r"|\bconfidence|how (?:do|did|would) you know|\bproof\b|\bprove\b",
        ),
        (
            Topic.LINES,
            r"\b(?:show|display|give|print|see|list|grep|find|search|which|what|quote|read|get)\b.*\b(?:lines?"
            r"|logs?|records?|messages?|evidence|entries|entry|examples?|samples?|raw|stack ?traces?)\b"
            r"|\blines? (?:about|with|of|for|that|mention|contain)|^\W*evidence\W*$|\b(?:grep|show me|mentions?)\b",
        ),
        (
            Topic.CHECK,
            r"\b(?:what|how|where|which|anything|things?)\b.*\b(?:check|verify|look (?:at|into|for|first)"
            r"|investigat\w*|inspect|diagnos\w*|confirm|examine)\b|\bchecks\b|\b(?:which|what) commands?\b"
            r"|\bfirst (?:look|check)|where (?:do|should) (?:i|we) (?:start|begin|look)",
        ),
        (
            Topic.TODO,
            r"\b(?:what|how)\b.*\b(?:(?:can|should|must|do|could|would|shall) (?:i|we|one|you)\b.*\bdo\b|to do\b"
            r"|needs? doing|(?:fix|solve|repair|mitigat\w*|remed\w*|recover|stop|prevent|clear|get rid|resolve"
            r"|restart|undo|handle)\b|(?:get|bring)\b.*\b(?:working|running|back|up|online)\b)|\b(?:next steps?"
            r"|steps\b|runbook|playbook|action|mitigation|remed\w+|workaround|recommend\w*|suggest\w*|advice"
            r"|fix(?:es)?\b|what now|whom? (?:do|should) (?:i|we) (?:call|page|tell|ask)|escalat\w*|owner|owns)",
        ),
        (
            Topic.ONGOING,
            r"\bstill\b|\b(?:is|has|did|are|does|was)\b.*\b(?:over|end(?:ed|s)?|finish\w*|ongoing|resolved"
            r"|recover\w*|going on|active|stop(?:s|ped)?|back|gone|live|continu\w*|happening|better|worse"
            r"|growing)\b|\b(?:ongoing|right now|at the moment|current state|status now)\b",
        ),
        (Topic.COUNT, r"\bpeak\w*|\bspike\w*|\bmaximum\b|\bhighest\b|\bbursts?\b"),
        (
            Topic.WHEN,
            r"\b(?:when|how long|what time|at what|which (?:minute|hour|day)|since|durations?|how old)\b"
            r"|\b(?:start|began|begin)(?:ed|s|ning)?\b",
        ),
        (
            Topic.SEVERITY,
            r"\bseverit|\bhow (?:bad|severe|serious|urgent|critical|grave|important|big)\b|\b(?:serious|urgent"
            r"|critical|important|dangerous|impact|harmless|false alarm|worry|wake|matters?|noise)\b",
        ),
        (
            Topic.COUNT,
            r"\bhow (?:many|much|often|frequent\w*|fast|large)\b|\bcounts?\b|\bnumber of\b|\brate\b|\bpeak\w*"
            r"|\bspike\w*|\bseries\b|\bgraph\b|\bcurve\b|\btrend\b|\bmaximum\b|\bmost\b|\bbursts?\b|\bvolume\b",
        ),
        (
            Topic.NORMAL,
            r"\b(?:expected|normal(?:ly)?|usual(?:ly)?|baseline|unusual|odd|anomal\w+|typical(?:ly)?"
            r"|out of the ordinary|strange|deviat\w*|different than|new (?:about|here))\b|what is new\b"
            r"|what's new\b",
        ),
        (
            Topic.WHO,
            r"\b(?:who|whom|whose|where)\b|\b(?:affected|involved|concerned|source of|attacker|culprit|victim)\b"
            r"|\bnames? of\b|\b(?:which|what)\b (?:\w+ )?(?:hosts?|users?|accounts?|ips?|address(?:es)?|machines?"
            r"|servers?|nodes?|services?|pods?|components?|clients?|status(?:es)?|codes?|files?|paths?|containers?"
            r"|process(?:es)?|threads?|applications?|apps?|systems?|ports?|urls?|endpoints?|databases?|tables?"
            r"|jobs?|names?)\b|\b(?:hosts?|users?|ips?|addresses|services|accounts|pods|nodes)\W*$",
        ),
        (
            Topic.WHY,
            r"\bwhy\b|\bcaus(?:e|es|ed|ing)\b|\breasons?\b|\broot\b|\bbecause\b|\bexplain|\bexplanation"
            r"|\bhow come\b|\bhypothes|\bbehind\b"
            r"|\bwhat(?: is| was| went|'s| has gone| goes) (?:wrong|broken|failing|amiss)|what made|\bdiagnosis\b"
            r"|\bblame\b|\bproblem\b|\bwhat(?:'s| is) the (?:matter|issue)",
        ),
        (
            Topic.WHAT,
            r"\bwhat\b.*\b(?:happen\w*|going on|up|this|it|incident|about|mean\w*|see[ns]?)\b|\bsummar|\brundown\b"
            r"|\brecap\b|\bgist\b|\btell me\b|\boverview\b|\bdescribe\b|\btl;?dr\b"
            r"|^\W*(?:hi|hello|hey|so|what)\W*$|\bincident\b|\bin short\b|\bbriefly\b|\bdetails\b",
        ),
    )
)

_ID = re.compile(r"(?<![\w<])[EITXSACFPRKDN]\d{1,3}(?!\w)")


def items_named(question: str) -> list[str]:
    """The ids of items that a question names, in capitals as they are shown; each once.

    >>> items_named("what is E3, and does C1 matter?")
    ['E3', 'C1']
    """
    return list(dict.fromkeys(_ID.findall(question[:MAX_QUESTION_CHARS])))


def topic_of(question: str) -> Topic:
    """The topic of a question in English; OTHER where no rule knows it. Reads the first 500 characters.

    >>> topic_of("Since when does this happen?").value, topic_of("purple elephants").value
    ('since when', 'other')
    """
    text = " ".join(question[:MAX_QUESTION_CHARS].lower().replace("’", "'").split())
    return next((topic for topic, pattern in _RULES if pattern.search(text)), Topic.OTHER)


def subjects_of(question: str) -> list[str]:
    """The stems of the words that a question is about, without those that questions are made of; each once.

    >>> subjects_of("Why did the checkpoint fail before the disk was full?")
    ['checkpoint', 'disk', 'full']
    """
    text = re.sub(r"(?i)\b(?:in (?:what|which) order|order of events)\b", " ", question[:MAX_QUESTION_CHARS])
    found = [stem(word) for word in terms(text)]
    return [word for word in dict.fromkeys(found) if word not in ASKING]


def meant_by(question: str) -> list[str]:
    """Further stems that a log says for what a person asks: "did anyone get in?" is "Accepted" there."""
    lower = question[:MAX_QUESTION_CHARS].lower()
    return [stem(word) for asked, said in MEANT if re.search(rf"\b(?:{asked})\b", lower) for word in said.split()]

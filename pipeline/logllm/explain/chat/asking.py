"""The words that questions are made of, whatever they are about."""

from __future__ import annotations

from logllm.explain.runbooks.words import stem

__all__ = ["ASKING", "MEANT"]

_WORDS = (
    "about account accounts action actions actually address addresses advice affect affected after again alarm "
    "already also anomaly any anyone anything application around ask attacker bad because become before began begin "
    "behind between big bring broke broken burst call came case cause certain change changed check checks clear "
    "client code codes come compare component confidence confident config configuration confirm connect container "
    "correlated could count critical culprit currently dangerous database day deploy deployed deployment describe "
    "diagnose did differ difference display do doing duration during each earlier else end endpoint entry error "
    "event ever every evidence examine example expect explain fail failed failing failure false fast file files "
    "find first fix fixed frequent get give go going gone graph grep group hand handle happen happened happening "
    "harmless hello help helped here hey hi history host hosts hour how impact important incident incidents inform "
    "inspect investigate involve involved ip ips issue job just keep kept kind know known large last latest lead "
    "led line lines linked list log logs long look machine made make many matter maximum mean mention message "
    "messages minimum minute mitigate mitigation moment more most much must name near need new next node noise "
    "normal normally now number occur odd often ok one ongoing only open other our out over owner past path "
    "paths peak people per playbook please pod pods point port precede prevent previous previously print problem "
    "process proof prove quote rate raw read really reason recent recently recommend record records recover related "
    "relation release released remedy repeat report resolve resolved right rollout root run runbook same sample say "
    "search see seen sequence series serious server service services severe severity shall short should show sign "
    "similar since slow small so solved somebody someone something source spike stack start started state status "
    "step steps still stop strange suggest sure symptom system table tell than thank that their there thing thread "
    "time timeline today told trace trend trigger true trust try typical understand unusual up update updated "
    "upgrade urgent url us use user users usual usually verify versus wake want went what when where which while "
    "who whom whose why within without work worked worry worse would wrong yesterday yet "
)
ASKING = frozenset(stem(word) for word in _WORDS.split())
"""Stems: what is left of a question without them is what it is about."""

MEANT = (
    (r"(?:get|got|broke|break|log|logged) ?in(?:to)?|succe\w+|compromised|hacked", "accepted opened session"),
    (r"slow|slowly|latency|hangs?|hanging", "timeout timed slow latency"),
    (r"down|unreachable|dead|offline", "refused unavailable unreachable stopped"),
    (r"versions?|builds?", "starting version build"),
    (r"memory|ram", "memory oom oomkilling"),
    (r"full|space", "space full enospc"),
    (r"restart\w*|reboot\w*", "restarting starting listening backoff"),
)
"""What people ask with, as a pattern, and the words that logs have for it."""

"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A shared machine may be slow at any moment: a test is bounded by what it does, not by a stopwatch.
settings.register_profile("logllm", deadline=None, print_blob=True)
settings.load_profile("logllm")

"""Session novelty: what few sessions show, and what one lacks that nearly all show."""

from logllm.detectors.sessions.config import SessionsConfig
from logllm.detectors.sessions.novelty import SessionNovelty

__all__ = ["SessionNovelty", "SessionsConfig"]

"""A detector for any one numeric series, as it streams in."""

from logllm.detectors.series.detector import ALERT, SeriesDetector

__all__ = ["ALERT", "SeriesDetector"]

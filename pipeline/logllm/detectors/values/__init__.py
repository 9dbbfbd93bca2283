"""Detectors of what records say, not of how many there are: numbers in them, and how many distinct words."""

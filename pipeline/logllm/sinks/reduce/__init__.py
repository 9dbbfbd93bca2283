"""Fewer records for the sinks: what repeats is sampled and counted; what an incident needs goes on all the same."""

"""The pipeline with threads, clocks and signals around it: one run of `tail`, one of `serve`."""

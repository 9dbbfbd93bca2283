"""Filters in WebAssembly: one loader, three ABIs, no rights but those that are granted."""

"""wasmtime, wrapped once: compiled modules from a cache, one sandboxed guest a Store, calls that cost a microsecond."""

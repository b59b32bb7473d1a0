"""The demonstration that `make demo` runs: a real cluster on this machine loses its active node."""

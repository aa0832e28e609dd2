"""How fast objio saves and loads, beside its peers and the limits of the machine. `python -m benchmarks --help`."""

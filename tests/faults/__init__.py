"""The proof that nothing is lost: kills, errors, power cuts, damage, hostile files, crowds, and guards taken away.

`make test` runs a short version of it; `make faults` runs the whole plan, counts, and writes `docs/reliability.md`.
"""

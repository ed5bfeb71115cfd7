"""What a call through the gateway costs, measured beside what it could cost at best and what it costs at worst.

`python -m tests.benchmarks` runs everything; `docs/performance.md` says how it is measured and how far to trust it.
Nothing in here is collected by pytest: a figure depends on the machine, a test must not.
"""

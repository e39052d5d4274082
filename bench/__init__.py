"""The benchmark: celeriac beside its peers, on one machine, in one run.

``python -m bench`` starts it; ``make bench`` installs what it needs first. It imports neither celeriac nor a
peer in its own process: producers and workers are processes of their own, so that none pays for another.
"""

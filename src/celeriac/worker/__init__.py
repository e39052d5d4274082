"""The worker: a supervisor process and its children.

`options` says what a worker is started with, `supervisor` starts and keeps the children, `child` is one of them:
`fetcher` talks to the broker, `recorder` writes the flight record, `pool` runs the tasks.
"""

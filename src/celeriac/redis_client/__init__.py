"""A thin client for Redis and Valkey: sockets, hiredis and nothing between, for the broker and the result store.

Knows nothing of messages or records. Never retries what it has sent.
"""

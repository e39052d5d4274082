"""The contenders: one module each, as `bench.contract` asks; loaded by producer and worker processes only."""

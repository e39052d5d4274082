"""The docs and the README are tested: every block in them is run or checked, see `pages` for how a block is marked."""

"""The shop's one app: customers, orders and pictures, and the background work that each of them starts."""

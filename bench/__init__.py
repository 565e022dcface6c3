"""Benchmarks: the fleet against its peers and a bare loop, and how soon a lone command takes effect."""

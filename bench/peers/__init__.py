"""Contenders that aren't ours, with requirements of their own that the product doesn't have."""

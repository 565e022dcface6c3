"""Requests to addresses that strangers have given: push messages and webhooks."""

"""The whole thing from outside: `python -m devconnect run` in processes of its own."""

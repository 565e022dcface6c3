"""Replay: a recorded trace of who met whom, played through the gateway by real clients, then counted.

`trace` reads the file, `plan` says what each row means and what must come of it, `client` talks HTTP in the name of an
`account`, `people` signs up, `player` plays, `analyst` reads the tables, `compare` holds the two against each other,
`report` says it; `limits` are those that the gateway must have for it.
"""

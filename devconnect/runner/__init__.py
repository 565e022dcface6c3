"""The runner: Procfile's processes as one system that starts, tells when it is ready, and stops in order.

`plan` says what is to run and where, `child` keeps one process alive, `readiness` asks it whether it is ready,
`fleet` holds all of them, `state` is what other commands and tests can know of it. docs/adr/0002-process-runner.md
says why Procfile is read and printed by honcho, but not run by its Manager.
"""

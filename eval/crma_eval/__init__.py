"""Evaluation commands.

`cli` picks a task; the task drives training in process or a server over HTTP; `report` writes what it found.
`learning/` asks what is learnt and kept, `routing/` where texts go, `serving/` what a server does, how fast.
"""

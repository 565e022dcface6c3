"""A Faust transport that hands over whole partition batches, with its own account of what may be committed.

One Faust message is one fetched batch of one partition. Offsets move only past batches that were acknowledged, in
order, whatever gaps the log has; Faust's own acknowledgements, which also come for work that was cancelled or skipped,
count for nothing. `producer` writes Kafka batches, `table` keeps state that a `changelog` topic restores, `app` builds
a `faust.App` on all of this. The package knows Faust and Kafka, and nothing of the project around it.
"""

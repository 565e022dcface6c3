"""The Faust tables of the analytics workers, on batches: rows restored from changelogs, views published to Redis."""

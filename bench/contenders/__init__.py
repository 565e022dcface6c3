"""One contender a file, each started as a process of its own and told its task by stdin."""

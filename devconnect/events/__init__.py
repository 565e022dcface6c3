"""Commands, events, their codec and the topics that carry them: the words every other room speaks."""

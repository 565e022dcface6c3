"""What somebody hasn't read yet of a conversation: the places of the newest of the messages to them, oldest first."""

from devconnect.domain.model import UNREAD_KEPT

Places = tuple[int, ...]


def with_one(places: Places, place: int) -> Places:
    """One more was said; the oldest are let go of where there are too many."""
    return (*places[-UNREAD_KEPT + 1 :], place)


def above(places: Places, read: int) -> Places:
    """What is left once all up to `read` was read."""
    if not places or places[0] > read:
        return places
    return tuple(place for place in places if place > read)


def without(places: Places, place: int) -> Places:
    """What is left once a message was deleted."""
    return tuple(each for each in places if each != place) if place in places else places

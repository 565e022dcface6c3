"""The resources under /v1, one module each: what there is, who may, and what becomes of it."""

from web.operations import Operation
from web.routes import (
    analytics,
    channels,
    commands,
    connections,
    conversations,
    feed,
    me,
    notifications,
    presence,
    sessions,
    users,
)

#: Every operation under /v1.
OPERATIONS: tuple[Operation, ...] = tuple(
    operation
    for module in (
        users,
        me,
        sessions,
        feed,
        connections,
        conversations,
        presence,
        notifications,
        channels,
        analytics,
        commands,
    )
    for operation in module.OPERATIONS
)

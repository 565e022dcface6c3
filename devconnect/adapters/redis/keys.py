"""Every key on one page: its name, its type, what it holds, how long it is kept.

What is in braces decides the hash slot on a cluster: a script touches keys of one slot only, and all of them are passed
to it. What sorts by time does so by its text (`at` in 13 digits), in zsets whose scores are all 0, so that a page can
start after any place, without repeats. The texts are those of the database's lists: a cursor of the one means
the same to the other.
"""

from datetime import timedelta

from msgspec import Struct

#: Messages of a conversation that are held; older ones are the database's.
MESSAGES_KEPT = 200
#: A conversation nobody writes in is let go of after this.
MESSAGES_TTL = timedelta(days=30)
#: Notifications of a user that are listed; older ones are the database's.
NOTIFICATIONS_KEPT = 500
#: Unread notifications of a user that are counted, listed or not.
UNREAD_KEPT = 5_000
#: Read marks of a user that have come before their notification.
MARKS_KEPT = 1_000
MARKS_TTL = timedelta(days=30)
#: A log-out is remembered for as long where it isn't known when the session would have ended.
TOMBSTONE_TTL = timedelta(days=30)
#: A device that hasn't been here for as long is forgotten. Much longer than any lease.
DEVICE_KEPT = timedelta(days=1)
ANSWER_TTL = timedelta(days=1)
#: Entries of an inbox that are held; older ones are the database's.
INBOX_KEPT = 500
#: People of a reader's feed that are ranked, how many such rankings a reader has at once, and for how long after use.
RANKED = 400
RANKINGS_KEPT = 3
RANKINGS_TTL = timedelta(minutes=15)


class Key(Struct, frozen=True, kw_only=True):
    """One kind of key; `ttl` is "-" for what stays."""

    name: str
    type: str
    holds: str
    ttl: str = "-"


LAYOUT: tuple[Key, ...] = (
    Key(name="dc:epoch", type="string", holds="there while the projections are complete: since when, as text"),
    Key(name="dc:building:{dc:epoch}", type="string", holds="the mark of a rebuild: gone with a wipe under way"),
    Key(
        name="dc:{<user>}:user",
        type="hash",
        holds="email, email_verified (0, 1), tier, role, profile and privacy (JSON), created_at, updated_at, deleted "
        "(1) once it is; each with its <field>:seq; seq, the account's newest",
    ),
    Key(name="dc:feed:active", type="zset", holds="everybody who is to be found, by activity (domain.feed.activity)"),
    Key(name="dc:feed:skill:<skill>", type="zset", holds="those of them who have the skill, by the same"),
    Key(name="dc:feed:skills", type="hash", holds="user -> skills (JSON), of everybody who is to be found"),
    Key(
        name="dc:{<user>}:feed",
        type="hash",
        holds="skills (JSON), active, hidden, each as it goes forward (seq, hidden_seq); gone, alone, for a month; "
        "maybe, open, since, version: lists being changed, by how many, since when, to what",
    ),
    Key(
        name="dc:{<user>}:feed:rankings",
        type="hash",
        holds="<when made> -> ids of people to meet, best first, at most 400; the newest 3",
        ttl="15 minutes after use",
    ),
    Key(
        name="dc:{<session>}:session",
        type="hash",
        holds="user, role, ends_at; expires_at as of seq; ended, once it is: then it stays so, whatever comes",
        ttl="until ends_at; 30 days where that isn't known",
    ),
    Key(
        name="dc:{<user>}:presence",
        type="hash",
        holds="d:<device> -> until:seq:at, of devices of the last day; seen, the newest `at`; heard, when a gateway "
        "last said something of them; audience, with its seq",
    ),
    Key(
        name="dc:{<user>}:online",
        type="string",
        holds="<until>:<seen>:<e, c or n>: the latest until of the devices above and the gateways below, the newer of "
        "seen and heard, and who may see it",
    ),
    Key(
        name="dc:{<user>}:gateways",
        type="hash",
        holds="<gateway> with sockets of theirs -> until when it is believed unless it says so again",
        ttl="half an hour after one said so",
    ),
    Key(
        name="dc:{<user>}:presence",
        type="channel",
        holds="hints for those who watch: 1:<at> came, 0:<seen> went, ? who may see them has changed",
    ),
    Key(name="dc:gateways", type="zset", holds="gateway -> until when its lease runs, by the clock of this Redis"),
    Key(
        name="dc:gateway:<gateway>:users",
        type="set",
        holds="those of whom it has sockets: entered before, removed after it is in their hash",
    ),
    Key(name="dc:{<user>}:relations", type="hash", holds="other -> seq|state|s or o (who did it)|at"),
    Key(
        name="dc:{<user>}:relations:listed",
        type="zset",
        holds="<state>|all|<at>:<other>|s or o, and <state>|others|… of what others did, |own|… of what the user did",
    ),
    Key(
        name="dc:{<conversation>}:messages",
        type="zset",
        holds="the newest messages by seq, at most 200, without a gap: <seq><previous>, 16 digits each, and JSON",
        ttl="30 days after the newest",
    ),
    Key(
        name="dc:{<conversation>}:positions",
        type="hash",
        holds="last, the newest message's seq; d:<user> and r:<user>, how far each has got",
    ),
    Key(
        name="dc:{<conversation>}:changes",
        type="hash",
        holds="place of a message -> seq|message, as it was changed last; seq| once that is in the tail",
        ttl="30 days after the newest",
    ),
    Key(
        name="dc:{<conversation>}:unread:<user>",
        type="zset",
        holds="places of what they haven't read, of the newest 200 messages to them that are beyond what they have",
    ),
    Key(
        name="dc:{<conversation>}:unread:<user>:gone",
        type="zset",
        holds="those of these 200 that were deleted: no replay brings them back",
    ),
    Key(name="dc:{<user>}:conversations", type="zset", holds="peers by when the last message was said"),
    Key(name="dc:{<user>}:notifications", type="zset", holds="<notification>|<JSON>, the newest 500"),
    Key(name="dc:{<user>}:notifications:unread", type="zset", holds="ids of what isn't read, the newest 5,000"),
    Key(
        name="dc:{<user>}:notifications:marks",
        type="zset",
        holds="ids that were marked read before they came, by the mark's time; the newest 1,000",
        ttl="30 days after the newest",
    ),
    Key(name="dc:{<user>}:notifications:seen", type="zset", holds="the id of the last notification that was seen"),
    Key(
        name="dc:{<user>}:focus",
        type="hash",
        holds="device -> <what>|<until>: what each of them has on screen (conversation:<id>), until when",
        ttl="the last until",
    ),
    Key(
        name="dc:{<user>}:limit:<kind>",
        type="zset or string",
        holds="requests, messages, writes: commands' ids by their time; reads: how many are taken since the first",
        ttl="a window after the last (zset) or the first use (string)",
    ),
    Key(
        name="dc:{<subject>}:limit:<kind>",
        type="string",
        holds="how many are taken, of a client's network (strangers), or of what is throttled (<action>:<of what>)",
        ttl="a window after the first use",
    ),
    Key(
        name="dc:applied:<topic>",
        type="hash",
        holds="<partition> -> the highest seq applied; at:<partition> -> the time up to which all is applied",
    ),
    Key(name="dc:inbox:run", type="string", holds="the name of the run of Redis in which inboxes are held"),
    Key(
        name="dc:{<user>}:inbox",
        type="hash",
        holds="run, epoch, head (the last cursor); s:<source>, the last seq of each source",
        ttl="as long as entries are kept in the database",
    ),
    Key(
        name="dc:{<user>}:inbox:items",
        type="stream",
        holds="<cursor>-0 -> p, the cursor before it; k, the kind; t, what sockets are sent (JSON); the newest 500",
        ttl="the same",
    ),
    Key(
        name="dc:{<user>}:live", type="channel", holds="<cursor> <previous> <kind> <JSON>; cursors are 0 where none is"
    ),
    Key(name="dc:answer:<command>", type="string", holds="the decision (JSON) without its events", ttl="1 day"),
    Key(name="dc:replies:<gateway>", type="channel", holds="decisions for this gateway; empty texts prove it is heard"),
    Key(name="dc:ear:<connection>", type="channel", holds="empty texts that prove to a connection that it hears"),
    Key(
        name="dc:table:<table>:upto",
        type="hash",
        holds="partition -> changelog offset up to which the view is good, 0 while its first rows are put in; open: 1",
    ),
    Key(name="dc:table:<table>:floor", type="string", holds="windows that ended by this time are shown no more"),
    Key(
        name="dc:{table:<table>:<bucket>}:rows",
        type="hash",
        holds='of a "sum" table: <key>NUL<partition>|<prefix> -> seq,values…; the bucket is crc32(key) % buckets',
    ),
    Key(name="dc:{table:<table>:<bucket>}:names", type="zset", holds="the table's keys in this bucket"),
    Key(name="dc:{table:<table>:<bucket>}:parts", type="set", holds="every <partition>|<prefix> in this bucket"),
    Key(name="dc:table:<table>:windows", type="zset", holds='the windows of a "distinct" table'),
    Key(name="dc:table:<table>:w:<window>", type="set", holds='who was in a window of a "distinct" table'),
)

EPOCH = "dc:epoch"
INBOX_RUN = "dc:inbox:run"
BUILDING = "dc:building:{dc:epoch}"
ACTIVE = "dc:feed:active"
SKILLS = "dc:feed:skills"
GATEWAYS = "dc:gateways"


def user(user_id: str) -> str:
    """The account."""
    return f"dc:{{{user_id}}}:user"


def skill(name: str) -> str:
    """Who has it."""
    return f"dc:feed:skill:{name}"


def listing(user_id: str) -> str:
    """By what the user is to be found."""
    return f"dc:{{{user_id}}}:feed"


def rankings(user_id: str) -> str:
    """The pages that the user's feed has begun."""
    return f"dc:{{{user_id}}}:feed:rankings"


def session(session_id: str) -> str:
    """The session, or that it is over."""
    return f"dc:{{{session_id}}}:session"


def presence(user_id: str) -> str:
    """The user's devices."""
    return f"dc:{{{user_id}}}:presence"


def online(user_id: str) -> str:
    """Until when the user is here, and when they were last seen."""
    return f"dc:{{{user_id}}}:online"


def gateways(user_id: str) -> str:
    """The gateways that the user has sockets on."""
    return f"dc:{{{user_id}}}:gateways"


def here(user_id: str) -> list[str]:
    """All that the user's presence follows from."""
    return [presence(user_id), online(user_id), gateways(user_id), user(user_id)]


def watched(user_id: str) -> str:
    """The channel of those who watch the user: a name of its own, though it is that of the devices too."""
    return f"dc:{{{user_id}}}:presence"


def sockets(gateway: str) -> str:
    """Who has sockets on the gateway."""
    return f"dc:gateway:{gateway}:users"


def relations(user_id: str) -> str:
    """What is between the user and each other."""
    return f"dc:{{{user_id}}}:relations"


def relations_listed(user_id: str) -> str:
    """The same, sorted."""
    return f"dc:{{{user_id}}}:relations:listed"


def messages(conversation: str) -> str:
    """The tail of a conversation."""
    return f"dc:{{{conversation}}}:messages"


def positions(conversation: str) -> str:
    """How far each has got in it."""
    return f"dc:{{{conversation}}}:positions"


def changes(conversation: str) -> str:
    """The messages of it that were changed."""
    return f"dc:{{{conversation}}}:changes"


def unread_messages(conversation: str, user_id: str) -> str:
    """What the user hasn't read of it."""
    return f"dc:{{{conversation}}}:unread:{user_id}"


def gone_messages(conversation: str, user_id: str) -> str:
    """What the user needn't read any more."""
    return f"{unread_messages(conversation, user_id)}:gone"


def conversations(user_id: str) -> str:
    """Whom the user has talked with."""
    return f"dc:{{{user_id}}}:conversations"


def notifications(user_id: str) -> str:
    """The newest notifications."""
    return f"dc:{{{user_id}}}:notifications"


def unread(user_id: str) -> str:
    """Those not read."""
    return f"dc:{{{user_id}}}:notifications:unread"


def marks(user_id: str) -> str:
    """Read marks that wait for their notification."""
    return f"dc:{{{user_id}}}:notifications:marks"


def inbox(user_id: str) -> str:
    """How far the user's inbox is."""
    return f"dc:{{{user_id}}}:inbox"


def inbox_items(user_id: str) -> str:
    """The newest entries of it."""
    return f"dc:{{{user_id}}}:inbox:items"


def live(user_id: str) -> str:
    """The channel of what the user's sockets are told."""
    return f"dc:{{{user_id}}}:live"


def seen(user_id: str) -> str:
    """The last notification that was seen."""
    return f"dc:{{{user_id}}}:notifications:seen"


def focus(user_id: str) -> str:
    """What the user's devices have on screen."""
    return f"dc:{{{user_id}}}:focus"


def limit(subject: str, kind: str) -> str:
    """What a user, a network or whoever else has used of a quota."""
    return f"dc:{{{subject}}}:limit:{kind}"


def applied(topic: str) -> str:
    """How far the events of a topic are applied."""
    return f"dc:applied:{topic}"


def answer(command: str) -> str:
    """What became of a command."""
    return f"dc:answer:{command}"


def replies(gateway: str) -> str:
    """The channel of a gateway."""
    return f"dc:replies:{gateway}"


def ear(connection: str) -> str:
    """On which a connection hears itself."""
    return f"dc:ear:{connection}"


def upto(table: str) -> str:
    """How far a table's view is."""
    return f"dc:table:{table}:upto"


def floor(table: str) -> str:
    """What a table has let go of."""
    return f"dc:table:{table}:floor"


def bucket(table: str, number: int) -> tuple[str, str, str]:
    """Rows, names and parts of a bucket."""
    start = f"dc:{{table:{table}:{number}}}"
    return f"{start}:rows", f"{start}:names", f"{start}:parts"


def windows(table: str) -> str:
    """The windows of a table."""
    return f"dc:table:{table}:windows"


def window(table: str, name: str) -> str:
    """The members of a window."""
    return f"dc:table:{table}:w:{name}"


def dated(at: int, name: str) -> str:
    """Sorts by time, then by name."""
    return f"{at:013d}:{name}"

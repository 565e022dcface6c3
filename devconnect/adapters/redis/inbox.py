"""ports.inbox.InboxFeed, Live and the near half of Inbox: the newest entries in Redis, and who listens told.

What is held of an inbox is good only in the run of Redis in which it was put there: a server that was started anew may
have lost the last of it. So what writes and what vouches for it are scripts that aren't kept with the data.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client, Command, Script, Tied, Witness, run, run_all
from devconnect.adapters.redis.channels import Channels
from devconnect.domain.inbox import Head, Item, text_of
from devconnect.events.base import new_id
from devconnect.ports.inbox import Heard, Kept, Placed, ResetError, UnseededError

_APPEND = """
-- run RUN
-- KEYS inbox, items; ARGV run, channel, most items, milliseconds to keep them, then cursor, source, seq, kind, and text
-- without its epoch, of each. Returns the epoch and what each followed: -1 for a repeat, -2 for one of another log;
-- or nothing where the inbox isn't held.
local held = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'head')
if held[1] ~= ARGV[1] then return {} end
local epoch, head = held[2], tonumber(held[3])
local found = {epoch}
for i = 5, #ARGV, 5 do
  local cursor, source, seq = tonumber(ARGV[i]), 's:' .. ARGV[i + 1], tonumber(ARGV[i + 2])
  local last = tonumber(redis.call('HGET', KEYS[1], source) or '0')
  local previous = -1
  if cursor > head then
    if seq > last then
      local text = '{"cursor":"' .. epoch .. '-' .. ARGV[i] .. '",' .. ARGV[i + 4]
      previous = head
      redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], ARGV[i] .. '-0', 'p', head, 'k', ARGV[i + 3], 't', text)
      redis.call('HSET', KEYS[1], 'head', ARGV[i], source, ARGV[i + 2])
      redis.call('PUBLISH', ARGV[2], ARGV[i] .. ' ' .. string.format('%.0f', head) .. ' ' .. ARGV[i + 3] .. ' ' .. text)
      head = cursor
    end
  elseif seq > last then
    previous = -2
  else
    local there = redis.call('XRANGE', KEYS[2], ARGV[i] .. '-0', ARGV[i] .. '-0')
    if there[1] then previous = tonumber(there[1][2][2]) end
  end
  found[#found + 1] = string.format('%.0f', previous)
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return found
"""

_SEED = Script("""
-- KEYS inbox, items; ARGV run, epoch, head, then source, seq of each
-- What is held as far as that, or further, stays: who seeds may have been late, and the owner by now has gone on.
local held = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'head')
if held[1] == ARGV[1] then
  local epoch, wanted = tonumber(held[2]), tonumber(ARGV[2])
  if epoch > wanted or epoch == wanted and tonumber(held[3]) >= tonumber(ARGV[3]) then return end
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'epoch', ARGV[2], 'head', ARGV[3])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], 's:' .. ARGV[i], ARGV[i + 1]) end
""")


class _Run:
    """One run of Redis: what may be written in it, and who vouches for what was."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.append = Tied(_APPEND.replace("RUN", name, 1))
        self.witness = Witness(f"inboxes are held since {name}")

    async def known(self, client: Client) -> bool:
        """Whether it is still that run."""
        return await self.witness.known(client) and await self.append.known(client)

    async def tell(self, client: Client) -> None:
        """From here on it is."""
        await self.append.tell(client)
        await self.witness.tell(client)


class RedisInboxFeed:
    """Puts entries into inboxes. Of one person's there may be one who does, as of one partition there is one owner."""

    def __init__(self, client: Client, kept: timedelta) -> None:
        """`kept` is how long the database keeps entries."""
        self._client = client
        self._kept_ms = int(kept.total_seconds() * 1000)
        self._run: _Run | None = None

    async def append(self, entries: Sequence[Placed]) -> list[Kept]:
        """Put the entries into the inboxes, and tell whoever listens, all in one round trip."""
        held = await self._current()
        inboxes: dict[str, list[Placed]] = {}
        for placed in entries:
            inboxes.setdefault(placed.entry.recipient, []).append(placed)
        calls = [self._call(held, user, own) for user, own in inboxes.items()]
        answers = await run_all(self._client, [("GET", keys.INBOX_RUN), *calls])
        if answers[0] != held.name:
            self._run = None  # somebody has found another run to have begun
        return self._settled(inboxes, answers[1:])

    def _settled(self, inboxes: Mapping[str, Sequence[Placed]], answers: Sequence[Any]) -> list[Kept]:
        kept: list[Kept] = []
        unheld: list[str] = []
        again: list[str] = []
        for (user, own), answer in zip(inboxes.items(), answers, strict=True):
            if answer is None:
                self._run = None
            if not answer:
                unheld.append(user)
                continue
            epoch, *places = map(int, answer)
            if -2 in places:
                again.append(user)
                continue
            kept += [
                Kept(placed, epoch, previous, text_of(placed.entry, epoch, placed.cursor))
                for placed, previous in zip(own, places, strict=True)
                if previous >= 0
            ]
        if unheld:
            raise UnseededError(unheld)
        if again:
            raise ResetError(again)
        return kept

    def _call(self, held: _Run, user: str, own: Sequence[Placed]) -> Command:
        fields: list[str | int] = []
        for placed in own:
            entry = placed.entry
            # The epoch is known to the script alone.
            rest = text_of(entry, 0, placed.cursor).partition(",")[2]
            fields += [placed.cursor, entry.source, entry.seq, entry.kind, rest]
        return held.append(
            [keys.inbox(user), keys.inbox_items(user)],
            *(held.name, keys.live(user), keys.INBOX_KEPT, self._kept_ms),
            *fields,
        )

    async def seed(self, heads: Mapping[str, Head]) -> None:
        """Hold these inboxes from here on, but for those that are held as far as that already."""
        held = await self._current()
        calls = [
            _SEED(
                [keys.inbox(user), keys.inbox_items(user)],
                *(held.name, head.epoch, head.cursor),
                *(part for source in head.sources.items() for part in source),
            )
            for user, head in heads.items()
        ]
        await run_all(self._client, calls)

    async def _current(self) -> _Run:
        """The run that it is; another one where Redis was started since, in which nothing is held yet."""
        if self._run is not None:
            return self._run
        (name,) = await run(self._client, [("GET", keys.INBOX_RUN)])
        found = _Run(name) if name is not None else None
        if found is None or not await found.known(self._client):
            found = _Run(new_id())
            await run(self._client, [("SET", keys.INBOX_RUN, found.name)])
            await found.tell(self._client)
        self._run = found
        return found


class RedisInboxReads:
    """What is held of inboxes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._name = ""
        self._witness = Witness("no run")

    async def heads(self, users: Sequence[str]) -> list[int | None]:
        """The last cursor of each; None for what isn't held. UnavailableError when Redis can't be asked."""
        asked: list[Command] = [("HMGET", keys.inbox(user), "run", "head") for user in users]
        for _ in range(2):
            name, *found = await run_all(self._client, [("GET", keys.INBOX_RUN), *asked])
            vouched = await run_all(self._client, [self._vouch(user) for user in users[:1]])
            if name == self._name and (not vouched or vouched[0] is not None):
                return [int(head) if of == name and head is not None else None for of, head in found]
            self._follow(name)
        return [None] * len(users)

    async def after(self, user: str, cursor: int) -> tuple[int, int, list[Item]] | None:
        """Epoch, head and what is held after a cursor; None where the inbox isn't held, or not as it is by now."""
        names = (keys.inbox(user), keys.inbox_items(user))
        for _ in range(2):
            vouched, name, held, found = await run(
                self._client,
                [
                    self._vouch(user),
                    ("GET", keys.INBOX_RUN),
                    ("HMGET", names[0], "run", "epoch", "head"),
                    ("XRANGE", names[1], f"({cursor}-0" if cursor else "-", "+"),
                ],
            )
            if name == self._name and vouched is not None:
                of, epoch, head = held
                return (int(epoch), int(head), list(map(_item, found))) if of == name else None
            if name is None:
                return None
            self._follow(name)
        return None

    def _vouch(self, user: str) -> Command:
        return self._witness([keys.inbox(user)])

    def _follow(self, name: str | None) -> None:
        if name is not None and name != self._name:
            self._name, self._witness = name, _Run(name).witness


def _item(found: Any) -> Item:
    place, fields = found
    held = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    return Item(int(place.partition("-")[0]), int(held["p"]), held["k"], held["t"].encode())


def read_live(data: bytes) -> Item:
    """What was said on the channel of a user; a cursor of 0 for what isn't kept. ValueError for anything else."""
    cursor, previous, kind, text = data.split(b" ", 3)
    return Item(int(cursor), int(previous), kind.decode(), text)


class RedisLive:
    """ports.inbox.Live: a channel a person."""

    def __init__(self, client: Client, channels: Channels) -> None:
        self._client = client
        self._channels = channels

    @property
    def healthy(self) -> bool:
        """Whether all is heard, as far as is known."""
        return self._channels.healthy

    def on_heard(self, call: Callable[[], None]) -> None:
        """Call whenever all is heard again."""
        self._channels.on_heard(call)

    async def listen(self, user: str, heard: Heard) -> bool:
        """Hear what one person's devices are told, from here on where this says so."""
        return await self._channels.subscribe([keys.live(user)], lambda _, data: heard(read_live(data)))

    def forget(self, users: Sequence[str]) -> None:
        """Hear no more of these."""
        self._channels.unsubscribe([keys.live(user) for user in users])

    async def tell(self, user: str, kind: str, text: str) -> None:
        """Tell a person's devices of something that isn't kept. Who doesn't hear it has missed it."""
        await run(self._client, [("PUBLISH", keys.live(user), f"0 0 {kind} {text}")])

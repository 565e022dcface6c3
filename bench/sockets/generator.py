"""The load, a process of its own: orders on stdin, answers on stdout.

Plain sockets and one selector, since a client library would be what is measured. Messages carry a mark and their
text is drawn anew each time, so that none can be taken for another, and compression finds as little as in real ones.
"""

import gc
import os
import re
import secrets
import selectors
import sys
import time

import msgspec

from bench.quantiles import quantiles
from bench.sockets.dialects import DIALECTS, DialectError
from bench.sockets.links import Link, LinkError
from bench.sockets.orders import Answer, Close, Done, Failed, Fan, Idle, Open, Order, Steady
from bench.sockets.wire import WireError

#: Handshakes at once.
HANDSHAKES = 100
#: Seconds that something may take before it counts as lost.
PATIENCE = 20.0
#: Part of a load that is thrown away first.
WARM_UP = 0.2
#: Bytes of text of a message.
TEXT_BYTES = 120

_MARKS = re.compile(rb'"mark":"([0-9a-f]{16})"')


class Generator:
    """The connections, and what is done with them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ, None)
        self._links: list[Link] = []
        self._lines = b""

    def run(self) -> None:
        """Carry out orders until there are no more; in between, connections are served."""
        while (order := self._next()) is not None:
            try:
                answer: Answer = self._carry_out(order)
            except (LinkError, DialectError, WireError) as error:
                answer = Failed(why=str(error))
            os.write(1, msgspec.json.encode(answer) + b"\n")
            if isinstance(answer, Failed):
                return

    def _next(self) -> Order | None:
        while b"\n" not in self._lines:
            if not self._turn(None):
                continue
            data = os.read(0, 65_536)
            if not data:
                return None
            self._lines += data
        line, _, self._lines = self._lines.partition(b"\n")
        order: Order = msgspec.json.decode(line, type=Order)
        return order

    def _carry_out(self, order: Order) -> Done:
        match order:
            case Open():
                return self._open(order)
            case Steady():
                return self._steady(order)
            case Fan():
                return self._fan(order)
            case Idle():
                return self._idle(order)
            case Close():
                return self._close()

    def _turn(self, timeout: float | None) -> bool:
        """Serve whoever has something; True when there is something on stdin."""
        told = False
        for key, events in self._selector.select(timeout):
            link: Link | None = key.data
            if link is None:
                told = True
            elif events & selectors.EVENT_WRITE:
                link.connected()
                self._selector.modify(link.sock, selectors.EVENT_READ, link)
            else:
                link.readable()
        return told

    def _until(self, deadline: float, what: str) -> None:
        if time.perf_counter() > deadline:
            raise LinkError(f"{what} after {PATIENCE:g} s")
        self._turn(0.01)

    def _open(self, order: Open) -> Done:
        meter, first = Meter(), len(self._links)
        opening: list[Link] = []
        for number in range(first, first + order.count):
            port = order.ports[number % len(order.ports)]
            link = Link(number, port, DIALECTS[order.dialect], order.room, deflate=order.deflate)
            self._links.append(link)
            opening.append(link)
            self._selector.register(link.sock, selectors.EVENT_WRITE, link)
            opening = self._waited_for(opening, HANDSHAKES)
        self._waited_for(opening, 1)
        return meter.done()

    def _waited_for(self, opening: list[Link], room: int) -> list[Link]:
        """Those that aren't ready yet, once they are fewer than `room`."""
        deadline = time.perf_counter() + PATIENCE
        while len(opening) >= room:
            opening = [link for link in opening if not link.ready]
            if len(opening) >= room:
                self._until(deadline, f"{len(opening)} connections can't be used")
        return opening

    def _steady(self, order: Steady) -> Done:
        load = Pairs(self._links)
        meter, began = Meter(), time.perf_counter()
        total, warm_up = int(order.rate * order.seconds), int(order.rate * order.seconds * WARM_UP)
        for number in range(total):
            while (left := began + number / order.rate - time.perf_counter()) > 0:
                self._turn(left)
            load.send(number)
            self._turn(0)
        deadline = time.perf_counter() + PATIENCE
        while load.under_way:
            self._until(deadline, f"{len(load.under_way)} of {total} messages haven't come")
        p50, p99 = quantiles(load.found[warm_up:])
        return meter.done(deliveries=total, p50_ms=p50, p99_ms=p99)

    def _fan(self, order: Fan) -> Done:
        load = Room(self._links, order.window)
        meter, counted, until = Meter(), 0, time.perf_counter() + order.seconds
        warm = time.perf_counter() + order.seconds * WARM_UP
        while (now := time.perf_counter()) < until:
            if not counted and now > warm:
                meter, counted = Meter(), load.deliveries
            load.fill()
            self._turn(0.01)
        done = meter.done(deliveries=load.deliveries - counted)
        deadline = time.perf_counter() + PATIENCE
        while load.missing:
            self._until(deadline, f"{load.missing} deliveries haven't come")
        load.check()
        return done

    def _idle(self, order: Idle) -> Done:
        meter, before = Meter(), sum(link.pings for link in self._links)
        for link in self._links:
            link.heard = _unasked
        until = time.perf_counter() + order.seconds
        while (left := until - time.perf_counter()) > 0:
            self._turn(left)
        return meter.done(pings=sum(link.pings for link in self._links) - before)

    def _close(self) -> Done:
        meter = Meter()
        for link in self._links:
            self._selector.unregister(link.sock)
            link.sock.close()
        self._links.clear()
        return meter.done()


class Meter:
    """Time, and processor time."""

    def __init__(self) -> None:
        self._began, self._processor = time.perf_counter(), time.process_time()

    def done(self, *, deliveries: int = 0, pings: int = 0, p50_ms: float = 0.0, p99_ms: float = 0.0) -> Done:
        """What was measured until now."""
        return Done(
            seconds=time.perf_counter() - self._began,
            processor=time.process_time() - self._processor,
            deliveries=deliveries,
            pings=pings,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
        )


def words(to: str, mark: str) -> bytes:
    """A message: a mark, and about as much text as people write."""
    body = {"mark": mark, "kind": "message", "text": secrets.token_hex(TEXT_BYTES // 2)}
    return msgspec.json.encode({"to": to, "body": body})


class Pairs:
    """Messages from one connection to the next; each must come to the right one, once."""

    def __init__(self, links: list[Link]) -> None:
        self._links = links
        self.under_way: dict[bytes, tuple[Link, float]] = {}
        self.found: list[float] = []
        for link in links:
            link.heard = self._heard

    def send(self, number: int) -> None:
        """The next one."""
        at = number * 2 % (len(self._links) // 2 * 2)
        sender, recipient = self._links[at], self._links[at + 1]
        mark = f"{number:016x}"
        text = words(recipient.user, mark)
        self.under_way[mark.encode()] = recipient, time.perf_counter()
        sender.say(text)

    def _heard(self, link: Link, text: bytes, count: int) -> None:
        now = time.perf_counter()
        for mark in _MARKS.findall(text):
            recipient, sent = self.under_way.pop(mark, (None, 0.0))
            if recipient is not link:
                raise LinkError(f"{link.user} got a message that isn't for it, or twice")
            self.found.append(now - sent)


class Room:
    """Messages to all; the last connection looks at each of them, of the others it is counted how many they get."""

    def __init__(self, links: list[Link], window: int) -> None:
        self._links, self._window = links, window
        self._sent = self.deliveries = 0
        self._witnessed: list[bytes] = []
        for link in links:
            link.heard = self._heard
        links[-1].heard = self._witness

    @property
    def missing(self) -> int:
        """Deliveries that are to come."""
        return self._sent * len(self._links) - self.deliveries

    def fill(self) -> None:
        """Send until enough is under way."""
        while self.missing <= (self._window - 1) * len(self._links):
            self._links[0].say(words(self._links[0].room, f"{self._sent:016x}"))
            self._sent += 1

    def check(self) -> None:
        """LinkError unless everything came, in order, once."""
        wanted = [f"{number:016x}".encode() for number in range(self._sent)]
        if self._witnessed != wanted or self.missing:
            raise LinkError(f"{len(self._witnessed)} messages came to the last one, not these {len(wanted)} in order")

    def _heard(self, link: Link, text: bytes, count: int) -> None:
        self.deliveries += count

    def _witness(self, link: Link, text: bytes, count: int) -> None:
        self.deliveries += count
        self._witnessed += _MARKS.findall(text)


def _unasked(link: Link, text: bytes, count: int) -> None:
    raise LinkError(f"{link.user} got a message that nobody has sent")


if __name__ == "__main__":
    # A pause of ours would be taken for one of theirs, and what is thrown away here has no cycles.
    gc.disable()
    sys.setswitchinterval(1.0)
    Generator().run()

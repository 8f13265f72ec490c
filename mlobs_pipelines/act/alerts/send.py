"""The outbox's sender: whatever is due goes out, in order, as often as it takes.

At least once: a message is delivered when its channel says so, and a process killed between that and the receipt sends it
again, with the same dedup keys. Of one model, one channel gets its messages one after the other; those that queued up while it
was away go as one, so that nothing old is ever told after something newer.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from itertools import groupby

from mlobs_pipelines.act.alerts import memory, outbox
from mlobs_pipelines.act.alerts.channel import Channel, NotNowError, scrubbed
from mlobs_pipelines.act.alerts.channels import channels
from mlobs_pipelines.act.alerts.message import folded
from mlobs_pipelines.act.alerts.outbox import Envelope
from mlobs_pipelines.spec.load import load_all
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 3600.0
LONGEST_WISH = 86400.0
"""Seconds: the pause after a first failure, which doubles; its limit; and that of what a Retry-After may ask for."""

GIVEN_UP = dt.timedelta(days=7)
"""After this a message is given up, and shown as such."""


@dataclass
class Summary:
    """What one delivery did. ``waiting``: messages that are left; ``busy``: another sender was at work, and nothing was done."""

    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int = 0
    busy: bool = False
    problems: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """The summary as a person reads it."""
        if self.busy:
            return "another sender is at work"
        counts = {"delivered": self.delivered, "to be tried again": self.failed, "given up": self.dropped}
        said = [f"{count} {what}" for what, count in counts.items() if count]
        left = self.waiting - self.failed
        said += [f"{left} not due yet"] if left > 0 else []
        return ", ".join(said) or "nothing to send"


def deliver(
    home: Home,
    *,
    now: dt.datetime,
    budget_seconds: float = 20.0,
    specs: Iterable[ModelSpec] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> Summary:
    """Send what is due.

    Args:
        home: the installation, whose models' files say where the channels are.
        now: the present time, with a timezone.
        budget_seconds: no message is begun after so many seconds.
        specs: models that have no file in the home.
        sleep: how to wait between messages to a channel that wants a pause.
    """
    try:
        with outbox.sender(home):
            memory.recover(home)
            return _Sender(home, now, budget_seconds, _places(home, specs), sleep).work()
    except TimeoutError:
        return Summary(busy=True)


Places = Mapping[str, Mapping[str, Channel]]


def _places(home: Home, specs: Iterable[ModelSpec]) -> Places:
    """Model -> key -> channel, of every model whose file can be read."""
    known = {**load_all(home.models)[0], **{spec.model: spec for spec in specs}}
    return {name: {key: place for key, (place, _) in channels(spec)[0].items()} for name, spec in known.items()}


@dataclass
class _Sender:
    home: Home
    started: dt.datetime
    budget: float
    places: Places
    sleep: Callable[[float], None]
    summary: Summary = field(default_factory=Summary)
    held: set[str] = field(default_factory=set)
    last: dict[str, float] = field(default_factory=dict)
    clock: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> dt.datetime:
        return self.started + dt.timedelta(seconds=time.monotonic() - self.clock)

    def work(self) -> Summary:
        waiting, unreadable = outbox.pending(self.home)
        self.summary.problems += [f"outbox/pending/{name} can't be read; move it away" for name in unreadable]
        queues = groupby(waiting, key=lambda e: (e.message.model, e.channel))
        heads = [self.one(list(queue)) for _, queue in queues]
        self.held = {e.channel for e in heads if e.holds and e.next_attempt_at > self.started}
        # what never failed goes first: one message that a channel chokes on does not keep the others
        for envelope in sorted(heads, key=lambda e: (e.attempts, e.queued_at, e.id)):
            self.consider(envelope)
        if waiting:
            outbox.prune(self.home, self.started)
        return self.summary

    def one(self, queue: list[Envelope]) -> Envelope:
        """The newest message of a queue, with everything that the others still had to say."""
        newest = queue[-1]
        for older in reversed(queue[:-1]):
            message = older.message
            left = tuple(i for i in message.items if not any(i.dedup_key in part for part in older.answered))
            newest = replace(
                newest,
                message=folded(replace(message, items=left), newest.message),
                attempts=max(newest.attempts, older.attempts),
                next_attempt_at=max(newest.next_attempt_at, older.next_attempt_at),
                holds=newest.holds or older.holds,
                note=newest.note or older.note,
            )
        if len(queue) > 1:
            outbox.update(self.home, newest)
        for older in queue[:-1]:
            outbox.settle(self.home, older, "dropped", f"{outbox.SUPERSEDED} {newest.id}", self.now)
        return newest

    def consider(self, envelope: Envelope) -> None:
        """Send a message, if it is due and its channel is known and ready."""
        places = self.places.get(envelope.message.model)
        place = places.get(envelope.channel) if places is not None else None
        late = self.now - envelope.queued_at > GIVEN_UP
        if place is None and (places is not None or late):
            self.drop(envelope, "its channel is no longer in the model's file")
        elif late:
            self.drop(envelope, f"not delivered in {GIVEN_UP.days} days: {envelope.note}")
        elif place is None or envelope.next_attempt_at > self.now or envelope.channel in self.held or self.spent(place):
            self.summary.waiting += 1
        else:
            self.send(envelope, place)

    def spent(self, place: Channel) -> bool:
        """Whether the time is up, counting the pause that the channel wants."""
        return time.monotonic() - self.clock + self.pause(place) > self.budget

    def pause(self, place: Channel) -> float:
        last = self.last.get(place.identity)
        return 0.0 if last is None else max(0.0, last + place.pause - time.monotonic())

    def send(self, envelope: Envelope, place: Channel) -> None:
        if (wait := self.pause(place)) > 0:
            self.sleep(wait)
        try:
            for receipt in place.send(envelope.message, envelope.answered.keys()):
                answered = {**envelope.answered, receipt.part: scrubbed(receipt.detail, place)}
                refused = (*envelope.refused, receipt.part) if receipt.refused else envelope.refused
                envelope = replace(envelope, answered=answered, refused=refused)
                outbox.update(self.home, envelope)
        except NotNowError as error:
            self.later(envelope, error, scrubbed(error.reason, place))
        except Exception as error:  # a bug in one channel must not keep the others
            self.later(envelope, NotNowError(""), f"{type(error).__name__} in {place.label}")
        else:
            if envelope.refused:
                self.drop(envelope, envelope.answered[envelope.refused[0]])
            else:
                outbox.settle(self.home, envelope, "delivered", _last_answer(envelope), self.now)
                self.summary.delivered += 1
        self.last[place.identity] = time.monotonic()

    def later(self, envelope: Envelope, error: NotNowError, reason: str) -> None:
        """Wait longer after every failure, and as long as the channel asks."""
        wished = retry_after(error.after, self.now)
        pause = max(backoff(envelope.id, envelope.attempts), wished)
        if error.whole_channel:
            self.held.add(envelope.channel)
        waiting = replace(
            envelope,
            attempts=envelope.attempts + 1,
            next_attempt_at=self.now + dt.timedelta(seconds=pause),
            holds=error.whole_channel,
            note=reason,
        )
        outbox.update(self.home, waiting)
        self.summary.failed += 1
        self.summary.waiting += 1
        self.summary.problems.append(f"{envelope.label}: {reason}; tried again in {pause:.0f} s")

    def drop(self, envelope: Envelope, reason: str) -> None:
        outbox.settle(self.home, envelope, "dropped", reason, self.now)
        self.summary.dropped += 1
        self.summary.problems.append(f"{envelope.label}: given up {envelope.id}: {reason}")


def backoff(name: str, attempts: int) -> float:
    """Seconds until the next try after ``attempts`` failures before this one: 30 s, doubled each time, up to an hour.

    A quarter more or less, by the message's id, so that what failed together does not come back together.
    """
    spread = 0.75 + int(hashlib.sha256(f"{name} {attempts}".encode()).hexdigest()[:4], 16) / 0xFFFF / 2
    return float(min(FIRST_PAUSE * 2 ** min(attempts, 20), LONGEST_PAUSE) * spread)


def retry_after(said: str | None, now: dt.datetime) -> float:
    """Seconds that a Retry-After header asks for (a number or a date), at most a day; 0 where it says nothing."""
    if said is None:
        return 0.0
    try:
        seconds = float(said)
    except ValueError:
        try:
            date = parsedate_to_datetime(said)
        except ValueError:
            return 0.0
        seconds = (date.replace(tzinfo=date.tzinfo or dt.UTC) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WISH) if not math.isnan(seconds) else 0.0


def _last_answer(envelope: Envelope) -> str:
    return next(reversed(envelope.answered.values()), "")

"""What sessions cost: each response once, however often it is repeated or corrected, in whatever form it was recorded."""

import marshal
from collections import OrderedDict, deque
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import click

from agent_pipes.core.bounded import remember
from agent_pipes.core.event import Event, digest
from agent_pipes.cost.estimate import Guess, Said
from agent_pipes.cost.prices import Price, Table, Usage, built_in

RESPONSES, SUMMED_UP = 50_000, 500_000
"""Responses that are remembered, over all sessions, so that a repetition or a correction is known as one: of a stream, and
where what was recorded is summed up."""

SESSIONS = 10_000
"""Sessions that are remembered."""

REQUESTS = 256
"""Requests of one session that are remembered until their response comes."""

LINES = 64
"""Lines of one response whose times are remembered."""

LARGEST = 10**12
"""Tokens beyond which a count is cut: no session has so many."""

GUESSED = "guess:"
"""What the id of a response begins with that nobody recorded."""

ASSUMED = "claude-opus-5-5"
"""The model at whose prices a session is guessed that names none and records no usage: rather too dear than too cheap."""


class Charge(NamedTuple):
    """What one response costs, in picodollars."""

    usd: int
    estimated: bool
    unpriced: bool
    model: str
    usage: Usage
    saved: int


NOTHING = Charge(0, False, False, "", Usage(), 0)


class Cost(NamedTuple):
    """What one response costs, and its session's sum with it, in picodollars.

    session:    the sum; estimated: what part of it is an estimate.
    counted_in: the session whose response this is a copy of (after a fork), where it was counted; "" where it is none.
    """

    charge: Charge
    session: int
    estimated: int
    counted_in: str = ""


class Tally:
    """What one model has done in a session, and what it cost, in picodollars."""

    __slots__ = (
        "estimated",
        "output",
        "prompt",
        "read",
        "reasoning",
        "responses",
        "saved",
        "searches",
        "unpriced",
        "usd",
        "written",
        "written_1h",
    )

    def __init__(self) -> None:
        self.responses = self.usd = self.saved = self.estimated = self.unpriced = 0
        self.prompt = self.read = self.written = self.written_1h = self.output = self.reasoning = (
            self.searches
        ) = 0

    def add(self, charge: Charge, sign: int) -> None:
        (
            usd,
            estimated,
            unpriced,
            _,
            (prompt, read, written, written_1h, output, reasoning, searches),
            saved,
        ) = charge
        self.responses += sign
        self.usd += sign * usd
        self.saved += sign * saved
        self.prompt += sign * prompt
        self.read += sign * read
        self.written += sign * written
        self.written_1h += sign * written_1h
        self.output += sign * output
        self.reasoning += sign * reasoning
        self.searches += sign * searches
        if estimated:
            self.estimated += sign * usd
        if unpriced:
            self.unpriced += sign

    def merge(self, other: "Tally") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Books:
    """The sums of one session, in picodollars; by model too where that is wanted."""

    __slots__ = ("estimated", "models", "total")

    def __init__(self) -> None:
        self.total = 0
        self.estimated = 0
        self.models: dict[str, Tally] = {}

    def replace(self, old: Charge, new: Charge, tally: bool) -> None:
        self.total += new.usd - old.usd
        if new.estimated or old.estimated:
            self.estimated += new.usd * new.estimated - old.usd * old.estimated
        if tally:
            self._tally(new, 1)
            if old is not NOTHING:
                self._tally(old, -1)

    def _tally(self, charge: Charge, sign: int) -> None:
        tally = self.models.get(charge.model)
        if tally is None:
            tally = self.models[charge.model] = Tally()
        tally.add(charge, sign)


class Account:
    """One session.

    recorded: the sums of recorded usage, None until there is any: then what was `guessed` counts no more.
    guess:    what a guess is made from, None where none is made.
    model:    what the session, or its latest request, was said to run on.
    latest:   when it last cost something, seconds since the epoch.
    """

    __slots__ = ("guess", "guessed", "latest", "model", "recorded", "requests")

    def __init__(self, guesses: bool) -> None:
        self.recorded: Books | None = None
        self.guessed = Books()
        self.guess = Guess() if guesses else None
        self.model = ""
        self.latest = 0.0
        self.requests: dict[str, int] = {}

    @property
    def books(self) -> Books:
        return self.recorded or self.guessed


_Response = tuple[str, Charge, tuple[float, ...]]
"""A response that was charged: in which session, for what, and the times of the lines that told of it."""


def _packed(session: str, charge: Charge, times: tuple[float, ...]) -> bytes:
    """A response in a third of the space: very many are remembered, and hardly any is asked for again."""
    usd, estimated, unpriced, model, usage, saved = charge
    return marshal.dumps((session, usd, estimated, unpriced, model, (*usage,), saved, times), 2)


def _unpacked(packed: bytes) -> _Response:
    session, usd, estimated, unpriced, model, usage, saved, times = marshal.loads(packed)  # noqa: S302
    return session, Charge(usd, estimated, unpriced, model, Usage(*usage), saved), times


class Meter:
    """Tells what responses cost, and sums it up by session.

    prices:      a file of prices that go over the built-in ones, "" for none.
    model:       the model of responses that name none.
    unpriced_as: the model at whose prices an unpriced one is counted, "" for none: then it counts nothing, and is said to.
    recorded:    recorded usage only: no stand-in for a placeholder, no guess where nothing is recorded.
    tally:       keep sums by model too.

    Raises click.UsageError where the file is bad, or nobody knows a price for `unpriced_as`.
    """

    def __init__(
        self,
        prices: str = "",
        model: str = "",
        unpriced_as: str = "",
        recorded: bool = False,
        *,
        tally: bool = False,
    ) -> None:
        self.prices = prices
        self.model = model
        self.unpriced_as = unpriced_as
        self.recorded = recorded
        self.tally = tally
        self.accounts: OrderedDict[str, Account] = OrderedDict()
        # By identity, and the identities from the oldest on: a dict whose first are deleted takes ever longer to find its first.
        self._responses: dict[str, bytes] = {}
        self._identities: deque[str] = deque()
        self._most = SUMMED_UP if tally else RESPONSES
        if prices:
            _from_file(prices)
        if unpriced_as and not self.table.find(unpriced_as):
            near = self.table.near(unpriced_as)
            raise click.UsageError(
                f"--unpriced-as {unpriced_as}: no price is known for it{f'; did you mean {near}?' if near else ''}"
            )

    @cached_property
    def table(self) -> Table:
        return Table(built_in(), *([_from_file(self.prices)] if self.prices else []))

    def account(self, session: str) -> Account:
        account = self.accounts.get(session)
        if account is None:
            account = self.accounts[session] = Account(guesses=not self.recorded)
            if len(self.accounts) > SESSIONS and not self.tally:
                self.accounts.popitem(last=False)
        return account

    def charge(self, event: Event) -> Cost | None:
        """What `event`, an llm_response or whatever else may record a usage, adds to its session; None if it records none."""
        data = event.data
        usage = _usage(event, self.recorded)
        account = self.accounts.get(event.session) or self.account(event.session)
        identity = data.get("response_id")
        if event.type != "llm_response" or account.requests:
            identity, usage = self._told_otherwise(event, account, usage)
        if usage is None:
            return None
        model = data.get("model")
        if type(model) is not str or not model:
            model = account.model or self.model
        modes = modes_of(
            data["usage"]
            if event.type == "assistant_response" and type(data.get("usage")) is dict
            else data
        )
        estimated = data.get("estimated") is True and not (
            self.recorded and "recorded_output_tokens" in data
        )
        charge = self.priced(model, usage, event.time, estimated, modes)
        return self.count(
            event.session, identity if type(identity) is str else "", event.time, charge
        )

    def count(self, session: str, identity: str, time: float, charge: Charge) -> Cost:
        """Put a charge to its session's account: once for each response, whose identity it is; "" is none that comes again."""
        account = self.accounts.get(session) or self.account(session)
        if time:
            account.latest = time
        account.guess = None
        books = account.recorded
        if books is None:
            if not identity.startswith(GUESSED):
                account.recorded = Books()
            books = account.books
        if not identity:
            books.replace(NOTHING, charge, self.tally)
            return Cost(charge, books.total, books.estimated)
        responses = self._responses
        if identity in responses:
            counted_in, _, times = _unpacked(responses[identity])
            if counted_in != session:
                if time in times:
                    return Cost(
                        charge._replace(usd=0, saved=0), books.total, books.estimated, counted_in
                    )
                # Two agents that number their responses alike are not each other's copies.
                identity = f"{session}\0{identity}"
        if identity in responses:
            charge = self._told_again(books, identity, time, charge)
        else:
            responses[identity] = _packed(session, charge, (time,))
            self._identities.append(identity)
            if len(self._identities) > self._most:
                del responses[self._identities.popleft()]
            books.replace(NOTHING, charge, self.tally)
        return Cost(charge, books.total, books.estimated)

    def _told_again(self, books: Books, identity: str, time: float, charge: Charge) -> Charge:
        """A response that was counted is told of again: what it is charged now."""
        session, known, times = _unpacked(self._responses[identity])
        if _corrects(charge, known):
            books.replace(known, charge, self.tally)
            known = charge
        self._responses[identity] = _packed(session, known, (*times, time)[:LINES])
        return known

    def _told_otherwise(
        self, event: Event, account: Account, usage: Usage | None
    ) -> tuple[str, Usage | None]:
        """The identity and the usage of a response where a store has them in events of other types, or in two."""
        if event.type == "llm_request":
            account.model = event.text("model") or account.model
            if usage is not None:
                remember(account.requests, event.id, usage.prompt, REQUESTS)
            return f"request:{event.id}", usage
        if event.parent in account.requests:
            usage = usage or Usage()
            return f"request:{event.parent}", usage._replace(
                prompt=usage.prompt or account.requests[event.parent]
            )
        if event.type == "assistant_response" and usage and (usage.read or usage.written):
            # An imported transcript repeats a response's usage with each of its lines, and has lost its id.
            return digest(
                f"{event.session}\0{event.text('context_stream')}\0{event.text('model')}\0{usage[:4]}".encode()
            ), usage
        return event.text("response_id"), usage

    def priced(
        self,
        model: str,
        usage: Usage,
        time: float,
        estimated: bool = False,
        modes: tuple[str, ...] = (),
    ) -> Charge:
        """The charge for `usage` of `model` at `time`; nothing, and unpriced, where nobody knows a price for it."""
        price: Price | None = self.table.find(model, *modes) if model else None
        if price is None:
            price = self.table.find(self.unpriced_as, *modes) if self.unpriced_as else None
            estimated = estimated or price is not None
        if price is None:
            return Charge(0, estimated, True, model, usage, 0)
        rates = price.at(time, usage.prompt)
        return Charge(
            rates.cost(usage),
            estimated or price.estimated,
            False,
            model,
            usage,
            rates.saved(usage) if self.tally else 0,
        )

    def guess(self, event: Event) -> list[tuple[Said, Cost]]:
        """The responses that must have come before `event`, in a session for which no usage is recorded."""
        account = self.account(event.session)
        return (
            [self._guessed(account, said) for said in account.guess.hear(event)]
            if account.guess
            else []
        )

    def names_model(self, session: str) -> bool:
        """Whether anybody has said what the session runs on."""
        account = self.accounts.get(session)
        return bool((account and account.model) or self.model or self.unpriced_as)

    def rest(self, account: Account) -> None:
        """Count what the session's agents had said when the input was over."""
        for said in account.guess.over() if account.guess else ():
            self._guessed(account, said)

    def _guessed(self, account: Account, said: Said) -> tuple[Said, Cost]:
        model = account.model or self.model or self.unpriced_as or ASSUMED
        charge = self.priced(model, said.usage(model), said.time, True)
        account.latest = said.time or account.latest
        account.guessed.replace(NOTHING, charge, self.tally)
        return said, Cost(charge, account.guessed.total, account.guessed.estimated)


def know(known: dict[str, None], session: str) -> None:
    """The session's cost is told, or its usage recorded: what is said in it matters no more."""
    if session not in known:
        remember(known, session, None, SESSIONS)


def _from_file(path: str) -> dict[str, Any]:
    from agent_pipes.cost.price_file import load

    return load(path)


def may_record(event: Event) -> bool:
    """Whether the event, which is of a type in RECORDING, is one that a usage may stand in."""
    return event.type != "assistant_response" or "usage" in event.data


def _corrects(new: Charge, old: Charge) -> bool:
    """Whether `new` takes the place of `old` for the same response.

    The later one does, whole, but for the smaller count of the same model that some agents write behind the final one.
    """
    if new.model != old.model or (old.estimated and not new.estimated):
        return True
    return new.usage.prompt + new.usage.output >= old.usage.prompt + old.usage.output


def _count(value: object) -> int:
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    return int(min(value, LARGEST)) if type(value) in (int, float) and value > 0 else 0  # type: ignore[operator,call-overload]


def _usage(event: Event, recorded: bool) -> Usage | None:
    """The tokens that the event tells of, None where it tells of none.

    Ours and OpenTelemetry's count the cached parts within input_tokens. Who counts them apart (Anthropic's own form,
    which an imported transcript has) shows by a prompt smaller than its cached parts.
    """
    data = event.data
    given = data.get("usage")
    get = given.get if type(given) is dict else data.get
    prompt = _count(get("input_tokens") or get("prompt_tokens") or 0)
    output = _count(get("output_tokens") or get("completion_tokens") or 0)
    read = _count(get("cache_read_input_tokens", 0))
    written = _count(get("cache_creation_input_tokens", 0))
    written_1h = _count(get("cache_creation_1h_input_tokens")) if written else 0
    reasoning, searches = get("reasoning_output_tokens", 0), data.get("web_searches", 0)
    if recorded and "recorded_output_tokens" in data:
        output = _count(data["recorded_output_tokens"])
    if event.type == "assistant_response":
        details, tools = get("cache_creation"), get("server_tool_use")
        written_1h = (
            _count(details.get("ephemeral_1h_input_tokens")) if type(details) is dict else 0
        )
        searches = tools.get("web_search_requests") if type(tools) is dict else 0
        prompt += read + written
    elif prompt < read + written:
        prompt += read + written
    if not (prompt or output or searches):
        return None
    if written_1h > written:
        written_1h = written
    return Usage(
        prompt,
        read,
        written,
        written_1h,
        output,
        _count(reasoning) if reasoning else 0,
        _count(searches) if searches else 0,
    )


def modes_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """How the response was made, as far as that changes its price."""
    speed, tier, place = data.get("speed"), data.get("service_tier"), data.get("inference_geo")
    if speed is None and tier is None and place is None:
        return ()
    modes = ("fast",) if speed == "fast" else (tier,) if type(tier) is str else ()
    return (*modes, "regional") if place == "us" else modes

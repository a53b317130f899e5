"""What the replays come to."""

from collections.abc import Sequence
from dataclasses import dataclass

from crma_eval.routing.conversations.replay import Replay


@dataclass(frozen=True)
class FalseSwitch:
    """A follow-up that was answered by another domain than the turn before it."""

    script: str
    text: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Figures:
    """Of all scripts, as one kind of client sends them.

    right: turns answered by the domain they belong to. flips: turns that change the answering domain though
    the script does not change the topic, of `steady` turns. delays: for each change of topic, how many turns
    after it the right domain answers (0: at once); None: not before the next.
    """

    turns: int
    right: int
    steady: int
    flips: int
    follow_ups: int
    false_switches: tuple[FalseSwitch, ...]
    changes: int
    delays: tuple[int | None, ...]

    @property
    def late(self) -> int:
        """Changes of topic that were not followed within one turn."""
        return sum(delay is None or delay > 1 for delay in self.delays)


def figures(replays: Sequence[Replay]) -> Figures:
    """Count over all scripts. The first turn of a script is no change."""
    steady = flips = right = follow_ups = 0
    switches: list[FalseSwitch] = []
    delays: list[int | None] = []
    for one in replays:
        turns, domains = one.script.turns, one.domains
        right += sum(turn.domain == domain for turn, domain in zip(turns, domains, strict=True))
        follow_ups += sum(turn.kind == "follow-up" for turn in turns)
        for at in range(1, len(turns)):
            changed = domains[at] != domains[at - 1]
            if turns[at].kind == "change":
                delays.append(_delay(one, at))
                continue
            steady, flips = steady + 1, flips + changed
            if changed and turns[at].kind == "follow-up":
                switches.append(FalseSwitch(one.script.name, turns[at].user, domains[at - 1], domains[at]))
    return Figures(
        sum(len(one.domains) for one in replays), right, steady, flips, follow_ups, tuple(switches),
        len(delays), tuple(delays),
    )  # fmt: skip


def _delay(one: Replay, change: int) -> int | None:
    wanted = one.script.turns[change].domain
    for at in range(change, len(one.domains)):
        if at > change and one.script.turns[at].kind == "change":
            return None
        if one.domains[at] == wanted:
            return at - change
    return None

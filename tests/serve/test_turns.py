"""Turns and budgets: fair between keys, refused early, given back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ttsi.serve.limits import Budget, Limits
from ttsi.serve.turns import Refused, Turns


async def tick() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def queue_up(turns: Turns, order: list[str], *names: str) -> list[asyncio.Task[None]]:
    """One task per name; each notes when its turn came."""

    async def one(name: str) -> None:
        await turns.take(name)
        order.append(name)

    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(one(name)))
        await tick()
    return tasks


def test_a_flood_of_one_key_lets_another_pass() -> None:
    async def story() -> list[str]:
        turns, order = Turns(Limits()), list[str]()
        tasks = await queue_up(turns, order, *["flood"] * 5, "quiet")
        for _ in range(6):
            turns.give(order[-1], 1.0)
            await tick()
        await asyncio.gather(*tasks)
        assert turns.inside == turns.waiting == 0
        return order

    order = asyncio.run(story())
    assert order.index("quiet") == 1


def test_control_first_come_first_served_would_let_it_wait() -> None:
    arrivals = [*["flood"] * 5, "quiet"]
    assert arrivals.index("quiet") == 5


class Forgetful(Turns):
    """Who leaves is forgotten, and begins at the lowest counter when they come back."""

    def _left(self, tenant: str) -> None:
        self._keys[tenant].inside -= 1
        self._keys = {name: key for name, key in self._keys.items() if key.inside}
        self._level = min((key.used for key in self._keys.values()), default=0.0)


def turns_until_served(turns: Turns) -> int:
    """How many turns are given until a key that has used 5 seconds gets its second; two others come and go, one of
    them always waiting."""

    async def story() -> int:
        order: list[str] = []
        tasks = await queue_up(turns, order, "old", "old", "b")
        turns.give("old", 5.0)  # it is b's turn, of 1 second as all that follow
        await tick()
        tasks += await queue_up(turns, order, "c")
        while order.count("old") < 2 and len(order) < 50:
            left = order[-1]
            turns.give(left, 1.0)
            await tick()
            if order[-1] != "old":
                tasks += await queue_up(turns, order, left)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(order)

    return asyncio.run(story())


def test_those_who_come_and_go_do_not_starve_who_waits() -> None:
    assert turns_until_served(Turns(Limits())) < 15


def test_control_where_leaving_is_forgetting_it_waits_for_ever() -> None:
    assert turns_until_served(Forgetful(Limits())) == 50


@pytest.mark.parametrize(("waited", "order"), [(29.0, ["a", "c", "b"]), (31.0, ["a", "b", "c"])])
def test_who_has_waited_too_long_goes_first_and_is_told(waited: float, order: list[str]) -> None:
    """29 seconds are the control: there the key that has used less goes first."""

    async def story() -> None:
        now, found, in_time = [0.0], list[str](), dict[str, bool]()
        turns = Turns(Limits(wait_seconds=30.0), clock=lambda: now[0])

        async def one(name: str) -> None:
            in_time[name] = await turns.take(name)
            found.append(name)

        tasks = []
        for name in ("b", "a", "b"):
            tasks.append(asyncio.create_task(one(name)))
            await tick()
        turns.give("b", 3.0)  # it is a's turn, and b waits
        await tick()
        now[0] = waited
        tasks.append(asyncio.create_task(one("c")))
        await tick()
        for name in order:
            turns.give(name, 0.5)
            await tick()
        assert found == ["b", *order]
        assert in_time == {"a": True, "b": waited < 30, "c": True}
        await asyncio.gather(*tasks)

    asyncio.run(story())


def test_too_many_of_one_key_and_too_many_in_all_are_refused() -> None:
    async def story() -> None:
        turns, order = Turns(Limits(per_key=2, queue=3)), list[str]()
        tasks = await queue_up(turns, order, "a", "a")
        with pytest.raises(Refused) as own:
            await turns.take("a")
        assert own.value.status == 429 and own.value.retry_after >= 1
        tasks += await queue_up(turns, order, "b", "c")
        with pytest.raises(Refused) as all_:
            await turns.take("d")
        assert all_.value.status == 503 and all_.value.retry_after >= 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(story())


def test_a_wait_that_would_be_too_long_is_refused() -> None:
    async def story() -> None:
        turns, order = Turns(Limits(wait_seconds=10.0)), list[str]()
        [task] = await queue_up(turns, order, "a")
        for _ in range(30):
            turns.give("a", 60.0)  # requests take a minute
            await turns.take("a")
        with pytest.raises(Refused):
            await turns.take("b")
        await task

    asyncio.run(story())


@pytest.mark.parametrize(("usual", "refused"), [(True, False), (False, True)])
def test_quick_answers_of_the_late_are_no_forecast(usual: bool, refused: bool) -> None:
    """True is the control: there the mean falls, and one more is let in."""

    async def story() -> None:
        turns = Turns(Limits(wait_seconds=10.0))
        await turns.take("a")
        turns.give("a", 15.0)
        for _ in range(30):
            await turns.take("a")
            turns.give("a", 0.1, usual=usual)
        await turns.take("a")
        if not refused:
            turns.check("b")
            return
        with pytest.raises(Refused):
            turns.check("b")

    asyncio.run(story())


def left_while_waiting(turns: Turns, tasks: list[asyncio.Task[None]]) -> Awaitable[None]:
    async def leave() -> None:
        tasks[1].cancel()
        await tick()
        turns.give("a", 1.0)

    return leave()


def left_with_the_turn_in_hand(turns: Turns, tasks: list[asyncio.Task[None]]) -> Awaitable[None]:
    async def leave() -> None:
        turns.give("a", 1.0)
        tasks[1].cancel()  # its turn has come, and it has not noticed yet
        await tick()

    return leave()


@pytest.mark.parametrize("leave", [left_while_waiting, left_with_the_turn_in_hand])
def test_whoever_leaves_hands_the_turn_on(leave: Callable[..., Awaitable[None]]) -> None:
    async def story() -> None:
        turns, order = Turns(Limits()), list[str]()
        tasks = await queue_up(turns, order, "a", "b", "c")
        await leave(turns, tasks)
        await tick()
        assert order == ["a", "c"]
        turns.give("c", 1.0)
        assert turns.inside == 0

    asyncio.run(story())


def test_a_shutdown_refuses_who_waits() -> None:
    async def story() -> None:
        turns, order = Turns(Limits()), list[str]()
        tasks = await queue_up(turns, order, "a", "b")
        turns.refuse_waiting(Refused(503, "shutting down", 5))
        with pytest.raises(Refused):
            await tasks[1]
        turns.give("a", 1.0)
        assert turns.inside == 0

    asyncio.run(story())


def test_the_table_of_keys_does_not_grow() -> None:
    async def story() -> None:
        turns = Turns(Limits())
        for number in range(1000):
            await turns.take(f"key {number}")
            turns.give(f"key {number}", 0.1)
        assert len(turns._keys) <= 2

    asyncio.run(story())


def test_a_budget_is_spent_given_back_and_filled_again() -> None:
    now = [0.0]
    budget = Budget(Limits(adaptations_per_key=2, adaptations_per_minute=3), clock=lambda: now[0])
    assert budget.take("a", 2) and not budget.take("a")
    assert budget.take("b") and not budget.take("b")  # b has one left of its own, but nothing is left for all
    budget.give_back("a")
    assert budget.take("a")
    now[0] = 60.0
    assert budget.take("b", 2)

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

"""The fair queue and the adaptation budget: fair between keys, early to reject, exact in what is released."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ttsi.serve.fair_queue import FairQueue, Overloaded
from ttsi.serve.limits import AdaptationBudget, Limits


async def tick() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def queue_up(queue: FairQueue, order: list[str], *names: str) -> list[asyncio.Task[None]]:
    """One task per name; each notes when its turn came."""

    async def one(name: str) -> None:
        await queue.acquire(name)
        order.append(name)

    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(one(name)))
        await tick()
    return tasks


def order_beside_a_flood(queue: FairQueue) -> list[str]:
    """The order of service of five requests of one key and then one of another."""

    async def story() -> list[str]:
        order: list[str] = []
        tasks = await queue_up(queue, order, *["flood"] * 5, "quiet")
        for _ in range(6):
            queue.release(order[-1], 1.0)
            await tick()
        await asyncio.gather(*tasks)
        assert queue.inside == queue.waiting == 0
        return order

    return asyncio.run(story())


class FirstComeFirstServed(FairQueue):
    """A mutant in which every waiting request is overdue, so that the oldest is always next."""

    def _is_overdue(self, waiter: object) -> bool:
        return True


def test_a_flood_of_one_key_lets_another_pass() -> None:
    assert order_beside_a_flood(FairQueue(Limits())).index("quiet") == 1


def test_control_first_come_first_served_lets_it_wait() -> None:
    assert order_beside_a_flood(FirstComeFirstServed(Limits())).index("quiet") == 5


class Forgetful(FairQueue):
    """A mutant that forgets a key that leaves; it returns at the lowest counter."""

    def _leave(self, tenant: str) -> None:
        self._keys[tenant].inside -= 1
        self._keys = {name: key for name, key in self._keys.items() if key.inside}
        self._virtual_time = min((key.used for key in self._keys.values()), default=0.0)


def turns_until_served(queue: FairQueue) -> int:
    """How many turns pass until a key that has used 5 seconds gets its second, while two others come and go and one of
    them always waits."""

    async def story() -> int:
        order: list[str] = []
        tasks = await queue_up(queue, order, "old", "old", "b")
        queue.release("old", 5.0)  # it is b's turn, of 1 second as all that follow
        await tick()
        tasks += await queue_up(queue, order, "c")
        while order.count("old") < 2 and len(order) < 50:
            left = order[-1]
            queue.release(left, 1.0)
            await tick()
            if order[-1] != "old":
                tasks += await queue_up(queue, order, left)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(order)

    return asyncio.run(story())


def test_keys_that_come_and_go_do_not_starve_one_that_waits() -> None:
    assert turns_until_served(FairQueue(Limits())) < 15


def test_control_where_a_key_that_leaves_is_forgotten_it_starves() -> None:
    assert turns_until_served(Forgetful(Limits())) == 50


@pytest.mark.parametrize(("waited", "order"), [(29.0, ["a", "c", "b"]), (31.0, ["a", "b", "c"])])
def test_an_overdue_request_goes_first_and_learns_that_it_is_late(waited: float, order: list[str]) -> None:
    """29 seconds are the control: there the key that has used less goes first."""

    async def story() -> None:
        now, served, in_time = [0.0], list[str](), dict[str, bool]()
        queue = FairQueue(Limits(wait_seconds=30.0), clock=lambda: now[0])

        async def one(name: str) -> None:
            in_time[name] = await queue.acquire(name)
            served.append(name)

        tasks = []
        for name in ("b", "a", "b"):
            tasks.append(asyncio.create_task(one(name)))
            await tick()
        queue.release("b", 3.0)  # it is a's turn, and b waits
        await tick()
        now[0] = waited
        tasks.append(asyncio.create_task(one("c")))
        await tick()
        for name in order:
            queue.release(name, 0.5)
            await tick()
        assert served == ["b", *order]
        assert in_time == {"a": True, "b": waited < 30, "c": True}
        await asyncio.gather(*tasks)

    asyncio.run(story())


def test_too_many_of_one_key_and_too_many_in_all_are_rejected() -> None:
    async def story() -> None:
        queue, order = FairQueue(Limits(per_key=2, queue=3)), list[str]()
        tasks = await queue_up(queue, order, "a", "a")
        with pytest.raises(Overloaded) as own:
            await queue.acquire("a")
        assert own.value.status == 429 and own.value.retry_after >= 1
        tasks += await queue_up(queue, order, "b", "c")
        with pytest.raises(Overloaded) as all_:
            await queue.acquire("d")
        assert all_.value.status == 503 and all_.value.retry_after >= 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(story())


def test_a_wait_that_would_be_too_long_is_rejected() -> None:
    async def story() -> None:
        queue, order = FairQueue(Limits(wait_seconds=10.0)), list[str]()
        [task] = await queue_up(queue, order, "a")
        for _ in range(30):
            queue.release("a", 60.0)  # requests take a minute
            await queue.acquire("a")
        with pytest.raises(Overloaded):
            await queue.acquire("b")
        await task

    asyncio.run(story())


@pytest.mark.parametrize(("typical", "rejected"), [(True, False), (False, True)])
def test_quick_late_answers_do_not_count_for_the_forecast(typical: bool, rejected: bool) -> None:
    """True is the control: there the mean falls, and one more is admitted."""

    async def story() -> None:
        queue = FairQueue(Limits(wait_seconds=10.0))
        await queue.acquire("a")
        queue.release("a", 15.0)
        for _ in range(30):
            await queue.acquire("a")
            queue.release("a", 0.1, typical=typical)
        await queue.acquire("a")
        if not rejected:
            queue.check("b")
            return
        with pytest.raises(Overloaded):
            queue.check("b")

    asyncio.run(story())


def leave_while_waiting(queue: FairQueue, tasks: list[asyncio.Task[None]]) -> Awaitable[None]:
    async def leave() -> None:
        tasks[1].cancel()
        await tick()
        queue.release("a", 1.0)

    return leave()


def leave_with_the_turn(queue: FairQueue, tasks: list[asyncio.Task[None]]) -> Awaitable[None]:
    async def leave() -> None:
        queue.release("a", 1.0)
        tasks[1].cancel()  # its turn has come, and it has not noticed yet
        await tick()

    return leave()


@pytest.mark.parametrize("leave", [leave_while_waiting, leave_with_the_turn])
def test_a_cancelled_request_passes_the_turn_on(leave: Callable[..., Awaitable[None]]) -> None:
    async def story() -> None:
        queue, order = FairQueue(Limits()), list[str]()
        tasks = await queue_up(queue, order, "a", "b", "c")
        await leave(queue, tasks)
        await tick()
        assert order == ["a", "c"]
        queue.release("c", 1.0)
        assert queue.inside == 0

    asyncio.run(story())


def test_a_shutdown_rejects_waiting_requests() -> None:
    async def story() -> None:
        queue, order = FairQueue(Limits()), list[str]()
        tasks = await queue_up(queue, order, "a", "b")
        queue.reject_waiting(Overloaded(503, "shutting down", 5))
        with pytest.raises(Overloaded):
            await tasks[1]
        queue.release("a", 1.0)
        assert queue.inside == 0

    asyncio.run(story())


def test_the_table_of_keys_does_not_grow() -> None:
    async def story() -> None:
        queue = FairQueue(Limits())
        for number in range(1000):
            await queue.acquire(f"key {number}")
            queue.release(f"key {number}", 0.1)
        assert len(queue._keys) <= 2

    asyncio.run(story())


def test_a_budget_is_spent_refunded_and_refilled() -> None:
    now = [0.0]
    budget = AdaptationBudget(Limits(adaptations_per_key=2, adaptations_per_minute=3), clock=lambda: now[0])
    assert budget.spend("a", 2) and not budget.spend("a")
    assert budget.spend("b") and not budget.spend("b")  # b has one left of its own, but nothing is left for all
    budget.refund("a")
    assert budget.spend("a")
    now[0] = 60.0
    assert budget.spend("b", 2)

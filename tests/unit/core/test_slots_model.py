"""The slots beside a list of who waits, for any order of coming, going and being served."""

from __future__ import annotations

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from refold_async._core.slots import FairSemaphore


@define(eq=False)
class Waiter:
    name: int
    served: list[int]
    is_gone: bool = False

    def take_slot(self) -> bool:
        if not self.is_gone:
            self.served.append(self.name)
        return not self.is_gone


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from(["come", "come", "go", "release"]), st.integers(0, 9))))
def test_whoever_waits_longest_is_served_and_those_who_left_cost_nothing(
    count: int, moves: list[tuple[str, int]]
) -> None:
    slots = FairSemaphore(count)
    served: list[int] = []
    queue: list[Waiter] = []
    expected: list[int] = []
    taken = 0
    for name, (move, place) in enumerate(moves):
        if move == "come":
            if slots.try_acquire():
                taken += 1
            else:
                queue.append(Waiter(name, served))
                slots.enqueue(queue[-1])
        elif move == "go" and queue:
            queue.pop(place % len(queue)).is_gone = True
            slots.forget()
        elif move == "release" and taken:
            if queue:
                waiter = queue.pop(0)
                expected.append(waiter.name)
                slots.release()
                waiter.is_gone = True
            else:
                taken -= 1
                slots.release()
        assert served == expected
        assert (slots.waiting, slots.available) == (len(queue), count - taken)
        assert len(slots.waiters) <= 2 * len(queue) + 1

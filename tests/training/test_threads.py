"""The number of threads is chosen by measurement."""

from lssl.training.threads import ThreadChoice


class Machine:
    """A machine on which a piece of work takes `seconds[threads]`."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds, self.threads, self.said = seconds, 0, []

    def choice(self) -> ThreadChoice:
        return ThreadChoice(self.said.append, sorted(self.seconds), self.use)

    def use(self, threads: int) -> None:
        self.threads = threads

    def work(self, choice: ThreadChoice, times: int) -> float:
        """The time that it took."""
        taken = 0.0
        for _ in range(times):
            seconds = self.seconds.get(self.threads, 1.0)
            taken += seconds
            choice.done(seconds)
        return taken


def test_the_fastest_is_kept_and_said():
    machine = Machine({2: 0.39, 1: 0.6})
    choice = machine.choice()
    machine.work(choice, 20)
    assert machine.threads == 2
    assert machine.said == ["Threads: 2 (0.6 s with 1, 0.39 s with 2)"]


def test_it_is_measured_again_where_work_slows_down():
    machine = Machine({2: 0.39, 1: 0.6})
    choice = machine.choice()
    machine.work(choice, 40)
    machine.seconds.update({2: 5.8, 1: 0.7})  # another process is busy
    machine.work(choice, 60)
    assert machine.threads == 1
    slower, again = machine.said[1:]
    assert slower.startswith("An update takes")
    assert again == "Threads: 1 (0.7 s with 1, 5.8 s with 2)"
    machine.seconds.update({2: 0.4, 1: 0.6})  # no slower, so the number stays
    machine.work(choice, 100)
    assert machine.threads == 1


def test_a_busy_machine_costs_one_slow_piece_of_work():
    machine = Machine({2: 25.0, 1: 0.9})
    choice = machine.choice()
    assert machine.work(choice, 20) < 25 + 20 * 0.9
    assert machine.threads == 1
    assert machine.said == ["Threads: 1 (0.9 s with 1, 25 s with 2)"]


def test_a_machine_that_becomes_busy_is_noticed_after_a_few():
    machine = Machine({2: 0.39, 1: 0.6})
    choice = machine.choice()
    machine.work(choice, 20)
    machine.seconds.update({2: 25.0, 1: 0.9})
    assert machine.work(choice, 20) < 4 * 25 + 20 * 0.9
    assert machine.threads == 1


def test_one_number_is_not_measured():
    machine = Machine({1: 1.0})
    machine.work(machine.choice(), 10)
    assert machine.said == []

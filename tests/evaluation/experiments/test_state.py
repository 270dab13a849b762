"""A finished part is never computed again; other settings are refused and named."""

import pytest

from lssl.errors import LsslError
from lssl.evaluation.experiments.state import ExperimentState


def test_a_part_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"accuracy": 90.5, "pair": (1, 2)}

    state = ExperimentState(tmp_path / "out", {"seed": 1})
    first = state.part("fold-00", make)
    again = ExperimentState(tmp_path / "out", {"seed": 1}).part("fold-00", make)
    assert first == again == {"accuracy": 90.5, "pair": [1, 2]}
    assert made == [1]


def test_an_interrupted_part_leaves_nothing(tmp_path):
    def stop():
        raise KeyboardInterrupt

    state = ExperimentState(tmp_path / "out", {"seed": 1})
    with pytest.raises(KeyboardInterrupt):
        state.part("fold-00", stop)
    assert not state.done("fold-00")


def test_other_settings_are_refused_and_overwrite_forgets(tmp_path):
    ExperimentState(tmp_path / "out", {"seed": 1, "folds": 5}).part("fold-00", dict)
    with pytest.raises(LsslError, match=r"other settings \(seed: 1 then, 2 now\)"):
        ExperimentState(tmp_path / "out", {"seed": 2, "folds": 5})
    assert not ExperimentState(tmp_path / "out", {"seed": 2, "folds": 5}, overwrite=True).done("fold-00")


def test_a_damaged_part_is_named(tmp_path):
    state = ExperimentState(tmp_path / "out", {})
    (state.root / "fold-00.json").write_text("{")
    with pytest.raises(LsslError, match=r"fold-00\.json: not readable"):
        state.part("fold-00", dict)


def test_time_adds_up_over_calls(tmp_path, monkeypatch):
    from lssl.evaluation.experiments import state as module

    clock = iter([0.0, 10.0, 100.0, 105.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    ExperimentState(tmp_path / "out", {}).part("fold-00", dict)
    state = ExperimentState(tmp_path / "out", {})
    state.part("fold-01", dict)
    state.part("fold-01", dict)
    assert state.seconds == 15


def test_of_nested_settings_only_what_differs_is_named(tmp_path):
    then = {"seed": 1, "training": {"warm_up": {"updates": 3}, "schedule": {"iterations": 10, "ema": 0.5}}}
    ExperimentState(tmp_path, then)
    now = {
        "seed": 1,
        "training": {"warm_up": {"updates": 3, "movement": 0}, "schedule": {"iterations": 20, "ema": 0.5}},
    }
    expected = (
        r"settings \(training.schedule.iterations: 10 then, 20 now; training.warm_up.movement: absent then, 0 now\)"
    )
    with pytest.raises(LsslError, match=expected):
        ExperimentState(tmp_path, now)
    with pytest.raises(LsslError, match=r"; and 5 more\)"):
        ExperimentState(tmp_path, {"training": then["training"], **dict.fromkeys("abcdefgh", 1)})

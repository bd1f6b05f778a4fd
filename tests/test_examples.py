"""The examples that show a loop of one's own and Lightning run."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not here")


def test_a_loop_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import own_loop

    assert own_loop.main(epochs=1, hidden=16, every=10) > 0.2  # chance is 0.1
    assert capsys.readouterr().out.startswith("epoch 1: loss ")


def test_a_module_of_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning")
    monkeypatch.syspath_prepend(EXAMPLES)
    import lightning_digits

    options = {"n_hidden": 16, "batches": 12, "enable_progress_bar": False}
    assert lightning_digits.main(1, **options) > 0.25  # chance is 0.1

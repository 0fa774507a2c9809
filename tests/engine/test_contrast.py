"""Does a contrast make the preferred text likelier than the rejected one, and is its loss what it is said to be?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import softplus
from transformers import PreTrainedModel

from tests.engine.test_training import distance, run
from ttsi.config import OBJECTIVE_NAMES
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.loglikelihood import continuation_logprobs
from ttsi.engine.objective import CONTRAST_WEIGHT, OBJECTIVES, contrast_loss
from ttsi.engine.packing import EncodedExample
from ttsi.engine.training_job import Contrast, TrainingJob

CONFIG = EngineConfig(rank=4, alpha=8.0, lr=5e-3, epochs=5)
EXAMPLES: tuple[EncodedExample, ...] = (((1, 2, 3, 4, 5, 6), 4), ((1, 2, 3, 9, 8), 3))
PAIR: Contrast = ((5, 6), (5, 40))
JOB = TrainingJob(0, EXAMPLES, contrasts=(PAIR, None))


def logprobs(model: PreTrainedModel) -> tuple[float, float]:
    """Of the preferred and of the rejected text."""
    [[preferred, rejected]] = continuation_logprobs(model, [((1, 2, 3, 4), [list(text) for text in PAIR])])
    return preferred, rejected


@pytest.mark.parametrize("unadapted", [(), (2, 2)], ids=["all", "suffix"])
def test_the_first_loss_is_the_mean_of_both_terms(any_model: PreTrainedModel, unadapted: tuple[int, ...]) -> None:
    [plain], _ = run(any_model, [TrainingJob(0, EXAMPLES, unadapted)], CONFIG)
    [report], _ = run(any_model, [replace(JOB, unadapted=unadapted)], CONFIG)
    preferred, rejected = logprobs(any_model)
    term = float(softplus(torch.tensor(rejected - preferred)))
    assert report.losses[0] == pytest.approx(plain.losses[0] + CONTRAST_WEIGHT * term, rel=1e-4)
    assert plain.losses[0] > 0 < term, "control"


def test_the_margin_grows_more_than_by_cross_entropy_alone(model: PreTrainedModel) -> None:
    margins = []
    for contrasts in (((5, 6), (5, 40)), None), (None, None):
        _, stack = run(model, [replace(JOB, contrasts=contrasts)], CONFIG)
        stack.attach()
        with stack.bind([0]):
            preferred, rejected = logprobs(model)
        stack.detach()
        margins.append(preferred - rejected)
    before = logprobs(model)
    assert margins[0] > margins[1] > before[0] - before[1]


def test_an_adapter_alone_equals_among_others(model: PreTrainedModel) -> None:
    jobs = [JOB, TrainingJob(1, EXAMPLES), TrainingJob(2, EXAMPLES, contrasts=(None, ((9,), (10,))))]
    for config in (CONFIG, replace(CONFIG, batch_size=1)):
        reports, together = run(model, jobs, config)
        for job, report in zip(jobs, reports, strict=True):
            [single], alone = run(model, [job], config)
            assert single.losses == pytest.approx(report.losses, rel=1e-5)
            assert distance(alone.values_SP[job.slot], together.values_SP[job.slot]) < 1e-5


def test_the_loss_is_a_cross_entropy_of_two_texts() -> None:
    preferred_K, rejected_K = torch.tensor([-1.0, -4.0]), torch.tensor([-3.0, -2.0])
    shares_K = torch.stack([preferred_K, rejected_K]).softmax(dim=0)[0]
    assert contrast_loss(preferred_K, rejected_K) == pytest.approx(float(-shares_K.log().mean()))
    control = contrast_loss(rejected_K[:1], preferred_K[:1])
    assert control > contrast_loss(preferred_K[:1], rejected_K[:1])


def test_settings_and_engine_have_the_same_objectives() -> None:
    assert tuple(OBJECTIVES) == OBJECTIVE_NAMES

"""Do the promises of the engine hold outside the method: on any module, with a loss of one's own, in a few lines?"""

from __future__ import annotations

import copy
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ttsi.engine import (
    DecodingRow,
    EngineConfig,
    LoraStack,
    TrainingJob,
    TrainReport,
    attach,
    continuation_logprobs,
    cross_entropy,
    decode,
    train,
    train_with_loss,
)
from ttsi.engine import attachment as attachment_module
from ttsi.engine.checksum import weights_sha256
from ttsi.engine.optimizer import LossError
from ttsi.engine.schedule import learning_rates
from ttsi.errors import ConfigError, ModelError

ROOT = Path(__file__).parents[2]
SLOTS, STEPS = 3, 12
CONFIG = EngineConfig(rank=2, alpha=4.0, lr=1e-2, weight_decay=0.01, max_grad_norm=0.05, targets=("0", "2"))
EXAMPLES = (((1, 2, 3, 4, 5), 3), ((1, 2, 9, 9), 2))


def build_net() -> nn.Sequential:
    """Two layers, the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def data(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X, Y = data(SLOTS, 6, 4), data(SLOTS, 6, 2, seed=2)


def squared(net: nn.Module) -> Callable[[int], Tensor]:
    """The mean squared error of each slot on its own data."""
    return lambda step: ((net(X) - Y) ** 2).mean((1, 2))


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def trained(
    losses: Callable[[nn.Module], Callable[[int], Tensor]], config: EngineConfig = CONFIG
) -> tuple[list[TrainReport], Tensor]:
    net = build_net()
    with attach(net, SLOTS, config) as adapters:
        reports = train_with_loss(adapters, range(SLOTS), losses(net), config, steps=STEPS)
        return reports, adapters.values_SP.clone()


def with_peft(slot: int) -> tuple[list[float], dict[str, Tensor], dict[str, Any]]:
    """One slot's data the usual way: a PEFT model of its own, torch's AdamW and clipping."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    with attach(build_net(), SLOTS, CONFIG) as adapters:
        state, settings = adapters.export(slot)
    net: Any = get_peft_model(build_net(), LoraConfig(**{**settings, "inference_mode": False}))  # type: ignore[arg-type]
    set_peft_model_state_dict(net, state)
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=CONFIG.weight_decay)
    losses = []
    for rate in learning_rates(CONFIG, STEPS):
        optimizer.param_groups[0]["lr"] = rate
        loss = ((net(X[slot]) - Y[slot]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CONFIG.max_grad_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, get_peft_model_state_dict(net), net.peft_config["default"].to_dict()


def test_a_plain_module_learns_as_in_separate_peft_runs() -> None:
    reports, values_SP = trained(squared)
    assert all(report.losses[-1] < report.losses[0] and report.grad_norms[0] > 0.05 for report in reports)
    reader = LoraStack(build_net(), 1, CONFIG.rank, CONFIG.alpha, CONFIG.targets)
    for slot, report in enumerate(reports):
        losses, *adapter = with_peft(slot)
        assert report.ok and report.losses == pytest.approx(losses, rel=1e-5)
        reader.load(0, *adapter)
        assert distance(values_SP[slot], reader.values_SP[0]) < 1e-5


def test_control_a_loss_that_mixes_slots_is_another_training() -> None:
    def coupled(net: nn.Module) -> Callable[[int], Tensor]:
        return lambda step: ((net(X).mean(0, keepdim=True) - Y) ** 2).mean((1, 2))

    _, together = trained(squared)
    _, mixed = trained(coupled)
    assert distance(mixed, together) > 1e-3


def test_rows_per_adapter_and_single_vectors_give_the_same_adapters() -> None:
    def by_rows(net: nn.Module) -> Callable[[int], Tensor]:
        return lambda step: ((net(X.flatten(0, 1)) - Y.flatten(0, 1)) ** 2).unflatten(0, (SLOTS, -1)).mean((1, 2))

    _, together = trained(squared)
    net = build_net()
    with attach(net, SLOTS, CONFIG) as adapters:
        train_with_loss(adapters, range(SLOTS), by_rows(net), CONFIG, steps=STEPS, rows_per_adapter=X.shape[1])
        assert distance(adapters.values_SP, together) < 1e-5


def test_sequences_and_what_is_pooled_of_them_in_one_module() -> None:
    class Pooling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = build_net()[0], build_net()[2]

        def forward(self, x_BTD: Tensor) -> Tensor:
            pooled_BD: Tensor = self.second(self.first(x_BTD).tanh().mean(1))
            return pooled_BD

    net = Pooling()
    with attach(net, SLOTS, EngineConfig(rank=2)) as adapters:
        adapters.values_SP.normal_(generator=torch.Generator().manual_seed(3))
        with adapters.bind([0, 1, 2]), torch.no_grad():
            together = net(X)
        for slot in range(SLOTS):
            with adapters.bind([slot]), torch.no_grad():
                torch.testing.assert_close(net(X[slot : slot + 1])[0], together[slot])


def test_an_optimizer_of_ones_own() -> None:
    config = replace(CONFIG, max_grad_norm=0.0, schedule="constant", warmup_ratio=0.0)
    _, expected = trained(squared, config)
    net = build_net()
    with attach(net, SLOTS, config) as adapters:
        optimizer = torch.optim.AdamW(adapters.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        for step in range(STEPS):
            optimizer.zero_grad()
            with adapters.bind(range(SLOTS)):
                squared(net)(step).sum().backward()
            optimizer.step()
        assert distance(adapters.values_SP.detach(), expected) < 1e-5
        with adapters.bind([2, -1, 0]), torch.no_grad():
            mixed = net(X)
    with torch.no_grad():
        assert torch.equal(mixed[1], net(X)[1]) and not torch.allclose(mixed[0], net(X)[0])


def test_the_module_is_what_it_was_after_an_error_too() -> None:
    net = build_net()
    modules, digest = dict(net.named_modules()), weights_sha256(net)
    with pytest.raises(KeyboardInterrupt), attach(net, 2, CONFIG) as adapters:
        assert not any(parameter.requires_grad for parameter in net.parameters())
        raise KeyboardInterrupt
    assert dict(net.named_modules()) == modules and weights_sha256(net) == digest
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not adapters.values_SP.any()


def test_a_broken_slot_disturbs_no_other() -> None:
    def broken(net: nn.Module) -> Callable[[int], Tensor]:
        return lambda step: squared(net)(step) * torch.tensor([1.0, torch.inf if step == 3 else 1.0, 1.0])

    reports, values_SP = trained(broken)
    _, expected = trained(squared)
    assert [report.reason for report in reports] == ["", "non-finite loss at step 4", ""]
    assert torch.equal(values_SP[[0, 2]], expected[[0, 2]])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_saved_folder_is_what_peft_loads(tmp_path: Path, model: PreTrainedModel) -> None:
    from peft import PeftModel

    net = build_net()
    with attach(net, 2, CONFIG) as adapters:
        train_with_loss(adapters, [1], lambda step: ((net(X[:1]) - Y[:1]) ** 2).mean((1, 2)), CONFIG, steps=3)
        folder = adapters.save(1, tmp_path / "net")
        with adapters.bind([1]), torch.no_grad():
            ours = net(X[:1])
    loaded: Any = PeftModel.from_pretrained(copy.deepcopy(net), folder)  # type: ignore[arg-type]
    torch.testing.assert_close(loaded(X[:1]), ours)
    ids_BT = torch.tensor([[1, 2, 3, 4]])
    with attach(model, 1, EngineConfig(lr=1e-2)) as adapters:
        train(adapters, [TrainingJob(0, EXAMPLES)], EngineConfig(lr=1e-2))
        folder = adapters.save(0, tmp_path / "model")
        with adapters.bind([0]), torch.no_grad():
            ours = model(input_ids=ids_BT).logits
    loaded = PeftModel.from_pretrained(model, folder)
    torch.testing.assert_close(loaded(input_ids=ids_BT).logits, ours, rtol=1e-5, atol=1e-5)


def test_seeds_decide_and_are_counted() -> None:
    with attach(build_net(), 2, CONFIG, seeds=[7, 7]) as adapters:
        assert torch.equal(adapters.values_SP[0], adapters.values_SP[1]) and adapters.values_SP.any()
    with pytest.raises(ValueError, match="2 slots, but 1 seeds"), attach(build_net(), 2, CONFIG, seeds=[7]):
        pass


def test_faults_are_named() -> None:
    with pytest.raises(ModelError, match="Tanh is not supported: it has no linear layer"), attach(nn.Tanh(), 1):
        pass
    with (
        pytest.raises(ModelError, match="Sequential has no linear layer named q_proj; choose among 0, 2"),
        attach(build_net(), 1, replace(CONFIG, targets=("q_proj",))),
    ):
        pass
    net = build_net()
    with attach(net, 2, CONFIG) as adapters:
        uses: list[Callable[[], object]] = [
            lambda: adapters.export(2),
            lambda: adapters.save(2, Path("nowhere")),
            lambda: adapters.load(2, {}, {}),
            lambda: adapters.reset([2], [0]),
            lambda: adapters.bind([2]).__enter__(),
            lambda: train_with_loss(adapters, [2], squared(net), CONFIG, steps=1),
        ]
        for use in uses:
            with pytest.raises(ModelError, match="there is no slot 2: there are 2, 0 to 1"):
                use()
        with pytest.raises(ModelError, match="no causal language model: train it with `train_with_loss`"):
            train(adapters, [TrainingJob(0, EXAMPLES)], CONFIG)
        with pytest.raises(ModelError, match="carries adapters already"), attach(net, 1, CONFIG):
            pass
        with pytest.raises(ModelError, match="keep batch rows apart: 2 rows are bound"), adapters.bind([0, 1]):
            net(X)
        with pytest.raises(ValueError, match="one loss per slot is wanted, 2 in all"):
            train_with_loss(adapters, [0, 1], lambda step: net(X[:2]).mean(), CONFIG, steps=1)
        with pytest.raises(LossError, match="2 in all, not float"):
            train_with_loss(adapters, [0, 1], lambda step: 1.0, CONFIG, steps=1)  # type: ignore[arg-type, return-value]
        with pytest.raises(LossError, match="does not depend on the adapters"):
            train_with_loss(adapters, [0, 1], lambda step: torch.zeros(2), CONFIG, steps=1)
        unrelated = nn.Linear(4, 1)  # a second net, which nobody attached adapters to
        with pytest.raises(LossError, match="does not depend on the adapters"):
            train_with_loss(adapters, [0, 1], lambda step: unrelated(X[:2]).mean((1, 2)), CONFIG, steps=1)
        with pytest.raises(ModelError, match="slot 1 stands twice"):
            train_with_loss(adapters, [1, 1], squared(net), CONFIG, steps=1)
    with pytest.raises(ModelError, match="not attached"), adapters.bind([0]):
        pass
    with pytest.raises(ModelError, match="not attached"):
        train_with_loss(adapters, [0], squared(net), CONFIG, steps=1)


def test_slots_of_a_language_model_are_checked_too(model: PreTrainedModel) -> None:
    with attach(model, 2) as adapters:
        with pytest.raises(ModelError, match="there is no slot 2"):
            train(adapters, [TrainingJob(2, EXAMPLES)], CONFIG)
        with pytest.raises(ModelError, match="there is no slot 5"):
            decode(model, [DecodingRow((1, 2), 2, slot=5)], stack=adapters)


def test_tokens_that_the_model_does_not_know_are_named(model: PreTrainedModel) -> None:
    """On a GPU the first such token would make the device unusable for the rest of the process."""
    known = model.get_input_embeddings().num_embeddings  # type: ignore[union-attr]
    message = f"there is no token {known}: the model reads 0 to {known - 1}"
    with attach(model, 2) as adapters:
        jobs = [TrainingJob(0, (((1, 2, known), 2),)), TrainingJob(1, (((1, 2, known - 1), 2),))]
        wrong, control = train(adapters, jobs, EngineConfig())
        assert (wrong.ok, wrong.reason) == (False, message)
        assert control.ok and control.losses
    assert decode(model, [DecodingRow((known - 1,), 1)])  # control
    assert continuation_logprobs(model, [((known - 1,), [(1,), ()])])
    with pytest.raises(ModelError, match=message):
        decode(model, [DecodingRow((1,), 1), DecodingRow((1, known), 1)])
    with pytest.raises(ModelError, match="there is no token -1"):
        continuation_logprobs(model, [((1, -1), [(1,)])])
    with pytest.raises(ModelError, match=message):
        continuation_logprobs(model, [((1,), [(known,)])])
    for use in (lambda: decode(model, [DecodingRow((), 1)]), lambda: continuation_logprobs(model, [((), [(1,)])])):
        with pytest.raises(ModelError, match="a prompt needs at least one token"):
            use()


def test_attach_checks_the_architecture_and_its_limit(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachment_module, "check_architecture", lambda model: 4)
    with attach(model, 1) as adapters:
        [report] = train(adapters, [TrainingJob(0, EXAMPLES)], EngineConfig())
        assert "longer than the 4 tokens" in report.reason
        with pytest.raises(ModelError, match="exact up to 4 tokens"):
            decode(model, [DecodingRow((1, 2, 3), 2, slot=0)], stack=adapters)
        assert len(decode(model, [DecodingRow((1, 2, 3), 1, slot=0)], stack=adapters)[0].ids) == 1  # control


def test_layers_whose_weight_is_read_past_them_get_no_adapter() -> None:
    stack = LoraStack(nn.TransformerEncoderLayer(8, 2, 16), 1, 2, 4.0)
    assert stack.names == ["linear1", "linear2"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"rank": 0}, "rank"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"schedule": "cosign"}, "cosign"),
        ({"warmup_ratio": 2.0}, "warmup_ratio"),
        ({"rank": 1.5}, "rank"),
        ({"lr": -1e-3}, "lr"),
        ({"lr": float("inf")}, "lr"),
        ({"alpha": float("nan")}, "alpha"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"max_grad_norm": -1.0}, "max_grad_norm"),
        ({"max_loss_rise": float("nan")}, "max_loss_rise"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        EngineConfig(**settings)


def test_control_the_bounds_themselves_are_settings() -> None:
    EngineConfig(rank=1, epochs=1, alpha=0, lr=0, weight_decay=0, max_grad_norm=0, max_loss_rise=float("inf"))


@pytest.mark.parametrize("slots", [0, -1])
def test_attach_needs_a_slot(slots: int) -> None:
    with pytest.raises(ConfigError, match=f"slots must be at least 1, not {slots}"), attach(build_net(), slots, CONFIG):
        pass


def test_nothing_to_train_is_named() -> None:
    net = build_net()
    with attach(net, SLOTS, CONFIG) as adapters:
        for slots, steps in ((range(SLOTS), 0), (range(SLOTS), -1), ((), 1)):
            with pytest.raises(ConfigError, match="steps must be at least 1 and slots must not be empty"):
                train_with_loss(adapters, slots, squared(net), CONFIG, steps=steps)
        with pytest.raises(ConfigError, match="the config has rank 3, and these adapters were attached with rank 2"):
            train_with_loss(adapters, range(SLOTS), squared(net), replace(CONFIG, rank=3), steps=1)
        assert len(train_with_loss(adapters, range(SLOTS), squared(net), CONFIG, steps=1)) == SLOTS  # control


def test_inference_mode_is_named() -> None:
    net = build_net()
    with (
        torch.inference_mode(),
        attach(net, SLOTS, CONFIG) as adapters,
        pytest.raises(ModelError, match=r"torch\.inference_mode"),
    ):
        train_with_loss(adapters, range(SLOTS), squared(net), CONFIG, steps=1)
    with torch.no_grad(), attach(net, SLOTS, CONFIG) as adapters:  # control
        assert train_with_loss(adapters, range(SLOTS), squared(net), CONFIG, steps=1)[0].ok


def test_an_adapter_is_saved_within_its_block_or_not_at_all(tmp_path: Path) -> None:
    with attach(build_net(), 1, CONFIG) as adapters:
        adapters.save(0, tmp_path / "within")  # control
    for write in (lambda: adapters.save(0, tmp_path / "after"), lambda: adapters.export(0)):
        with pytest.raises(ModelError, match="no longer attached"):
            write()
    assert (tmp_path / "within").exists() and not (tmp_path / "after").exists()


def test_the_default_objective_is_the_mean_to_the_bit() -> None:
    counts = (5, 1, 3)
    parts = [data(count, seed=count).requires_grad_() for count in counts]
    padded_BT = nn.utils.rnn.pad_sequence(parts, batch_first=True)
    losses_B = cross_entropy(padded_BT, torch.arange(5) < torch.tensor(counts)[:, None])
    assert torch.equal(losses_B, torch.stack([-part.mean() for part in parts]))
    for one, other in zip(
        torch.autograd.grad(losses_B.sum(), parts),
        torch.autograd.grad(sum(-part.mean() for part in parts), parts),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_an_objective_of_ones_own_is_trained(model: PreTrainedModel) -> None:
    def worst_token(logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return -logprobs_BT.masked_fill(~mask_BT, 0.0).amin(dim=1)

    config = EngineConfig(lr=1e-2, epochs=3)
    with attach(model, 2, config) as adapters:
        jobs = [TrainingJob(0, EXAMPLES), TrainingJob(1, EXAMPLES[:1])]
        [worst, _] = train(adapters, jobs, replace(config, objective=worst_token))
        adapters.reset([0, 1], [0, 1])
        [mean, _] = train(adapters, jobs, config)
    assert worst.ok and worst.losses[0] > mean.losses[0] and worst.losses[-1] < worst.losses[0]


def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "engine.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        names: dict[str, Any] = {}
        exec(compile(block, "docs/engine.md", "exec"), names)
        assert all(report.ok and report.losses[-1] < report.losses[0] for report in names["reports"])
    assert (tmp_path / "adapter-3" / "adapter_model.safetensors").is_file()


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(ROOT / "examples" / "many_adapters.py"))["main"]
    figures = main(["--adapters", "4", "--epochs", "8"])
    assert figures["loss after"] < 0.1 * figures["loss before"]
    assert figures["largest difference from one by one"] < 1e-4
    assert figures["completed as learned"] > 0.5  # without adapters all four would complete alike
    assert "one by one takes as long" in capsys.readouterr().out

"""Generation against the model's own distribution, padding, stops, and the tasks' judgements."""

import numpy as np
import pytest
import torch
import transformers
from scipy import stats

from entclip import SpecError
from entclip.engines.llm.language import Language, load_language
from entclip.engines.llm.precision import arithmetic
from entclip.engines.llm.sampling import generate, grouped_log_probs, pad_prompts, response_log_probs
from entclip.engines.llm.task import Digits, Question, Sums, task_named


@pytest.fixture(scope="module")
def language():
    return load_language("untrained", "cpu", "float64")


def test_first_tokens_follow_the_policy(language):
    n = 4000
    with arithmetic("float64", "cpu"):
        made = generate(language, pad_prompts(language, ["12+34="] * n, 1), new_tokens=1, temperature=0.4, seed=3)
        probs = response_log_probs(language.model, made[:1], 0.4, torch.float64, full=True)[0, 0].detach().exp().numpy()
    counts = np.bincount(made.ids[:, -1].numpy(), minlength=64)
    often = probs * n >= 5  # chi-square needs counts; the rest is one class
    assert not often.all()
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(probs[often], probs[~often].sum()) * n
    assert stats.chisquare(observed, expected).pvalue > 1e-6


def test_a_seed_names_its_samples(language):
    prompts = pad_prompts(language, ["1+2=", "12+34="], 6)
    first, second, other = (generate(language, prompts, new_tokens=6, temperature=1.0, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.ids, second.ids)
    assert not torch.equal(first.ids, other.ids[:, : first.ids.shape[1]])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_padding_changes_no_distribution(dtype, tolerance):
    language = load_language("untrained", "cpu", dtype)
    precision = getattr(torch, dtype)
    with arithmetic(dtype, "cpu"), torch.no_grad():
        made = generate(language, pad_prompts(language, ["1+2=", "123456+345678="], 6), new_tokens=6, temperature=1.0, seed=5)
        together = response_log_probs(language.model, made, 1.0, precision)
        short = made[:1]
        pad = int((short.attention[0, : -made.length] == 0).sum())
        alone = type(made)(short.ids[:, pad:], short.attention[:, pad:], short.mask)
        separate = response_log_probs(language.model, alone, 1.0, precision)
    assert pad > 0
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together[:1], separate, rtol=0, atol=tolerance)


def test_a_response_ends_with_its_stop_token_and_is_never_empty(language):
    made = generate(language, pad_prompts(language, ["1+2="] * 200, 6), new_tokens=6, temperature=3.0, seed=7)
    (stop,) = language.stop
    for ids, mask in zip(made.ids[:, -made.length :].tolist(), made.mask.tolist(), strict=True):
        length = sum(mask)
        assert mask == [True] * length + [False] * (made.length - length)
        assert length >= 1
        assert stop not in ids[: length - 1]
        assert length == made.length or ids[length - 1] == stop
    assert (made.mask.sum(-1) < made.length).any()


def test_float64_is_float64_all_the_way():
    double, single = (load_language("untrained", "cpu", d) for d in ("float64", "float32"))
    prompts = pad_prompts(double, ["12+34="], 6)
    made = generate(double, prompts, new_tokens=6, temperature=1.0, seed=1)
    with torch.no_grad():
        with arithmetic("float64", "cpu"):
            whole = response_log_probs(double.model, made, 1.0, torch.float64)
        mixed = response_log_probs(double.model, made, 1.0, torch.float64)
        rough = response_log_probs(single.model, made, 1.0, torch.float32)
    assert whole.dtype == torch.float64
    assert 1e-10 < float((whole - mixed).abs().max()) < 1e-5  # transformers' norms and softmax in float32
    assert float((whole - rough.double()).abs().max()) < 1e-4


def test_in_float64_positions_multiply_frequencies():
    frequency, position = torch.tensor([[1.0], [1e-4]], dtype=torch.float64), torch.arange(3)[None]
    with arithmetic("float64", "cpu"):
        # transformers 5.17's rotary embedding; "@" takes one dtype.
        angles = frequency.to(dtype=torch.float, device="cpu") @ position.float()
    assert angles.dtype == torch.float64
    assert torch.equal(angles, frequency * position)


def test_logits_stay_in_float32_under_bfloat16():
    single, half = (load_language("untrained", "cpu", d).model for d in ("float32", "bfloat16"))
    hidden = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    with arithmetic("bfloat16", "cpu"):
        logits = half.lm_head(hidden)
        assert half(input_ids=torch.ones(1, 3, dtype=torch.int64)).logits.dtype == torch.float32
    assert torch.equal(logits, single.lm_head(hidden))


def test_padding_with_a_sliding_window():
    config = transformers.MistralConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        sliding_window=12,
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.MistralForCausalLM(config).eval()
    words = Language(model, lambda text: [int(c) + 3 for c in text], str, frozenset(), 0, 64)
    with pytest.raises(SpecError, match="attends to the last 12 tokens only"):
        pad_prompts(words, ["12", "12345678"], 5)
    for texts, new in ((["12", "12345678"], 4), (["1234", "5678"], 20)):
        made = generate(words, pad_prompts(words, texts, new), new_tokens=new, temperature=1.0, seed=1)
        ids = made.ids[:1, int((made.attention[0] == 0).sum()) :]
        with torch.no_grad():
            found = response_log_probs(model, made, 1.0, torch.float32)[0]
            alone = torch.log_softmax(model(input_ids=ids).logits, -1)[0, -new - 1 : -1].gather(-1, ids[0, -new:, None])[:, 0]
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)


def test_prompts_must_fit(language):
    with pytest.raises(SpecError, match="over the model's 64"):
        pad_prompts(language, ["1" * 60], 6)
    with pytest.raises(SpecError, match="no token"):
        pad_prompts(language, [""], 6)


def test_digits():
    task = Digits()
    questions = task.ask(np.random.default_rng(0), 50)
    for q in questions:
        a, b = q.text[:-1].split("+")
        assert q.answer == "#" + "".join(str((int(x) + int(y)) % 10) for x, y in zip(a, b, strict=True)) + ";"
        assert task.correct(q, q.answer) == task.well_formed(q, q.answer) == 1
    assert task.correct(questions[0], "#0000;") == 0
    assert task.well_formed(questions[0], "#0000;") == 1
    assert task.well_formed(questions[0], "#00;") == task.well_formed(questions[0], "0000;") == 0


def test_sums():
    task = Sums()
    (q,) = task.ask(np.random.default_rng(1), 1)
    a, b = (int(x) for x in q.text.removeprefix("What is ").split("?")[0].split(" + "))
    assert q.answer == a + b
    assert task.correct(Question("", 42), "The answer is 42.") == 1
    assert task.correct(Question("", 42), "42 or 43") == task.correct(Question("", 42), "none") == 0
    assert task.well_formed(q, " 42.") == 1
    assert task.well_formed(q, "It is 42") == 0


def test_tasks_by_name():
    assert isinstance(task_named("digits"), Digits)
    for name in ("arithmetic", "reasoning_gym:", ""):
        with pytest.raises(SpecError, match=r"choose digits, sums, small_sums, or reasoning_gym"):
            task_named(name)


def test_reasoning_gym_where_it_is_installed():
    pytest.importorskip("reasoning_gym")
    task = task_named("reasoning_gym:chain_sum")
    for question in task.ask(np.random.default_rng(0), 3):
        assert task.correct(question, question.answer["answer"]) == 1
        assert task.correct(question, "no number") == 0
        assert task.well_formed(question, " ") == 0
    with pytest.raises(SpecError, match=r"reasoning_gym:no_such_task"):
        task_named("reasoning_gym:no_such_task")


@pytest.mark.parametrize("rows", [slice(0, 12), slice(2, 7), slice(0, 1)])
def test_grouped_log_probs_and_their_gradient_are_those_of_whole_rows(language, rows):
    """Groups of unequal size and prompts of unequal length, in float64: only the order of sums differs."""
    texts = ["1234+5678="] * 5 + ["12+34="] * 4 + ["1234+5678="] * 3
    with arithmetic("float64", "cpu"):
        made = generate(language, pad_prompts(language, texts, 6), new_tokens=6, temperature=1.0, seed=3)[rows]
        whole, grouped = (each(language.model, made, 0.7, torch.float64) for each in (response_log_probs, grouped_log_probs))
        place = torch.arange(whole.numel()).reshape(whole.shape)
        slopes = [torch.autograd.grad((x * place).sum(), list(language.model.parameters())) for x in (whole, grouped)]
    assert bool((whole != 0).any())
    torch.testing.assert_close(grouped, whole, rtol=0, atol=1e-12)
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-10)

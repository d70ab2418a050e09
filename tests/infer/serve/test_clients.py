"""Clients that are not this project's, run as they are: lm-eval, litellm and LangChain.

They bring much with them, so another Python may have them: CHARLM_CLIENTS names it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from charlm.infer.generator import Generator
from tests.infer.serve.conftest import Process

PYTHON = os.environ.get("CHARLM_CLIENTS", sys.executable)
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
LITELLM = """
import json, sys, litellm
asked = {"model": "text-completion-openai/exact", "api_base": sys.argv[1], "api_key": "none",
         "prompt": "the ", "max_tokens": 60, "seed": 1, "temperature": 0.7}
stream = litellm.text_completion(**asked, stream=True, stream_options={"include_usage": True})
judged = litellm.text_completion(**{**asked, "max_tokens": 0}, echo=True, logprobs=2)
print(json.dumps({
    "text": litellm.text_completion(**asked).choices[0].text,
    "streamed": "".join(part.choices[0].text or "" for part in stream if part.choices),
    "several": [each.text for each in litellm.text_completion(**asked, n=2).choices],
    "judged": judged.choices[0].logprobs.token_logprobs,
}))
"""
LANGCHAIN = """
import json, sys
from langchain_openai import OpenAI
asked = {"model": "exact", "base_url": sys.argv[1], "api_key": "none", "max_tokens": 60, "seed": 1,
         "temperature": 0.7}
model = OpenAI(**asked)
print(json.dumps({
    "text": model.invoke("the "),
    "streamed": "".join(model.stream("the ")),
    "several": [each.text for each in OpenAI(**asked, n=2).generate(["the "]).generations[0]],
}))
"""
LM_EVAL = """
import json, sys, lm_eval
address, *tasks = sys.argv[1:]
found = lm_eval.simple_evaluate(
    "local-completions", f"base_url={address},model=exact,max_length=100000", tasks, batch_size=2,
    task_manager=lm_eval.tasks.TaskManager(include_path=".", include_defaults=False),
)
print(json.dumps({task: [each["filtered_resps"][0] for each in samples]
                  for task, samples in found["samples"].items()}))
"""
TASK = """
task: {kind}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{context}"
doc_to_target: "{target}"
target_delimiter: ""
metric_list: [{{metric: {metric}}}]
"""


def python(folder: Path, package: str, *arguments: str) -> str:
    """What the Python of the clients prints."""
    there = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    if subprocess.run([PYTHON, "-c", there], check=False).returncode:
        pytest.skip(f"{package} is not installed: CHARLM_CLIENTS names a Python that has it")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [PYTHON, *arguments], capture_output=True, text=True, check=False, cwd=folder,
        env={**kept, **OFFLINE, "HF_HOME": str(folder / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("package", "script"), [("litellm", LITELLM), ("langchain_openai", LANGCHAIN)]
)
def test_completion_clients(
    live: Process, exact: Generator, tmp_path: Path, package: str, script: str
) -> None:
    found = json.loads(python(tmp_path, package, "-c", script, f"{live.url}/v1"))
    asked: dict[str, Any] = {"length": 60, "seed": 1, "temperature": 0.7}
    first, second = (exact.text("the ", **asked, sample=place) for place in range(2))
    assert (found["text"], found["streamed"], found["several"]) == (first, first, [first, second])
    if "judged" in found:
        wanted = exact.log_probabilities("the ")[1:].tolist()
        assert found["judged"] == [None, *(pytest.approx(each, abs=1e-4) for each in wanted)]


def test_lm_eval(live: Process, exact: Generator, tmp_path: Path) -> None:
    """Its log-likelihoods after a context, after none, and of whole texts are the model's."""
    likely = exact.text("the old", length=3, temperature=0)
    rows = [("the old", " house on the hill"), ("the old", likely), ("", "a lamp")]
    lines = [json.dumps({"context": context, "more": more}) for context, more in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    tasks = {
        "loglikelihood": ("{{context}}", "{{more}}", "acc"),
        "loglikelihood_rolling": ("", "{{context}}{{more}}", "bits_per_byte"),
    }
    for kind, (context, target, metric) in tasks.items():
        task = TASK.format(kind=kind, rows=tmp_path / "rows.jsonl", context=context,
                           target=target, metric=metric)  # fmt: skip
        (tmp_path / f"{kind}.yaml").write_text(task)
    address = f"{live.url}/v1/completions"
    said = python(tmp_path, "lm_eval", "-c", LM_EVAL, address, *tasks)
    found = json.loads(said.splitlines()[-1])
    for place, (context, more) in enumerate(rows):
        wanted = exact.log_probabilities(context + more)
        after, greedy = found["loglikelihood"][place]
        assert float(after) == pytest.approx(wanted[len(context) :].sum(), abs=1e-3)
        assert greedy == (more == likely)
        rolling = float(found["loglikelihood_rolling"][place])
        assert rolling == pytest.approx(wanted.sum(), abs=1e-3)

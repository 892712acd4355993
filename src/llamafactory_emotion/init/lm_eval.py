"""Write a task as lm-evaluation-harness asks it: our prompt, one continuation a label."""

import json
import re

import yaml

from llamafactory_emotion.task import ANSWER_CUE, ANSWER_PREFIX, Task


def lm_eval_recipe(task: Task, data: str) -> str:
    """Return the YAML of a multiple-choice task for the harness.

    Args:
        task: Its instruction is the prompt; its answer words are the choices.
        data: JSON Lines to test on: rows with `text` and `label`, or as `prepare` writes them.
    """
    # Braces of its own would be read as Jinja's.
    braces = "{%" in task.instruction or "{{" in task.instruction
    instruction = f"{{% raw %}}{task.instruction}{{% endraw %}}" if braces else task.instruction
    gold = "label | default(output)"
    words = json.dumps(dict(task.words), ensure_ascii=False)
    content = {
        "task": "llamafactory_" + re.sub(r"\W+", "_", task.name),
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": data}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "num_fewshot": 0,
        "doc_to_text": f"{instruction}\n{{{{ text | default(input) }}}}{ANSWER_CUE}",
        "doc_to_choice": [task.word_of(label) for label in task.labels],
        "doc_to_target": f"{{{{ {words}.get({gold}, {gold}) }}}}"
        if task.words
        else f"{{{{ {gold} }}}}",
        "target_delimiter": ANSWER_PREFIX,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text

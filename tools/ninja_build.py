"""What a build folder's ninja files tell: which steps there are, and how long each took when it last ran."""
import re
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    outputs: list  # relative to the build folder, like the inputs
    inputs: list  # explicit and implicit; what only has to exist before is left out
    variables: dict  # description and the like, as build.ninja spells them, the rule's included


def words(text):
    return [re.sub(r"\$(.)", r"\1", word) for word in re.findall(r"(?:\$.|[^\s$])+", text)]


def steps(folder):
    """Every build statement of folder/build.ninja, in its order. Empty where there is none."""
    found, rules, variables = [], {}, {}
    ninja = Path(folder, "build.ninja")
    for line in ninja.read_text().splitlines() if ninja.exists() else []:
        if line.startswith("build "):
            outputs, rest = re.split(r"(?<!\$):", line[len("build "):], maxsplit=1)
            rule, *inputs = words(rest.split(" || ")[0])
            variables = dict(rules.get(rule, {}))
            outputs, inputs = ([word for word in part if word != "|"] for part in (words(outputs), inputs))
            found.append(Step(outputs, inputs, variables))
        elif line.startswith("rule "):
            variables = rules.setdefault(line.split()[1], {})
        elif line.startswith(" "):
            name, _, value = line.strip().partition(" = ")
            variables[name] = value
    return found


def description(step):
    """What ninja prints when it runs the step."""
    text = step.variables.get("description", "").replace("$DESC", step.variables.get("DESC", ""))
    return re.sub(r"\$(.)", r"\1", text.replace("$out", " ".join(step.outputs)))


def durations(folder):
    """Seconds that each output took when it was last made, from ninja's log."""
    log = Path(folder, ".ninja_log")
    seconds = {}
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        parts = line.split("\t")
        if len(parts) == 5:
            seconds[parts[3]] = (int(parts[1]) - int(parts[0])) / 1000
    return seconds

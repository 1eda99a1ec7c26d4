"""A here-document is data of the command that it is fed to: which commands make a run of it, and which do not."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import lint, read_config
from entclip.integrations.lint.values import Unresolved

RUN = "trl grpo --epsilon 0.1 --num_iterations 3"
FLAGS = "--epsilon 0.1 --num_iterations 3"
TABLE = "epsilon: 0.1\nnum_iterations: 3\n"
PYTHON = "from trl import GRPOConfig\nGRPOConfig(epsilon=0.1, num_iterations=3)\n"
JOB = f"kind: Job\nspec:\n  containers:\n  - command: [bash, -c, {RUN!r}]\n"


def _config(script):
    return read_config(f"#!/bin/bash\n{script}\n")


def _read(script):
    got = lint(_config(script))
    assert got.config.library.name == "trl"
    return got.config.low.value, got.config.updates.count


@pytest.mark.parametrize(
    "script",
    [
        # What `read` and its like assign: ends of lines separate words where the variable is not quoted.
        "read -r -d '' O <<EOF\n --epsilon 0.1\n --num_iterations 3\nEOF\ntrl grpo $O",
        "read -r -d '' O <<EOF || true\n --epsilon 0.1\n --num_iterations 3\nEOF\ntrl grpo $O",
        f"IFS= read -rd '' O <<-'E O'\n\t{FLAGS}\n\tE O\ntrl grpo $O",
        "read -d '' O <<EOF\n--epsilon 0.1 \\\n--num_iterations 3\nEOF\ntrl grpo $O",
        f"read O <<EOF\n{FLAGS}\n--epsilon 0.9\nEOF\ntrl grpo $O",
        "read -r A B <<< '0.1 3'\ntrl grpo --epsilon $A --num_iterations $B",
        "IFS=, read -r A B <<< '0.1,3'\ntrl grpo --epsilon $A --num_iterations $B",
        f'set -- {FLAGS}\ntrl grpo "$@"',
        f'RUN="{RUN}"\necho "$RUN"\neval "$RUN"',
        "read -r -a O <<EOF\n--epsilon 0.1 --num_iterations 3\nEOF\ntrl grpo ${O[@]}",
        'mapfile -t O <<EOF\n--epsilon=0.1\n--num_iterations=3\nEOF\ntrl grpo "${O[@]}"',
        "O=$(cat <<EOF\n--epsilon 0.1\n--num_iterations 3\nEOF\n)\ntrl grpo $O",
        "trl grpo $(cat <<'EOF'\n--epsilon 0.1\n--num_iterations 3\nEOF\n)",
        f"cat > o.txt <<EOF\n{FLAGS}\nEOF\ntrl grpo $(< o.txt)",
        f"echo '{FLAGS}' > o.txt\nxargs trl grpo < o.txt",
        # What runs its input.
        f"bash <<EOF\n{RUN}\nEOF",
        f"bash -x -o pipefail <<-EOF\n\t{RUN}\n\tEOF\necho done",
        f"E=0.1; bash -s <<EOF && echo done\n{RUN.replace('0.1', '$E')}\nEOF",
        f"bash -s -- 0.1 <<'EOF'\n{RUN.replace('0.1', '$1')}\nEOF",
        f"ssh -p 22 me@node <<EOF\ncd /w\n{RUN}\nEOF",
        f"ssh node 'bash -s' <<EOF\n{RUN}\nEOF",
        f"sbatch -N 2 <<EOF\n#!/bin/bash\n{RUN}\nEOF",
        f"docker exec -i box bash <<EOF\n{RUN}\nEOF",
        f"cat <<EOF | bash\nls\nEOF\ncat <<EOF | ssh node bash -s\n{RUN}\nEOF",
        f"echo '{RUN}' | sh",
        f"bash <<< '{RUN}'",
        f"bash <<A <<B\ntrl grpo --epsilon 0.9\nA\n{RUN}\nB",
        f"kubectl apply -f - <<EOF\n{JOB}EOF",
        # What is written and then started.
        f"cat > run.sh <<EOF\n{RUN}\nEOF\nbash run.sh",
        f"cat <<EOF > /w/run.sh\n{RUN}\nEOF\nchmod +x /w/run.sh && /w/run.sh > log 2>&1 &",
        f"sudo tee run.sh <<EOF > /dev/null\n{RUN}\nEOF\nsbatch -p gpu --nodes 4 $DIR/run.sh",
        f"cat <<EOF | tee run.sh\n{RUN}\nEOF\ncp run.sh job.sh\nssh node bash job.sh",
        "cat > run.sh <<'EOF'\nE=0.1\nEOF\ncat >> run.sh <<'EOF'\ntrl grpo --epsilon $E --num_iterations $1\nEOF\nbash run.sh 3",
        "echo 'E=0.1' > env.sh\nN=2\nsource env.sh\ntrl grpo --epsilon $E --num_iterations $((N + 1))",
        f"{{ echo '#!/bin/bash'; echo '{RUN}'; }} > run.sh\nqsub run.sh",
        f"cat > a.txt <<A && cat > run.sh <<B && bash run.sh\ntrl grpo --epsilon 0.9\nA\n{RUN}\nB",
        f"cat > job.yaml <<EOF\n{JOB}EOF\nkubectl create -f job.yaml",
        "cat > j.sh <<EOF\nE=0.1\ntrl grpo --epsilon \\$E --num_iterations 3\nEOF\nbash j.sh",
        # What is written and then given as the configuration.
        f"cat > c.yaml <<EOF\n{TABLE}EOF\ntrl grpo --config c.yaml",
        f"cat > c.yaml <<EOF\n{TABLE.replace('0.1', '0.9')}EOF\ntrl grpo --config=./c.yaml --epsilon 0.1",
        f"cat > a.yaml <<A; cat > c.yaml <<B\nepsilon: 0.9\nA\n{TABLE}B\nx --config_file a.yaml t.py --config c.yaml",
        f"cat > $JOB.yaml <<EOF\n{TABLE}EOF\ntrl grpo --config $JOB.yaml",
        f"cat > args <<EOF\n{FLAGS}\nEOF\ntrl grpo @args",
        f'cat > ds.json <<EOF\n{{"epsilon": 0.9}}\nEOF\n{RUN} --deepspeed ds.json',
        f'log() {{ echo "+ $*" | tee -a log; }}\nlog {RUN}\n{RUN}',
        f'run() {{ echo "+ $*"; "$@"; }}\nrun {RUN}',
        f"{RUN}\nexit 0\ntrl grpo --epsilon 0.9",
        f"exec {RUN}\ntrl grpo --epsilon 0.9",
        f"exec > log 2>&1\n( exit 1 )\nif a; then exit 1; fi\nhelp() {{ exit 1; }}\n{RUN}",
        f"if false; then\ntrl grpo --epsilon 0.9\nfi\n{RUN}",
        f"bash <<EOF\nexit 0\nEOF\n{RUN}",
        # Python.
        f"python3 - <<'EOF'\n{PYTHON}EOF",
        f"E=0.1; python -u <<EOF > log\n{PYTHON.replace('0.1', '$E')}EOF",
        f"cat > t.py <<EOF\n{PYTHON}EOF\ntorchrun --nproc_per_node 8 t.py",
        f"python - <<EOF\nimport json\nprint(json.dumps({{}}))\nEOF\n{RUN}",
    ],
)
def test_a_run_is_what_the_script_has_run(script):
    assert _read(script) == (0.1, 3)


@pytest.mark.parametrize(
    "script",
    [
        f"cat > notes.md <<EOF\n{RUN}\nEOF",
        f"cat <<EOF\nusage: {RUN}\n{RUN}\nEOF\nexit 1",
        f": <<'COMMENT'\n{RUN}\nCOMMENT\nls",
        f"bash other.sh <<EOF\n{RUN}\nEOF",
        f"bash -c 'ls' <<EOF\n{RUN}\nEOF",
        f"ssh node 'cat > note' <<EOF\n{RUN}\nEOF",
        f"python other.py <<EOF\n{PYTHON}EOF",
        f"git commit -F - <<EOF\n{RUN}\nEOF",
        f"while read line; do echo $line; done <<EOF\n{RUN}\nEOF",
        f"echo '{RUN}'",
        f"printf '%s\\n' '{RUN}' >> history.txt",
        f"grep -c '{RUN}' log",
        f"cat > run.txt <<EOF\n{RUN}\nEOF\nrm run.txt",
        f"if a; then\ncat > run.sh <<EOF\n{RUN}\nEOF\nelse\necho 'trl grpo --epsilon 0.3' > run.sh\nfi\nbash run.sh",
        f"cat > c.yaml <<EOF\n{TABLE}EOF\nls c.yaml",
        f"cat > run.sh <<EOF\n{RUN}\nEOF\nsed -i s/0.1/$E/ run.sh\nbash run.sh",
        f"exit 0\n{RUN}",
        f"if false; then\n{RUN}\nfi",
        f"note() {{ printf '%s' \"$1\" >> log; }}\nnote '{RUN}'",
    ],
)
def test_what_is_only_said_or_kept_is_no_run(script):
    with pytest.raises(ValueError, match="no training is started"):
        _config(script)


@pytest.mark.parametrize(
    ("script", "epsilon"),
    [
        ("E=0.1; bash <<'EOF'\ntrl grpo --epsilon $E --num_iterations 3\nEOF", Unresolved("$E")),
        ("cat > j.sh <<EOF\nE=0.1\ntrl grpo --epsilon $E --num_iterations 3\nEOF\nbash j.sh", Unresolved("$E")),
        ("python - <<EOF\nfrom trl import GRPOConfig\nGRPOConfig(epsilon=$E, num_iterations=3)\nEOF", Unresolved("$E")),
        ("read -r E < other.txt\ntrl grpo --epsilon $E --num_iterations 3", Unresolved("$E")),
        ("if a; then\nset -- 0.1\nfi\ntrl grpo --epsilon $1 --num_iterations 3", Unresolved("$1")),
        ("if a; then\nread -r E <<< 0.1\nfi\ntrl grpo --epsilon $E --num_iterations 3", Unresolved("$E")),
    ],
)
def test_what_only_a_shell_knows_stays_open(script, epsilon):
    assert _read(script) == (epsilon, 3)


def test_a_script_that_is_written_and_not_run_is_read_and_the_answer_says_so():
    got = lint(_config(f"cat > run.sh <<EOF\n{RUN}\nEOF\n"))
    assert "the command in run.sh, which is written and not run here, runs TRL's trainer" in " ".join(got.to_text().split())
    assert got.config.updates.count == 3
    # A run beside it is the run.
    assert lint(_config(f"cat > run.sh <<EOF\n{RUN}\nEOF\ntrl grpo --num_iterations 2 --epsilon 0.2\n")).config.low.value == 0.2


def test_a_file_of_arguments_that_is_not_there_leaves_the_verdict_open():
    for words, loose in (("@args", "@args"), ("@ c.toml", "@c.toml"), ("--bf16 true @args", "@args")):
        assert _config(f"trl grpo --epsilon 0.2 {words}").elsewhere == (loose,)


def test_a_configuration_that_is_edited_or_made_by_a_program_is_not_read():
    for change in ("sed -i s/0.1/$E/ c.yaml", "yq -i .epsilon=0.4 ./c.yaml", "python3 make.py > c.yaml", "rm c.yaml"):
        got = lint(_config(f"cat > c.yaml <<EOF\n{TABLE}EOF\n{change}\ntrl grpo --config c.yaml"))
        assert (got.liveness.alive, got.config.elsewhere) == ("unknown", ("config = c.yaml",))


def test_two_runs_are_two_wherever_they_stand():
    for other in (f"bash <<EOF\n{RUN}\nEOF", f"python - <<EOF\n{PYTHON}EOF"):
        with pytest.raises(ValueError, match="2 training commands in one text"):
            read_config(f"{RUN}\n{other}\n")


def test_scripts_that_start_one_another_end():
    with pytest.raises(ValueError, match="runs over 50 texts"):
        _config("cat > a.sh <<EOF\nbash a.sh\nEOF\nbash a.sh\n")


def test_a_written_script_with_an_unfinished_quotation_leaves_the_verdict_open():
    got = lint(_config("ssh node <<EOF\necho it's\nEOF\ntrain --epsilon 0.1 --num_iterations 3 --loss_type grpo\n"))
    assert got.liveness.alive == "unknown"
    assert "not valid bash" in got.liveness.reason

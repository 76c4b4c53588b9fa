#!/usr/bin/env bash
# Trains a preset: ./train.sh [PRESET] [KEY=VALUE ...]; --help tells more.
# Sets up .venv first (scripts/setup.sh; nothing to do when it is up to date), then hands over to
# the launcher, search_r1/launch. SEARCH_R1_SKIP_SETUP=1 uses what is there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Which preset, and does somebody only want to look?
preset=quickstart
for argument in "$@"; do
    case $argument in -* | *=*) ;; *) preset=$argument && break ;; esac
done
is_asking=no is_dry=no
for argument in "$@"; do
    case $argument in -h | --help | --list) is_asking=yes ;; --dry-run) is_dry=yes ;; esac
done

# An environment of your own that has what training needs is used as it is.
has_all() {
    "$1" -c 'from importlib.util import find_spec
raise SystemExit(not all(map(find_spec, ("verl", "vllm", "yaml"))))' 2>/dev/null
}

python=$root/.venv/bin/python
if [[ -n ${VIRTUAL_ENV:-} && $VIRTUAL_ENV != "$root/.venv" ]] && has_all "$VIRTUAL_ENV/bin/python"; then
    python=$VIRTUAL_ENV/bin/python
elif [[ $is_asking == yes ]]; then
    if [[ ! -x $python ]]; then python=${PYTHON:-python3}; fi  # help needs no packages
elif [[ ${SEARCH_R1_SKIP_SETUP:-} != 1 ]]; then
    config=$root/search_r1/configs/$preset.yaml
    set=""  # a new .venv gets the GPU set for a preset that trains on GPUs
    if [[ $is_dry == no && ! -d $root/.venv && -f $config ]] && ! grep -q '^ *- cpu$' "$config"; then
        set=--gpu
    fi
    "$root/scripts/setup.sh" $set
fi
if ! command -v "$python" >/dev/null; then
    echo "error: there is no $python; run scripts/setup.sh, or unset SEARCH_R1_SKIP_SETUP." >&2
    exit 1
fi

# exec: Ctrl-C and kill reach the launcher itself. The path lets any folder be the current one.
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m search_r1.launch "$@"

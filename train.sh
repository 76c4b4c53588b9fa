#!/usr/bin/env bash
# Trains a preset: ./train.sh [PRESET] [KEY=VALUE ...]; --help tells more.
# Sets up .venv first (scripts/setup.sh; nothing to do when it is up to date), then hands over to
# the launcher, search_r1/launch. SEARCH_R1_SKIP_SETUP=1 uses what is there, as --dry-run, --list and
# --help always do.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Which preset, and does somebody only want to look?
preset=quickstart
for argument in "$@"; do
    case $argument in -* | *=*) ;; *) preset=$argument && break ;; esac
done
is_asking=no is_looking=no
for argument in "$@"; do
    case $argument in
        -h | --help | --list) is_asking=yes ;;
        --dry-run) is_looking=yes ;;
    esac
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
elif [[ $is_looking == no && ${SEARCH_R1_SKIP_SETUP:-} != 1 ]]; then
    set="" chain=("$preset")  # a new .venv gets the GPU set for a preset that builds on gpu.yaml
    for ((i = 0; i < ${#chain[@]} && i < 50; i++)); do
        if [[ ${chain[i]} == gpu && ! -d $root/.venv ]]; then set=--gpu; fi
        config=$root/search_r1/configs/${chain[i]}.yaml
        if [[ -f $config ]]; then
            mapfile -t -O "${#chain[@]}" chain < <(sed -nE \
                '/^defaults:/,/^[a-z]/s/^ *- *([A-Za-z0-9_]+) *(#.*)?$/\1/p' "$config")
        fi
    done
    "$root/scripts/setup.sh" $set
fi
if ! command -v "$python" >/dev/null; then
    echo "error: there is no $python; run scripts/setup.sh (--gpu for a GPU preset) first." >&2
    exit 1
fi

# exec: Ctrl-C and kill reach the launcher itself. The path lets any folder be the current one.
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m search_r1.launch "$@"

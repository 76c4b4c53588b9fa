#!/usr/bin/env bash
# Makes .venv from the lock files. Quick when there is nothing to do; see docs/install.md.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
stamps=$venv/.setup
log=$venv/setup.log
TORCH_INDEX_URL=${TORCH_INDEX_URL:-https://download.pytorch.org/whl/cpu}
pip_pid=""

usage() {
    cat <<'TEXT'
usage: scripts/setup.sh [--cpu | --gpu] [--dev]

Makes .venv in the repository's root from requirements/*.lock, or repairs it. Does nothing when it
is up to date.

  --cpu   the CPU set (the default for a new .venv): Linux x86_64, Python 3.11 or 3.12
  --gpu   the GPU set: Linux x86_64, NVIDIA driver for CUDA, Python 3.12
  --dev   the development tools as well (pytest, ruff, mypy, ...)

Environment:
  PYTHON            the Python that makes .venv
  TORCH_INDEX_URL   where the CPU build of torch comes from when pip's own configuration does not
                    offer it (default: PyTorch's public CPU wheel index)
TEXT
}

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

say() { printf 'setup: %s\n' "$*" >&2; }  # stdout is train.sh's

digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

# --- what to install, and whether it is there already ------------------------------------------

parse_options() {
    set_name="" with_dev=no
    for option in "$@"; do
        case $option in
            --cpu) set_name=cpu ;;
            --gpu) set_name=gpu ;;
            --dev) with_dev=yes ;;
            -h | --help) usage && exit 0 ;;
            *) fail "unknown option '$option'; expected --cpu, --gpu, --dev or --help." ;;
        esac
    done
    local made_set=""
    if [[ -f $stamps/set ]]; then made_set=$(<"$stamps/set"); fi
    set_name=${set_name:-${made_set:-cpu}}
    if [[ -n $made_set && $made_set != "$set_name" ]]; then
        fail "this .venv holds the ${made_set^^} set, not the ${set_name^^} set. Delete it first:" \
            "rm -r '$venv'"
    fi
    lock=$root/requirements/$set_name.lock
    dev_lock=$root/requirements/dev.lock
}

stamp_is() { [[ -f $stamps/$1 && $(<"$stamps/$1") == "$2" ]]; }

write_stamp() { printf '%s' "$2" >"$stamps/$1.new" && mv "$stamps/$1.new" "$stamps/$1"; }

# Whether .venv was made for this folder, by whatever path somebody came here.
is_made_here() { [[ -f $stamps/root && $(<"$stamps/root") -ef $root ]]; }

is_current() {
    [[ -x $venv/bin/python ]] && is_made_here && stamp_is lock "$(digest "$lock")" &&
        stamp_is project "$(digest "$root/pyproject.toml")" &&
        { [[ $with_dev == no ]] || stamp_is dev "$(digest "$dev_lock")"; }
}

# --- checks before anything is written ----------------------------------------------------------

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

fits() {  # fits VERSION: some pins of gpu.lock have no wheel below 3.12
    case $set_name-$1 in cpu-3.11 | cpu-3.12 | gpu-3.12) ;; *) return 1 ;; esac
}

find_python() {
    local candidates="python3.11 python3.12 python3" wants="3.11 or 3.12" best=3.11 version hint
    if [[ $set_name == gpu ]]; then candidates="python3.12 python3" wants=3.12 best=3.12; fi
    for python in ${PYTHON:-$candidates}; do
        version=$(version_of "$python") || continue
        if fits "$version"; then return 0; fi
    done
    hint="Install Python $best (Debian and Ubuntu: apt install python$best python$best-venv)"
    hint+=" or name one: PYTHON=/path/to/python$best"
    if [[ -n ${PYTHON:-} ]]; then
        version=$(version_of "$PYTHON") || fail "PYTHON=$PYTHON does not run. $hint"
        fail "PYTHON=$PYTHON is Python $version; the ${set_name^^} set needs $wants. $hint"
    fi
    version=$(version_of python3) || fail "no Python $wants found. $hint"
    fail "python3 is Python $version; the ${set_name^^} set needs $wants. $hint"
}

check_machine() {
    local machine
    machine="$(uname -s) $(uname -m)"
    if [[ $machine != "Linux x86_64" ]]; then
        fail "this is $machine; the locks are for Linux x86_64. See docs/install.md."
    fi
    command -v flock >/dev/null || fail "flock is missing; install util-linux."
}

check_disk() {
    local need_gb=$1 free_kb
    free_kb=$(df -Pk "$root" | awk 'NR == 2 { print $4 }')
    if ((free_kb < need_gb * 1024 * 1024)); then
        fail "$((free_kb / 1024 / 1024)) GB free under $root; the ${set_name^^} set needs" \
            "$need_gb GB. Free some space and run this again."
    fi
}

# --- pip, with its noise in the log -------------------------------------------------------------

stop_pip() {
    if [[ -n $pip_pid ]] && kill "$pip_pid" 2>/dev/null; then wait "$pip_pid" || true; fi
}

show_progress() {  # show_progress WHAT TOTAL STARTED LAST_LINE_OF_LOG_BEFORE
    local seen name text
    seen=$(tail -n "+$(($4 + 1))" "$log" | grep -c -E '^(Collecting|Requirement already)') || true
    name=$(grep -E '^(Collecting|Requirement already satisfied:) ' "$log" | tail -n 1 |
        sed -E 's/^(Collecting|Requirement already satisfied:) ([^ =]+).*/\2/') || true
    text="$1: $seen of $2 packages ($name)"
    if tail -n "+$(($4 + 1))" "$log" | grep -q '^Installing collected'; then
        text="$1: all fetched, unpacking"
    fi
    text+=", $((SECONDS - $3)) s"
    if [[ -t 2 ]]; then printf '\r\033[Ksetup: %s' "$text" >&2
    elif ((SECONDS >= next_word)); then
        say "$text"
        next_word=$((SECONDS + 30))
    fi
}

pip_install() {  # pip_install WHAT TOTAL PIP_ARGUMENTS...
    local what=$1 total=$2 started=$SECONDS next_word=$((SECONDS + 30)) before status=0
    shift 2
    printf '\n== pip install %s\n' "$*" >>"$log"
    before=$(wc -l <"$log")
    "$venv/bin/python" -m pip install --no-deps --no-input --disable-pip-version-check \
        --progress-bar off "$@" >>"$log" 2>&1 &
    pip_pid=$!
    while kill -0 "$pip_pid" 2>/dev/null; do
        show_progress "$what" "$total" "$started" "$before"
        sleep 0.5
    done
    wait "$pip_pid" || status=$?
    pip_pid=""
    if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
    if ((status != 0)); then
        grep -v -E '^ *$|WARNING|^  Downloading|^Collecting|already satisfied' "$log" |
            tail -n 12 | sed 's/^/    /' >&2
        fail "could not install $what (whole log: $log). Run the same command again, it goes on" \
            "where it stopped; behind a proxy or without internet see docs/install.md."
    fi
    say "$what: done in $((SECONDS - started)) s"
}

# --- the steps ----------------------------------------------------------------------------------

check_ownership() {  # nothing is written into, or cleared of, what set-up did not make
    if [[ -L $venv ]] && ! is_made_here; then
        fail "the .venv here is a link to $(readlink "$venv"), which set-up leaves as it is. Use it" \
            "with SEARCH_R1_SKIP_SETUP=1, or have one made here: rm '$venv'"
    fi
    if [[ -e $venv && ! -f $stamps/root ]] && ! version_of "$venv/bin/python" >/dev/null; then
        fail "the .venv here does not run, and set-up did not make it. Move or delete it first."
    fi
}

make_venv() {
    local version
    if [[ -d $venv ]]; then
        version=$(version_of "$venv/bin/python") || version=""
        if [[ -f $stamps/root ]] && ! is_made_here; then
            say "the .venv here was made in another folder; making it anew"
        elif [[ -z $version ]]; then
            say "the .venv here does not run; making it anew"
        elif fits "$version"; then
            return 0
        else
            fail "the .venv here is Python $version, which the ${set_name^^} set does not" \
                "support. Delete it first: rm -r '$venv'"
        fi
    fi
    find_python
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments (no venv or ensurepip). On Debian and" \
            "Ubuntu: apt install python$(version_of "$python")-venv"
    rm -rf "$venv"
    mkdir -p "$stamps"
    write_stamp root "$root"  # first: what is half made is known as ours
    "$python" -m venv "$venv" >/dev/null ||
        { rm -rf "$venv"; fail "$python -m venv failed (its words are above)."; }
}

pin_of() { sed -n -E "s/^($1==.*)$/\1/p" "$lock"; }

is_installed() {  # is_installed NAME==VERSION
    "$venv/bin/python" -c 'import importlib.metadata, sys
name, version = sys.argv[1].split("==")
sys.exit(importlib.metadata.version(name) != version)' "$1" 2>/dev/null
}

install_torch_cpu() {
    local pin
    pin=$(pin_of torch)
    if [[ $pin != *+cpu ]] || is_installed "$pin"; then return 0; fi
    printf '\n== is %s offered by the configured index?\n' "$pin" >>"$log"
    if timeout 300 "$venv/bin/python" -m pip install --dry-run --no-deps --no-input --retries 1 \
        "$pin" >>"$log" 2>&1; then
        pip_install "$pin" 1 "$pin"
    else
        say "$pin comes from $TORCH_INDEX_URL (TORCH_INDEX_URL)"
        pip_install "$pin" 1 --index-url "$TORCH_INDEX_URL" "$pin"
    fi
}

install_lock() {
    local total pin
    total=$(grep -c == "$lock") || true
    rm -f "$stamps/lock"
    pin=$(pin_of setuptools)
    if [[ -n $pin ]]; then pip_install "$pin" 1 "$pin"; fi
    install_torch_cpu
    # pip compiles on one core, and that is half of the whole time; here all cores do it.
    pip_install "the ${set_name^^} set" "$total" --no-compile --no-build-isolation -r "$lock"
    say "compiling to bytecode"
    "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" >>"$log" 2>&1 || true
    if [[ -n $(pin_of torch) ]]; then
        "$venv/bin/python" -c 'import torch, faiss' >>"$log" 2>&1 ||
            fail "torch and faiss are installed but do not start; see the end of $log."
    fi
    write_stamp lock "$(digest "$lock")"
}

install_all() {
    local need_gb=6
    if [[ $set_name == gpu ]]; then need_gb=30; fi
    check_machine
    check_ownership
    if ! stamp_is lock "$(digest "$lock")"; then
        if ! [[ -d $venv ]]; then
            find_python
            check_disk "$need_gb"
        fi
        if [[ $set_name == cpu ]]; then
            say "installing $(grep -c == "$lock") pinned packages into .venv;" \
                "the first time takes about 3-5 minutes, 4.3 GB (log: .venv/setup.log)"
        else
            say "installing $(grep -c == "$lock") pinned packages into .venv (log: .venv/setup.log)"
        fi
    fi
    make_venv
    mkdir -p "$stamps"
    : >"$log"
    write_stamp set "$set_name"
    write_stamp root "$root"
    stamp_is lock "$(digest "$lock")" || install_lock
    if [[ $with_dev == yes ]] && ! stamp_is dev "$(digest "$dev_lock")"; then
        pip_install "the development tools" "$(grep -c == "$dev_lock")" -r "$dev_lock"
        write_stamp dev "$(digest "$dev_lock")"
    fi
    if ! stamp_is project "$(digest "$root/pyproject.toml")"; then
        pip_install "search-r1 itself" 1 --no-build-isolation -e "$root"
        write_stamp project "$(digest "$root/pyproject.toml")"
    fi
    say ".venv is ready"
}

main() {
    parse_options "$@"
    if is_current; then return 0; fi
    check_machine
    trap stop_pip EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    exec 9>"$root/.setup.lock"
    if ! flock -n 9; then
        say "another set-up of this folder is running; waiting for it"
        flock 9
        if is_current; then return 0; fi
    fi
    install_all
}

main "$@"

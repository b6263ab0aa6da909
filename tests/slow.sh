#!/usr/bin/env bash
# What `make test-slow` runs, in order; every part runs even when an earlier one failed, and the result counts all.
set -u
cd "$(dirname "$0")/.."
python=.venv/bin/python
failed=()
part() { # part NAME COMMAND...: run it, remember a failure
  local name=$1
  shift
  printf '\n== %s\n' "$name"
  "$@" || failed+=("$name")
}

# Two cores do two parts in the time of the longer one: begin NAME COMMAND... starts one beside others, and
# finish NAME... waits for some that were begun and shows what each had to say.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
declare -A begun=()
begin() {
  local name=$1
  shift
  { "$@" </dev/null; echo $? >"$logs/$name.status"; } >"$logs/$name" 2>&1 &
  begun[$name]=$!
}
finish() {
  local name
  for name in "$@"; do
    wait "${begun[$name]}"
    printf '\n== %s\n' "$name"
    cat "$logs/$name"
    [ "$(cat "$logs/$name.status" 2>/dev/null)" = 0 ] || failed+=("$name")
  done
}

interpreters() { # the newest of each other supported minor version, one per line
  {
    command -v python3.11 python3.12 python3.13
    if command -v pyenv >/dev/null 2>&1; then
      pyenv versions --bare 2>/dev/null | sed "s|^|$(pyenv root)/versions/|; s|\$|/bin/python|"
    fi
  } | while read -r path; do
    "$path" -c 'import sys; v = sys.version_info; print("%d.%d %d.%d.%d %s" % (*v[:2], *v[:3], sys.executable))' 2>/dev/null
  done | grep -E '^3\.1[1-3] ' | sort -k1,1V -k2,2rV | sort -u -k1,1 |
    grep -v "^$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])') "
}

environment() { # environment NAME PYTHON GROUP: .venvs/NAME with a group's packages, made once per pyproject.toml
  local venv=".venvs/$1"
  if [ ! -e "$venv/stamp" ] || [ pyproject.toml -nt "$venv/stamp" ]; then
    rm -rf "$venv"
    "$2" -m venv "$venv" && "$venv/bin/python" -m pip install -qq 'pip>=25.1' &&
      "$venv/bin/python" -m pip install -qq --group "$3" && touch "$venv/stamp" || return 1
  fi
}

on_interpreter() { # on_interpreter VERSION PATH [OPTION...]: the fast suite on another Python
  local python=".venvs/$1/bin/python"
  environment "$1" "$2" test || return 1
  shift 2
  "$python" -m pytest -q -p no:cacheprovider --ignore=tests/browser "$@"
}

fuzz() { # each target for FUZZ_SECONDS, two at a time, with what the parts beside it leave of the processors
  [ "${FUZZ_SECONDS:-120}" -gt 0 ] || return 0
  nice -n 19 $python -m tests.fuzz --seconds "${FUZZ_SECONDS:-120}" --jobs 2
}

beside_uvloop() { # what is done while the suite runs on uvloop
  echo "without the C module"
  WEBFW_SPEEDUPS=0 $python -m pytest -q -p no:cacheprovider \
    tests/sansio tests/httputil tests/websocket tests/conformance/test_websocket_*.py || return 1
  echo "manual"
  make --no-print-directory docs
}

begin "fuzzing" fuzz # beside all others

# The newest measures the coverage: from 3.12 on that costs little, before it makes the suite half as long again.
newest=$(interpreters | tail -n 1 | cut -d ' ' -f 1)
others=()
while read -r minor version path; do
  measure=()
  if [ "$minor" = "$newest" ] && [ "$minor" != 3.11 ]; then
    measure=(--cov --cov-report=term "--cov-fail-under=${COVERAGE:-95}")
  fi
  COVERAGE_CORE=sysmon begin "Python $version" on_interpreter "$version" "$path" "${measure[@]}"
  others+=("Python $version")
done < <(interpreters)
finish "${others[@]}"
[ -n "$newest" ] && [ "$newest" != 3.11 ] || echo "coverage: not measured, since no other Python from 3.12 on was found"
no_loop=(tests/{bench,browser,fuzz,httputil,locale,sansio,template}) # what knows no loop, or serves in processes of its own
begin "uvloop" $python -m pytest -q -p no:cacheprovider --loop uvloop "${no_loop[@]/#/--ignore=}"
begin "C module, manual" beside_uvloop
finish "uvloop" "C module, manual"
part "programs for Tornado" environment programs $python programs # what tests/programs runs
part "slow tests" $python -m pytest -q --slow -m slow
finish "fuzzing"

if [ ${#failed[@]} -gt 0 ]; then
  printf '\ntests/slow.sh: failed: %s\n' "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')" >&2
  exit 1
fi

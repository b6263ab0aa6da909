#!/usr/bin/env bash
# Install the programs that some tests drive: a browser, other HTTP servers and clients.
# What cannot be installed here is only reported; the tests that need it say so when they are skipped.
set -u

declare -A package=(
  [chromium]=chromium [chromedriver]=chromium-driver [nginx]=nginx-light
  [wrk]=wrk [curl]=curl [openssl]=openssl [redis-server]=redis-server [nats-server]=nats-server
  [zsh]=zsh [fish]=fish
)
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null 2>&1 || missing+=("${package[$program]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "tests/setup.sh: not installed, and not installable here: ${missing[*]} (tests that need them are skipped)" >&2
  exit 0
fi
echo "tests/setup.sh: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
export RUNLEVEL=1 # have the packages not start their services: the tests start what they need
log=$(mktemp)
install() { apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; }
if ! install; then
  apt-get update -qq >>"$log" 2>&1 </dev/null
  install || { tail -n 5 "$log" >&2; echo "tests/setup.sh: could not install ${missing[*]}" >&2; }
fi
rm -f "$log"
exit 0

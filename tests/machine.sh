#!/bin/sh
# What the tests need besides Python: a Chromium for the pages, Node.js for a client in another language. Debian has both;
# elsewhere, and without root, the tests that lack something say so and are skipped (with CI=true they fail).
set -eu
missing=
command -v chromium >/dev/null 2>&1 || missing="$missing chromium fonts-liberation"
command -v npm >/dev/null 2>&1 || missing="$missing nodejs npm"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  printf 'codebank: installing%s\n' "$missing" >&2
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
  printf 'codebank: not here, so some tests are skipped:%s\n' "$missing" >&2
fi

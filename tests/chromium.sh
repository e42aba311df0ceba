#!/bin/sh
# The browser tests need a Chromium. Debian has one; elsewhere, and without root, the tests say what is missing.
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null
fi
command -v chromium >/dev/null 2>&1 || echo "codebank: no chromium here; the browser tests will be skipped" >&2

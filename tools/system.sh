#!/usr/bin/env bash
# Installs the programs named, where they are missing and this is a Debian whose root we are; elsewhere it does nothing,
# and the tests that lack a program say so.
set -euo pipefail

declare -A packages=([unzip]=unzip [7z]=p7zip-full [busybox]=busybox [java]=default-jre-headless [strace]=strace
  [mkfs.ext4]=e2fsprogs [mkfs.xfs]=xfsprogs)
missing=()
for tool in "$@"; do
  # Some are in /sbin, which is not on every path.
  PATH="$PATH:/usr/sbin:/sbin" command -v "$tool" >/dev/null || missing+=(${packages[$tool]})
done
if ((${#missing[@]})) && command -v apt-get >/dev/null && ((EUID == 0)); then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

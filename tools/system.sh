#!/bin/sh
# Installs the programs named, or all that tests and proofs use, where they are missing: on a Debian, as root.
# Elsewhere it says what to install, and fails where something is missing.
set -eu

# Debian's package for each program.
package() {
  case $1 in
    7z) echo p7zip-full ;;
    busybox) echo busybox ;;
    git) echo git ;;
    java) echo default-jre-headless ;;
    mkfs.ext4) echo e2fsprogs ;;
    mkfs.xfs) echo xfsprogs ;;
    mount) echo mount ;;
    strace) echo strace ;;
    unzip) echo unzip ;;
    *)
      echo "tools/system.sh: no package is known for the program $1" >&2
      exit 2
      ;;
  esac
}

[ $# -gt 0 ] || set -- 7z busybox git java mkfs.ext4 mkfs.xfs mount strace unzip
programs='' packages=''
for program in "$@"; do
  name=$(package "$program")
  # Some are in /sbin, which is not on every path.
  if ! PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null; then
    programs="$programs $program"
    packages="$packages $name"
  fi
done
[ -n "$packages" ] || exit 0
if ! command -v apt-get >/dev/null; then
  echo "Missing:$programs. Install them with the package manager of this system; on Debian they are in:$packages" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Missing:$programs. Only root may install them: sudo apt-get install$packages" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Without quotes, since each word is a package.
apt-get install -y -qq --no-install-recommends $packages >/dev/null

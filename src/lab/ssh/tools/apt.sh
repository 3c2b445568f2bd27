#!/bin/sh
# Stands for apt-get over `packages`, one a line: what is pending. A new kernel asks for a reboot, as unattended-upgrades has it.
PATH=${PATH#*:}
verb='' simulate=''
for arg in "$@"; do
  case $arg in -s|--simulate) simulate=1 ;; -*|*=*) ;; *) [ -n "$verb" ] || verb=$arg ;; esac
done
list=$LAB_ROOT/packages
case $verb in
  update) echo 'Reading package lists...' ;;
  upgrade|dist-upgrade|full-upgrade)
    echo 'Reading package lists...'
    while read -r name version; do
      [ -n "$name" ] || continue
      if [ -n "$simulate" ]; then echo "Inst $name [old] ($version Debian:12/stable [amd64])"; else echo "Setting up $name ($version) ..."; fi
    done <"$list"
    [ -z "$simulate" ] || exit 0
    if grep -q '^linux-image' "$list"; then
      mkdir -p "$LAB_ROOT/run"
      grep '^linux-image' "$list" | cut -d' ' -f1 >"$LAB_ROOT/run/reboot-required.pkgs"
      echo '*** System restart required ***' >"$LAB_ROOT/run/reboot-required"
    fi
    : >"$list" ;;
  *) echo "E: Invalid operation $verb" >&2; exit 100 ;;
esac

#!/bin/sh
# Stands for dnf and needs-restarting over `packages`, one a line: what is pending. A new kernel asks for a reboot.
PATH=${PATH#*:}
name=${0##*/} verb=''
list=$LAB_ROOT/packages flag=$LAB_ROOT/run/needs-reboot
for arg in "$@"; do case $arg in -*) ;; *) [ -n "$verb" ] || verb=$arg ;; esac; done
[ "$name" != needs-restarting ] || verb=needs-restarting
case $verb in
  check-update)
    [ -s "$list" ] || exit 0
    echo
    while read -r package version; do printf '%-40s %-30s %s\n' "$package.x86_64" "$version" baseos; done <"$list"
    exit 100 ;;
  upgrade|update)
    [ -s "$list" ] || { printf 'Dependencies resolved.\nNothing to do.\nComplete!\n'; exit 0; }
    while read -r package version; do echo "  Upgrading        : $package-${version#*:}.x86_64"; done <"$list"
    if grep -q '^kernel' "$list"; then mkdir -p "$LAB_ROOT/run"; : >"$flag"; fi
    : >"$list"
    echo 'Complete!' ;;
  needs-restarting)
    if [ -e "$flag" ]; then
      printf 'Core libraries or services have been updated since boot-up:\n  * kernel-core\n\nReboot is required to fully utilize these updates.\n'
      printf 'More information: https://access.redhat.com/solutions/27943\n'
      exit 1
    fi
    printf 'No core libraries or services have been updated since boot-up.\nReboot should not be necessary.\n' ;;
  *) echo "No such command: $verb." >&2; exit 1 ;;
esac

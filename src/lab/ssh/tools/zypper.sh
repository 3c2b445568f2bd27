#!/bin/sh
# Stands for zypper over `packages`, one a line: what is pending. zypper itself is patched first and alone (103); a new kernel asks for a reboot (102).
PATH=${PATH#*:}
verb=''
list=$LAB_ROOT/packages flag=$LAB_ROOT/run/needs-reboot
for arg in "$@"; do case $arg in -*) ;; *) [ -n "$verb" ] || verb=$arg ;; esac; done
count=$(grep -c . "$list")
case $verb in
  patch-check|pchk)
    printf 'Loading repository data...\nReading installed packages...\n\nFound %s applicable patches:\n%s patches needed (%s security patches)\n' "$count" "$count" "$count"
    [ "$count" = 0 ] || exit 101 ;;
  patch)
    printf 'Loading repository data...\nReading installed packages...\nResolving package dependencies...\n'
    [ "$count" != 0 ] || { echo 'Nothing to do.'; exit 0; }
    if grep -q '^zypper ' "$list"; then
      echo '(1/1) Installing: zypper [..done]'
      grep -v '^zypper ' "$list" >"$list.rest"; mv "$list.rest" "$list"
      echo 'Warning: One of the installed patches affects the package manager itself. Run this command once more to install any other needed patches.'
      exit 103
    fi
    while read -r package version; do echo "(1/$count) Installing: $package-$version.x86_64 [..done]"; done <"$list"
    reboot=''; grep -q '^kernel' "$list" && reboot=1
    : >"$list"
    [ -n "$reboot" ] || exit 0
    mkdir -p "$LAB_ROOT/run"; : >"$flag"
    echo 'Warning: One of the installed patches requires a reboot of your machine. Reboot as soon as possible.'
    exit 102 ;;
  needs-rebooting)
    if [ -e "$flag" ]; then
      printf 'Core libraries or services have been updated.\nReboot is suggested to ensure that your system benefits from these updates.\n'
      exit 102
    fi
    printf 'No core libraries or services have been updated.\nReboot is probably not necessary.\n' ;;
  *) echo "Unknown command '$verb'" >&2; exit 2 ;;
esac

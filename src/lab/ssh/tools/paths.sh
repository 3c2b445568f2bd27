#!/bin/sh
# Stands before cat, grep and ls: files that say which machine this is come from the machine's own tree.
name=${0##*/} n=$#
while [ "$n" -gt 0 ]; do
  arg=$1; shift
  case $arg in
    /proc/1/comm) [ -r "$LAB_ROOT/init" ] && arg=$LAB_ROOT/init ;;
    /proc/cmdline|/proc/meminfo|/proc/cpuinfo|/proc/modules|/sys/class/net|/sys/class/net/*|/etc/fstab|/etc/crypttab|/etc/os-release|/run/reboot-*|/var/run/reboot-*|/etc/kernel/postinst.d/*|/usr/share/update-notifier/*|\
    /proc/sys/kernel/*|/proc/uptime|/proc/mounts|/proc/stat|/etc/machine-id|/etc/hostname|/proc/mdstat|/sys/firmware/*|/sys/class/dmi/*) arg=$LAB_ROOT$arg ;;
  esac
  set -- "$@" "$arg"; n=$((n - 1))
done
PATH=${PATH#*:}
exec "$name" "$@"

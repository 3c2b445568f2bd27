#!/bin/sh
# Stands for uname, who, pgrep, zpool and hostname: what the machine says of itself.
case ${0##*/} in
  hostname) cat "$LAB_ROOT/name" ;;
  uname)
    case $1 in
      -r) cat "$LAB_ROOT/kernel" ;;
      -n) cat "$LAB_ROOT/name" ;;
      -a) printf 'Linux %s %s\n' "$(cat "$LAB_ROOT/name")" "$(cat "$LAB_ROOT/kernel")" ;;
      *) PATH=${PATH#*:}; exec uname "$@" ;;
    esac ;;
  zpool) exit 1 ;;
  who) cat "$LAB_ROOT/people" ;;
  # What keeps data here, by the names of its daemons; the rest are guests.
  pgrep) case " $* " in *ceph-osd*) [ -s "$LAB_ROOT/keeps" ] && cat "$LAB_ROOT/keeps"; exit ;; esac
    [ -s "$LAB_ROOT/guests" ] && cat "$LAB_ROOT/guests" ;;
  findmnt) case " $* " in *" UUID "*) cat "$LAB_ROOT/root_fs" ;; *) echo /dev/nvme0n1p2 ;; esac ;;
esac

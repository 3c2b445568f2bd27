#!/bin/sh
# Stands for systemctl over the machine's services (`units`: name and state a line), and for reboot, poweroff and shutdown.
ask() { printf '%s\n' "$1" >>"$LAB_ROOT/power"; exit 0; }
case ${0##*/} in
  reboot) ask reboot ;;
  poweroff|halt) ask poweroff ;;
  shutdown) case " $* " in *" -r "*) ask reboot ;; *) ask poweroff ;; esac ;;
esac
verb='' props='' quiet='' value='' failed='' units=''
while [ $# -gt 0 ]; do
  case $1 in
    -p) props=$2; shift ;;
    --property=*) props=${1#*=} ;;
    -q|--quiet) quiet=1 ;;
    --value) value=1 ;;
    --state=failed|--failed) failed=1 ;;
    -*) ;;
    *) if [ -z "$verb" ]; then verb=$1; else case $1 in *.*) units="$units $1" ;; *) units="$units $1.service" ;; esac; fi ;;
  esac
  shift
done
state() { s=$(sed -n "s/^$1 //p" "$LAB_ROOT/units"); printf '%s' "${s:-absent}"; }
say() { if [ -n "$value" ]; then printf '%s\n' "$2"; else printf '%s=%s\n' "$1" "$2"; fi; }
case $verb in
  reboot) ask reboot ;;
  poweroff|halt) ask poweroff ;;
  get-default) echo multi-user.target ;;
  is-system-running) if grep -q ' activating$' "$LAB_ROOT/units"; then echo starting; exit 1; elif grep -q ' failed$' "$LAB_ROOT/units"; then echo degraded; exit 1; else echo running; fi ;;
  is-active)
    code=3
    for u in $units; do
      s=$(state "$u"); [ "$s" = active ] && code=0; [ "$s" = absent ] && s=inactive
      [ -n "$quiet" ] || echo "$s"
    done
    exit $code ;;
  is-failed) for u in $units; do s=$(state "$u"); [ -n "$quiet" ] || echo "$s"; [ "$s" = failed ] && exit 0; done; exit 1 ;;
  show)
    case $props in *NFailedUnits*) say NFailedUnits "$(grep -c ' failed$' "$LAB_ROOT/units")" ;; esac
    first=1
    for u in $units; do
      [ -n "$first" ] || echo; first=
      s=$(state "$u"); load=loaded sub=dead
      case $s in active) sub=running ;; activating) sub=start ;; failed) sub=failed ;; absent) s=inactive load=not-found ;; esac
      for p in $(printf '%s' "${props:-Id,LoadState,ActiveState,SubState}" | tr ',' ' '); do
        case $p in Id) say Id "$u" ;; LoadState) say LoadState "$load" ;; ActiveState) say ActiveState "$s" ;; SubState) say SubState "$sub" ;; esac
      done
    done ;;
  list-units)
    while read -r u s; do
      if [ "$s" = failed ]; then echo "$u loaded failed failed $u"; elif [ -z "$failed" ]; then echo "$u loaded $s running $u"; fi
    done <"$LAB_ROOT/units" ;;
  list-unit-files) while read -r u s; do echo "$u enabled enabled"; done <"$LAB_ROOT/units" ;;
  reset-failed) ;;
  start|restart|stop)
    for u in $units; do
      if [ "$(state "$u")" = absent ]; then echo "Unit $u not found." >&2; exit 5; fi
      printf '%s %s\n' "$verb" "$u" >>"$LAB_ROOT/asks"
    done ;;
  *) echo "systemctl: this machine is simulated and knows no '$verb'" >&2; exit 1 ;;
esac
exit 0

#!/bin/sh
# Stands for Open vStorage's `ovs`, JumpScale's `ays`, upstart's `initctl` and libvirt's `virsh` over the machine's services (`units`).
# `ovs-format` says of which age it is: 1 (upstart, needs a terminal), 2 (systemd), 3 (since October 2016, the default).
format=$(cat "$LAB_ROOT/ovs-format" 2>/dev/null || echo 3)
ours() { sed -n "s/^\(ovs-[^ ]*\)\.service \(.*\)$/\1 \2/p" "$LAB_ROOT/units"; }
row() { case $format in 1) if [ "$2" = active ]; then echo "$1 start/running, process 3799"; else echo "$1 stop/waiting"; fi ;; 2) echo "$1.service loaded $2 running $1" ;; *) printf '%-30s %s\n' "$1" "$2" ;; esac; }
frame() {
  colon=:; rule=; [ "$format" = 3 ] && { colon=; rule='====================='; }
  echo "OVS running processes$colon"; echo "$rule"
  ours | while read -r u s; do [ "$s" = active ] && row "$u" "$s"; done
  echo; echo "OVS non-running processes$colon"; echo "$rule"
  ours | while read -r u s; do [ "$s" = active ] || row "$u" "$s"; done
}
start() { printf 'start %s.service\n' "$1" >>"$LAB_ROOT/asks"; }
case ${0##*/} in
  ovs)
    case "$*" in
      'monitor services')
        [ "$format" = 1 ] && { echo 'Error opening terminal: unknown.'; exit 1; }
        # Never ends by itself. Block buffered: what it has to say comes out when it is interrupted.
        trap 'printf "\033[2J\033[H"; frame; exit 0' INT
        while :; do sleep 0.2; done ;;
      'start services') [ "$format" = 1 ] && ours | while read -r u s; do [ "$s" = active ] || { start "$u"; echo "Starting: $u"; }; done; exit 0 ;;
      *) echo 'Open vStorage CLI launcher'; exit 0 ;;
    esac ;;
  initctl)
    case $1 in
      list) ours | while read -r u s; do if [ "$s" = active ]; then echo "$u start/running, process 3799"; else echo "$u stop/waiting"; fi; done ;;
      start) start "$2" ;;
    esac ;;
  ays)
    all() { sed -n "s/^ays-\([^ ]*\)\.service \(.*\)$/\1 \2/p" "$LAB_ROOT/units"; }
    case $1 in
      status)
        echo 'DOMAIN          NAME                 Instance   Prio Status   Ports'
        echo '======================================================================'; echo
        all | while read -r n s; do
          if [ "$s" = active ]; then s=RUNNING; else s=HALTED; fi
          printf '%-15s %-20s %-10s %4s %-8s %s\n' jumpscale "$n" main 100 "$s" 4446
        done ;;
      start) [ "$2" = -n ] && start "ays-$3" ;;
    esac ;;
esac
exit 0

# Everything of a HostView in one command: one `name=value` a line, a missing tool is an empty value. Lines that begin with # are not sent.
exec 2>/dev/null
say() { printf '%s=%s\n' "$1" "$2"; }
say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
say uptime "$(cat /proc/uptime)"
say machine_id "$(cat /etc/machine-id)"
say uuid "$(cat /sys/class/dmi/id/product_uuid)"
say serial "$(cat /sys/class/dmi/id/product_serial)"
ip -o link | sed -n 's|.*link/ether \([0-9a-f:]*\).*|address=\1|p'
ip -o addr | sed -n 's|.* inet6* \([0-9a-f.:]*\)/.*|address=\1|p'
# A root without a UUID (ZFS, overlay) is named by its source.
root=$(findmnt -n -o UUID /)
[ -n "$root" ] || root=$(findmnt -n -o SOURCE /)
[ -n "$root" ] || root=$(awk '$2 == "/" { print $1 }' /proc/mounts)
say root_fs "$root"
say default_target "$(systemctl get-default)"
say kernel "$(uname -r)"
say system_state "$(systemctl is-system-running)"
if command -v pgrep >/dev/null; then
  pgrep -a '^qemu' | sed 's/^/guest=/'
else
  for comm in /proc/[0-9]*/comm; do
    read -r name <"$comm" || continue
    pid=${comm#/proc/}
    case $name in qemu*) say guest "${pid%/comm} $(tr '\0' ' ' <"/proc/${pid%/comm}/cmdline")" ;; esac
  done
fi
cat /proc/mdstat | sed 's/^/mdstat=/'
zpool status | sed -n 's/^ *\(pool: .*\)/zpool=\1/p; s/^ *\(state: .*\)/zpool=\1/p; s/^ *\(scan: .*\)/zpool=\1/p'
# Distributed stores keep data here by daemons of these names.
pgrep -l '^(ceph-osd|longhorn|arakoon|alba|glusterfsd|minio|linstor)' | sed 's/^/keeps=/'
say boot_next "$(cat /sys/firmware/efi/efivars/BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c | od -An -tx1 | tr -d ' \n')"
# How the root disk unlocks: each encrypted device below it, what its header says where that may be read, and crypttab.
as_root=
[ "$(id -u)" = 0 ] || as_root='sudo -n'
source=$(findmnt -n -v -o SOURCE /)
case $source in
  /dev/*)
    for dev in $(lsblk -s -n -p -l -o NAME,FSTYPE "$source" | awk '$2 == "crypto_LUKS" { print $1 }' | sort -u); do
      say luks "$dev UUID=$(lsblk -n -d -o UUID "$dev")"
      if dump=$($as_root cryptsetup luksDump "$dev"); then
        say luks_read "$dev"
        printf '%s\n' "$dump" | sed -n '/^Tokens:/,/^Digests:/s/^ *[0-9][0-9]*: *\([a-z].*\)/token=\1/p'
        command -v clevis >/dev/null && $as_root clevis luks list -d "$dev" | sed -n 's/^[0-9]*: *\([a-z0-9]*\).*/clevis=\1/p'
      fi
    done
    cat /etc/crypttab | sed -n 's/^ *\([^#[:space:]].*\)/crypttab=\1/p' ;;
  *)
    top=$(zfs get -H -o value encryptionroot "$source")
    case $top in '' | -) ;; *) say zfs_root "$top $(zfs get -H -o value keylocation "$top")" ;; esac ;;
esac
who | sed 's/^/person=/'
say end look

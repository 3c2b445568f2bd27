# Runs one command so that nothing of it outlives us. Arguments: a random word, the limit in seconds, the length of what comes on stdin, the command.
# stdin stays open as long as the command is wanted: its end (cancel, crash, lost link) kills the command's process group.
# `timeout` is the second belt, for a host that never learns that we are gone. Lines that begin with # are not sent.
w=$1 limit=$2 length=$3 line=$4
# Whatever the login shell printed comes before this word.
printf '%s\n' "$w"; printf '%s\n' "$w" >&2
# The command starts only when its whole input is here; the word ends it.
in=$(head -c "$length")
case $in in *"$w") in=${in%"$w"} ;; *) exit 70 ;; esac
own=setsid; command -v setsid >/dev/null 2>&1 || own=
bound="timeout -k 5 $limit"; command -v timeout >/dev/null 2>&1 || bound=
p= cut=
# TERM, a moment, KILL: a process that is deaf to TERM goes too. `-s`, because dash reads a `--` after `-TERM` as a process. Here and not in the watcher, which must not die with the group's leader.
end() { { kill -s TERM -- "-$p" || kill -s TERM "$p"; sleep 1; kill -s KILL -- "-$p" || kill -s KILL "$p"; } 2>/dev/null; }
trap 'cut=1; [ -z "$p" ] || end' USR1
go() { exec $own $bound sh -c "$line" 3<&-; }
exec 3<&0
if [ -n "$in" ]; then printf '%s' "$in" 2>/dev/null </dev/null 3<&- | go & p=$!; else go </dev/null & p=$!; fi
{ cat <&3 >/dev/null; kill -s USR1 $$; } >/dev/null 2>&1 </dev/null & watcher=$!
exec 3<&- </dev/null
[ -z "$cut" ] || end
wait "$p"; r=$?
# A signal interrupts `wait`: ask again while the child is there.
while kill -0 "$p" 2>/dev/null; do wait "$p"; r=$?; done
p=
kill "$watcher" 2>/dev/null
# The proof: without this line the status the peer reports means nothing.
printf '\n%s %d\n' "$w" "$r" >&2
exit "$r"

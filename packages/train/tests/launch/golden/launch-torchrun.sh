#!/bin/bash
# Job tour-1, written by yoriai train launch. Submit it from the folder it works in.

id=tour-1
place=build/launch/tour-1
nodes=2
requeues=20
limit=43200  # seconds the script itself counts; 0: it need not
stop_seconds=300
hostfile='my hosts'
job=$$
port=25741
yoriai_run=(yoriai run --set base.steps=50 --until base -- recipes/tour.yaml)
IFS= read -r -d '' yoriai_prepare <<'YORIAI_PREPARE'
source /etc/profile.d/modules.sh
source venv/bin/activate
export NCCL_SOCKET_IFNAME=bond0
export NOTE='it'"'"'s $(hostname)'
YORIAI_PREPARE

address_of() { echo "$1"; }
list_hosts() {
    local here
    if [ -n "$hostfile" ]; then
        mapfile -t hosts < <(awk 'NF && $1 !~ /^#/ && !seen[$1]++ {print $1}' "$hostfile")
    else
        hosts=()
        for ((here = 0; here < nodes; here++)); do hosts+=(localhost); done
    fi
}
start_others() {
    local rank pids=() pid code=0
    for ((rank = 1; rank < nodes; rank++)); do
        if [ "${hosts[rank]}" = localhost ]; then
            bash -c "$1" join "echo $((rank - 1))" &
        else
            ssh -o BatchMode=yes -- "${hosts[rank]}" "bash -s 'echo $((rank - 1))'" <<<"$1" &
        fi
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
    exit "$code"
}

queue_again() {
    note requeued "$$"
    exec bash "$place.sh"
}

# --- the same for every scheduler ---

mkdir -p "${place%/*}" && exec >>"$place.log" 2>&1 || exit 1
[ -e "$place.sh" ] || cp -- "$0" "$place.sh"
touch "$place.events"
attempt=$(($(grep -c $'\tstarted\t' "$place.events") + 1))
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
note() { printf '%s\t%s\t%s\t%s\n' "$(now)" "$1" "$attempt" "$2" >>"$place.events"; }
say() { printf '%s job %s: %s\n' "$(now)" "$id" "$1"; }
finish() {
    note ended "$1"
    exit "$1"
}
pause() { read -r -t "$1" <> <(:); }

note started "$job"
if grep -q $'\tcancelled\t' "$place.events"; then
    say 'it was cancelled'
    finish 143
fi
say "attempt $attempt as $job on $(hostname)"

# Runs a command after the preparation, in place of this (sub)shell.
prepared() {
    yoriai_command=("$@")
    set --
    eval "$yoriai_prepare" >&2
    if ! command -v "${yoriai_command[0]}" >/dev/null; then
        echo "${yoriai_command[0]} is not on PATH here; put into 'setup' what brings it there" >&2
        exit 127
    fi
    exec "${yoriai_command[@]}"
}

# Why the run was told to stop: '' (it was not), walltime, asked, lost (another node).
stopped=''
head=''
others=''
stop() {
    stopped=${stopped:-$1}
    [ -n "$head" ] && kill -TERM "$head" 2>/dev/null
}
helpers=()
signal_later() { # SIGNAL SECONDS
    (
        trap - USR1 USR2 TERM INT
        pause "$2"
        kill "-$1" "$head" 2>/dev/null
    ) &
    helpers+=($!)
}
at_limit() {
    say "the wall-time limit is near: the run is told to stop; training writes a checkpoint first"
    stop walltime
    signal_later KILL "$((stop_seconds > 120 ? stop_seconds - 60 : (stop_seconds + 1) / 2))"
}
when_others_end() {
    local code
    wait "$others"
    code=$?
    others=''
    [ "$code" = 0 ] && return
    say "another node gave up (exit code $code); its words are above"
    stopped=${stopped:-lost}
    # The head mostly finds out by itself, and then says more than a signal would.
    signal_later TERM 30
}
trap at_limit USR1
trap 'stop asked' TERM INT # scancel, qdel, a terminal: unless it was our own command, that is noted
trap when_others_end USR2

if ((nodes > 1)); then
    list_hosts
    if ((${#hosts[@]} < nodes)); then
        say "$nodes nodes are wanted and ${#hosts[@]} were found: ${hosts[*]}"
        finish 1
    fi
    hosts=("${hosts[@]:0:nodes}")
    address=$(address_of "${hosts[0]}")
    address=${address:-${hosts[0]}}
    [ "$address" = localhost ] && address=127.0.0.1
    if command -v getent >/dev/null && ! getent ahosts "$address" >/dev/null; then
        say "the address of the first node, $address, is found by no one here, so the nodes could\
 not meet; put the nodes' names into DNS or into /etc/hosts of every node"
        finish 1
    fi
    export YORIAI_JOB=$id.$attempt YORIAI_NODES=$nodes YORIAI_NODE_RANK=0
    export YORIAI_RENDEZVOUS=$address:$port
    printf -v join '%s\n' \
        "cd -- $(printf %q "$PWD") || exit 1" \
        "rank=\$(eval \"\$1\") || exit 1" \
        "export YORIAI_JOB=$YORIAI_JOB YORIAI_NODES=$nodes YORIAI_NODE_RANK=\$((rank + 1))" \
        "export YORIAI_RENDEZVOUS=$(printf %q "$YORIAI_RENDEZVOUS")" \
        'set --' \
        "$yoriai_prepare" \
        'exec yoriai train join </dev/null' # over ssh stdin is this text
    # A signal to the whole group is for the head: the others stay until its checkpoint is written.
    (
        trap '' TERM INT HUP
        start_others "$join"
    ) &
    others=$!
fi
prepared "${yoriai_run[@]}" &
head=$!
[ -n "$stopped" ] && kill -TERM "$head"

# A trap cuts wait short, so others watch the clock and the other nodes and send signals.
(
    watched=$others
    trap - USR1 USR2 TERM INT
    while kill -0 "$head" 2>/dev/null; do
        if ((limit > 0 && SECONDS >= limit - stop_seconds)); then
            kill -USR1 $$
            limit=0
        fi
        if [ -n "$watched" ] && ! kill -0 "$watched" 2>/dev/null; then
            kill -USR2 $$
            watched=''
        fi
        pause 1
    done
) &
helpers+=($!)
while kill -0 "$head" 2>/dev/null; do wait "$head"; done
wait "$head"
code=$?
if [ "$stopped" = asked ] && ! grep -q $'\tcancelled\t' "$place.events"; then
    note signalled ''
fi
note ended "$code"
kill "${helpers[@]}" 2>/dev/null
# The others see that line and leave.
if [ -n "$others" ]; then
    for ((left = 60; left > 0; left--)); do
        kill -0 "$others" 2>/dev/null || break
        pause 1
    done
    kill -TERM "$others" 2>/dev/null
    for ((left = 10; left > 0; left--)); do
        kill -0 "$others" 2>/dev/null || break
        pause 1
    done
    kill -KILL "$others" 2>/dev/null
fi

# 6: the run says its time was up; 137 and 143: it died of the signal. Others are its own failures.
if [ "$stopped" = walltime ] && [[ $code = 6 || $code = 137 || $code = 143 ]]; then
    if grep -q $'\tcancelled\t' "$place.events"; then
        say 'it was cancelled'
    elif ((attempt > requeues)); then
        note gave-up "$requeues"
        say "it was queued again $requeues times and is not done; raise requeues and launch it anew"
    else
        say 'back to the queue'
        queue_again && exit 0
    fi
fi
exit "$code"

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Second half of the start: devices, the project's files, the command.
# /run/lab is the folder that this machine shares with the one outside.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
exec < /dev/null > /dev/kmsg 2>&1
shared=/run/lab

finish() {
    mkdir -p $shared/results
    cp -r /run/results/. $shared/results/
    dmesg > $shared/results/dmesg.log
    echo "$1" > $shared/status.tmp
    mv $shared/status.tmp $shared/status
    sync
    /run/lab-base/busybox poweroff -f
}

fail() {
    echo "lab: $*"
    echo "$*" > $shared/failure
    finish 125
}

mkdir -p /dev/pts /dev/shm /run/results
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
while read -r folder; do
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$folder"
done < $shared/scratch-folders
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sfn /proc/self/fd /dev/fd
ln -sfn /proc/self/fd/0 /dev/stdin
ln -sfn /proc/self/fd/1 /dev/stdout
ln -sfn /proc/self/fd/2 /dev/stderr
hostname lab
ip link set lo up

# What outlives a restart of this machine is on a disk of its own.
if [ -b /dev/vdd ]; then
    mkdir -p /run/lab-disk
    mount -t ext4 /dev/vdd /run/lab-disk || fail 'the disk cannot be mounted'
    while read -r folder; do
        mkdir -p "$folder" "/run/lab-disk/$folder"
        mount --bind "/run/lab-disk/$folder" "$folder" || fail "no $folder"
    done < $shared/kept-folders
fi

# The project's files as they were when the lab was started, in memory.
tar -x -C / -f /dev/vdc || fail 'the project cannot be unpacked'
number=0
while read -r tree; do
    mount --bind "/run/lab-python/$number" "$tree" || fail "no $tree"
    number=$((number + 1))
done < $shared/python-trees

# Modules that were built for this machine take the place of Debian's.
for built in $shared/built/*.ko; do
    [ -e "$built" ] || continue
    module=$(basename "$built" .ko)
    mount --bind "$built" "$(modinfo -n "$module")" || fail "no $module"
done
mkdir -p /etc/modprobe.d
cp $shared/modprobe.conf /etc/modprobe.d/lab.conf

if [ -z "$(grep -w nolabudev /proc/cmdline)" ]; then
    mkdir -p /run/udev
    /usr/lib/systemd/systemd-udevd --daemon || fail 'udevd does not start'
fi
modprobe -a igb igbvf vfio-pci virtio_net $(cat $shared/modules) || fail 'a driver cannot be loaded'

# Which card is which: a function behind the root port named here.
{
    printf '{"name": "%s", ' "$(cat $shared/topology-name)"
    separator='"pfs": ['
    while read -r name wire vfs port function; do
        path=$(echo /sys/bus/pci/devices/"$port"/0000:??:00."$function")
        [ -e "$path/sriov_totalvfs" ] || fail "no PF behind $port"
        printf '%s{"name": "%s", "wire": "%s", "vfs": %s, "pci": "%s"}' \
            "$separator" "$name" "$wire" "$vfs" "${path##*/}"
        separator=', '
    done < $shared/topology
    printf '], "plain": ['
    separator=
    while read -r name wire mac port; do
        path=$(echo /sys/bus/pci/devices/"$port"/0000:??:00.0)
        [ -e "$path/vendor" ] || fail "no card behind $port"
        printf '%s{"name": "%s", "wire": "%s", "mac": "%s", "pci": "%s"}' \
            "$separator" "$name" "$wire" "$mac" "${path##*/}"
        separator=', '
    done < $shared/plain
    printf ']}\n'
} > /run/topology.json
if command -v udevadm > /dev/null && [ -d /run/udev ]; then
    udevadm trigger --action=add --subsystem-match=net \
        --subsystem-match=vfio --subsystem-match=mem
    udevadm settle --timeout=60
fi
if [ -s $shared/network ]; then
    read -r address gateway < $shared/network
    card=$(basename /sys/bus/virtio/drivers/virtio_net/virtio*/net/*)
    [ -e "/sys/class/net/$card" ] || fail 'no network card'
    ip link set "$card" up
    ip address add "$address" dev "$card"
    ip route add default via "$gateway"
fi
export KURYR_SRIOV_LAB=/run/topology.json
export KURYR_SRIOV_LAB_RESULTS=/run/results

: > $shared/started
terminal=/dev/hvc0
[ -c $terminal ] || fail "no $terminal"
if [ -e $shared/interactive ]; then
    setsid -c -w bash $shared/command < $terminal > $terminal 2>&1
else
    stty -F $terminal raw -echo
    setsid -w bash $shared/command < /dev/null > $terminal 2>&1
fi
status=$?
[ -e $shared/interactive ] || sleep 0.2
finish $status

#!/busybox sh
# SPDX-License-Identifier: Apache-2.0
# First process of the lab's machine: puts the root file system together,
# the host's own tree below, what the machine writes above, in memory.
/busybox mkdir -p /bin /dev /proc /sys
/busybox --install -s /bin
export PATH=/bin

fail() {
    echo "lab: $*" > /dev/kmsg
    poweroff -f
}

mount -t devtmpfs dev /dev || mount -t tmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    insmod "$module" || fail "cannot load $module"
done < /modules.list

tries=0
until [ -b /dev/vdc ]; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail 'no disks'
    sleep 0.1
done
plan9=trans=virtio,version=9p2000.L,msize=512000
mount -t ext4 -o ro /dev/vda /base || fail 'no base image'
mount -t 9p -o ro,cache=loose,$plan9 host /host || fail 'no host tree'
mount -t tmpfs -o size=75% up /up
mkdir /up/upper /up/work
mount -t overlay -o lowerdir=/base/tools:/host,upperdir=/up/upper,workdir=/up/work \
    root /root || fail 'no overlay'

mkdir -p /root/run
mount -t tmpfs -o nosuid tmpfs /root/run
mkdir -p /root/run/lab /root/run/lab-base /root/run/lab-python
mount -o bind /base /root/run/lab-base
mount -t ext4 -o ro /dev/vdb /root/run/lab-python || fail 'no Python image'
mount -t 9p -o "rw,$plan9" lab /root/run/lab || fail 'no exchange folder'
mkdir -p /root/usr/lib/modules
mount -o bind /base/modules /root/usr/lib/modules
mount -o move /dev /root/dev
mount -o move /proc /root/proc
mount -o move /sys /root/sys
exec switch_root /root /bin/bash /run/lab/start.sh

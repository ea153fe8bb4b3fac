/* SPDX-License-Identifier: Apache-2.0
 * Opens a VF by way of VFIO, as a DPDK driver does: container, group, IOMMU,
 * device, and reads its vendor and device id from its configuration space.
 *
 * usage: open-vfio GROUP ADDRESS
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int need(int value, const char *what)
{
    if (value < 0) {
        perror(what);
        exit(1);
    }
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: open-vfio GROUP ADDRESS\n", stderr);
        return 2;
    }
    char path[64];
    snprintf(path, sizeof path, "/dev/vfio/%s", argv[1]);
    int container = need(open("/dev/vfio/vfio", O_RDWR), "/dev/vfio/vfio");
    int group = need(open(path, O_RDWR), path);
    struct vfio_group_status status = {.argsz = sizeof status};
    need(ioctl(group, VFIO_GROUP_GET_STATUS, &status), "group status");
    if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
        fputs("group is not viable\n", stderr);
        return 1;
    }
    need(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "set container");
    need(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "set IOMMU");
    /* memory that the VF may write to: what IPC_LOCK is for */
    size_t size = 1 << 21;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof map,
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (unsigned long)memory,
        .size = size,
    };
    need(ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "map memory");
    int device = need(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[2]), argv[2]);
    struct vfio_device_info info = {.argsz = sizeof info};
    need(ioctl(device, VFIO_DEVICE_GET_INFO, &info), "device info");
    struct vfio_region_info region = {
        .argsz = sizeof region,
        .index = VFIO_PCI_CONFIG_REGION_INDEX,
    };
    need(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region), "region");
    unsigned short id[2];
    if (pread(device, id, sizeof id, (off_t)region.offset) != sizeof id) {
        perror("configuration space");
        return 1;
    }
    printf("%04x:%04x %u regions\n", id[0], id[1], info.num_regions);
    return 0;
}

// Copyright (c) 2026 The vfio.migration authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Holds mediated devices as a VM does: a QEMU command line, and an open VFIO device for each -device of it.
 *
 *   qemu-system-hold -name guest=vm1 -uuid UUID -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/UUID ...
 *
 * Goes to the background once it holds them all, and stays there until it is killed.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char option[] = "vfio-pci,sysfsdev=";

static void hold(int container, const char *device)
{
	char link[PATH_MAX], group[PATH_MAX], node[PATH_MAX];
	ssize_t length;
	int fd;

	snprintf(link, sizeof(link), "%s/iommu_group", device);
	length = readlink(link, group, sizeof(group) - 1);
	if (length < 0)
		err(1, "%s", link);
	group[length] = 0;
	if (snprintf(node, sizeof(node), "/dev/vfio%s", strrchr(group, '/')) >= (int)sizeof(node))
		errx(1, "%s is too long", group);
	fd = open(node, O_RDWR);
	if (fd < 0)
		err(1, "%s", node);
	if (ioctl(fd, VFIO_GROUP_SET_CONTAINER, &container))
		err(1, "%s: VFIO_GROUP_SET_CONTAINER", node);
	/* Once for the container: with the second group it has its IOMMU model already. */
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) && errno != EINVAL)
		err(1, "VFIO_SET_IOMMU");
	if (ioctl(fd, VFIO_GROUP_GET_DEVICE_FD, strrchr(device, '/') + 1) < 0)
		err(1, "%s: VFIO_GROUP_GET_DEVICE_FD", device);
}

int main(int argc, char **argv)
{
	int container = open("/dev/vfio/vfio", O_RDWR);
	int i, held = 0;

	if (container < 0)
		err(1, "/dev/vfio/vfio");
	for (i = 1; i < argc; i++) {
		if (strncmp(argv[i], option, strlen(option)))
			continue;
		hold(container, argv[i] + strlen(option));
		held++;
	}
	if (!held)
		errx(1, "no -device %s/sys/bus/mdev/devices/UUID", option);
	if (daemon(0, 0))
		err(1, "daemon");
	for (;;)
		pause();
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdev_lab: parents of mediated devices whose types and instances have a migration_version attribute, as the patch series
 * 20200413055201.27053-1 of April 2020 describes it. No mainline driver ships it, so the truth has to be built.
 *
 *   read   the string of whoever would leave from here, or an errno
 *   write  accepted if whoever printed that string may come here, else EINVAL
 *
 * Parents are platform devices (mdev_lab.N) and the PCI functions "edu" and "pci-testdev" of QEMU. What they do is turned
 * by files below debugfs/mdev_lab, and what was asked of them is counted there; README.md lists them.
 *
 * Copyright (c) 2026 The vfio.migration authors
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vfio.h>
#include <linux/wait.h>

#define MAX_PLATFORM	8
#define MAX_MODELS	16
#define COUNTED		2	/* instances on a parent that the mdev core counts */
#define READ_OP		BIT(0)
#define WRITE_OP	BIT(1)

/* ------------------------------------------------------------------ what is fixed when the module is loaded */

static unsigned int platform_parents = 3;
module_param(platform_parents, uint, 0444);
MODULE_PARM_DESC(platform_parents, "platform devices to make (0 to 8)");

static char *models[MAX_MODELS] = { "shared", "exclusive", "counted" };
static int nr_models = 3;
module_param_array(models, charp, &nr_models, 0444);
MODULE_PARM_DESC(models, "capacity of each parent, platform devices first: shared, exclusive or counted; from the start again at the end");

static char *version = "4.2";
module_param(version, charp, 0444);
MODULE_PARM_DESC(version, "MAJOR.MINOR of all parents to begin with");

static char *rule = "older";
module_param(rule, charp, 0444);
MODULE_PARM_DESC(rule, "what all parents accept to begin with: exact, older, asymmetric or lying");

static unsigned int bare_types;
module_param(bare_types, uint, 0444);
MODULE_PARM_DESC(bare_types, "bit N: type N and its instances have no migration_version");

/* ------------------------------------------------------------------ types, faults, parents */

enum lab_model { SHARED, EXCLUSIVE, CORE_COUNTED };
static const char * const model_names[] = { "shared", "exclusive", "counted" };

enum lab_rule { EXACT, OLDER, ASYMMETRIC, LYING };
static const char * const rule_names[] = { "exact", "older", "asymmetric", "lying" };

enum lab_level { TYPE, DEVICE, NR_LEVELS };
static const char * const level_names[] = { "type", "device" };

static const struct lab_def {
	const char *name, *pretty;
	unsigned int cost;
} defs[] = {
	{ "A1", "MDEVLAB A-1Q", 1 },
	{ "A2", "MDEVLAB A-2Q", 2 },
	{ "A4", "MDEVLAB A-4Q", 4 },
};
#define NR_TYPES	ARRAY_SIZE(defs)

struct lab_fault {
	const char *name;
	int error;
	bool hangs;
	void (*mangle)(char *page, ssize_t *len);
};

struct lab_count {
	unsigned int reads, writes, accepts, rejects;
};

/* What the migration_version of a type does, or that of its instances. */
struct lab_node {
	const struct lab_fault *fault;
	unsigned int ops;	/* that the fault strikes */
	unsigned int left;	/* times that it still strikes; 0: always */
	u32 delay_ms;
	struct lab_count count;
};

struct lab_type {
	struct mdev_type type;
	const struct lab_def *def;
	struct lab_parent *lab;
	unsigned int instances;
	bool has_attr;
	struct lab_node nodes[NR_LEVELS];
};

struct lab_parent {
	struct mdev_parent parent;
	struct device *dev;
	struct list_head link;
	struct list_head mdevs;
	struct dentry *dir;
	enum lab_model model;
	enum lab_rule rule;
	u32 capacity;
	unsigned int used;
	u32 create_errno;
	u32 bind_delay_ms;
	char head[16];
	char version[32];
	char accepts[128];
	struct lab_type types[NR_TYPES];
	struct mdev_type *typep[NR_TYPES];
};

struct lab_mdev {
	struct vfio_device vdev;
	struct lab_type *lt;
	struct mdev_device *mdev;
	struct list_head link;
	struct lab_count count;
};

static LIST_HEAD(parents);
static unsigned int next_parent;
static struct dentry *root;
static DEFINE_MUTEX(lab_lock);	/* all of the above */
static DECLARE_WAIT_QUEUE_HEAD(released);

static struct lab_type *to_lab(struct mdev_type *type)
{
	return container_of(type, struct lab_type, type);
}

/* ------------------------------------------------------------------ faults */

static void no_bytes(char *page, ssize_t *len)
{
	*len = 0;
}

static void only_newline(char *page, ssize_t *len)
{
	page[0] = '\n';
	*len = 1;
}

static void nul_inside(char *page, ssize_t *len)
{
	page[4] = 0;
}

static void not_ascii(char *page, ssize_t *len)
{
	memcpy(page, "\xff\xfe\xc3\x28", 4);
}

static void no_newline(char *page, ssize_t *len)
{
	--*len;
}

static void full_page(char *page, ssize_t *len)
{
	memset(page + *len - 1, 'x', PAGE_SIZE - *len);
	*len = PAGE_SIZE - 1;
}

static void two_lines(char *page, ssize_t *len)
{
	*len += sysfs_emit_at(page, *len, "second line\n");
}

static const struct lab_fault faults[] = {
	{ .name = "none" },
	{ .name = "ENODEV", .error = -ENODEV },
	{ .name = "EIO", .error = -EIO },
	{ .name = "EAGAIN", .error = -EAGAIN },
	{ .name = "EPERM", .error = -EPERM },
	{ .name = "hang", .hangs = true },
	{ .name = "empty", .mangle = no_bytes },
	{ .name = "newline", .mangle = only_newline },
	{ .name = "nul", .mangle = nul_inside },
	{ .name = "notascii", .mangle = not_ascii },
	{ .name = "bare", .mangle = no_newline },
	{ .name = "full", .mangle = full_page },
	{ .name = "multiline", .mangle = two_lines },
};
#define NO_FAULT	(&faults[0])

static void count(struct lab_count *count, unsigned int op)
{
	if (op == READ_OP)
		count->reads++;
	else
		count->writes++;
}

/* Count an access and let it suffer: the fault that is left for the caller, an errno or a mangled answer. */
static const struct lab_fault *enter(struct lab_node *node, struct lab_count *own, unsigned int op)
{
	const struct lab_fault *fault = NO_FAULT;
	u32 delay;

	mutex_lock(&lab_lock);
	count(&node->count, op);
	if (own)
		count(own, op);
	delay = node->delay_ms;
	if (node->ops & op)
		fault = node->fault;
	if (fault != NO_FAULT && !fault->hangs && node->left && !--node->left)
		node->fault = NO_FAULT;
	mutex_unlock(&lab_lock);

	if (delay)
		msleep(delay);
	if (fault->hangs) {
		/* In state D, and not even SIGKILL ends it. */
		wait_event(released, !READ_ONCE(node->fault)->hangs);
		return NO_FAULT;
	}
	return fault;
}

/* ------------------------------------------------------------------ migration_version */

static ssize_t show(struct lab_type *lt, enum lab_level level, struct lab_count *own, char *page)
{
	const struct lab_fault *fault = enter(&lt->nodes[level], own, READ_OP);
	ssize_t len;

	if (fault->error)
		return fault->error;
	mutex_lock(&lab_lock);
	len = sysfs_emit(page, "%s-%s-%s\n", lt->lab->head, lt->def->name, lt->lab->version);
	mutex_unlock(&lab_lock);
	if (fault->mangle)
		fault->mangle(page, &len);
	return len;
}

static bool same(const char *text, const char *bytes, size_t len)
{
	return strlen(text) == len && !memcmp(text, bytes, len);
}

/* Vendor, type and major version as here, a minor version that is not newer. */
static bool not_newer(struct lab_type *lt, const char *bytes, size_t len)
{
	unsigned int major, minor, our_major, our_minor;
	char head[32], tail[32];
	size_t n = scnprintf(head, sizeof(head), "%s-%s-", lt->lab->head, lt->def->name);

	if (len <= n || len - n >= sizeof(tail) || memcmp(bytes, head, n))
		return false;
	memcpy(tail, bytes + n, len - n);
	tail[len - n] = 0;
	return sscanf(tail, "%u.%u", &major, &minor) == 2 &&
	       sscanf(lt->lab->version, "%u.%u", &our_major, &our_minor) == 2 &&
	       major == our_major && minor <= our_minor;
}

static bool accepted(struct lab_type *lt, enum lab_level level, const char *bytes, size_t len)
{
	char own[96];

	if (len && bytes[len - 1] == '\n')
		len--;
	switch (lt->lab->rule) {
	case EXACT:
		scnprintf(own, sizeof(own), "%s-%s-%s", lt->lab->head, lt->def->name, lt->lab->version);
		return same(own, bytes, len);
	case ASYMMETRIC:
		return same(lt->lab->accepts, bytes, len);
	case LYING:
		return level == TYPE && not_newer(lt, bytes, len);
	default:
		return not_newer(lt, bytes, len);
	}
}

static ssize_t store(struct lab_type *lt, enum lab_level level, struct lab_count *own, const char *bytes, size_t len)
{
	struct lab_node *node = &lt->nodes[level];
	const struct lab_fault *fault = enter(node, own, WRITE_OP);
	bool ok;

	if (fault->error)
		return fault->error;
	mutex_lock(&lab_lock);
	ok = accepted(lt, level, bytes, len);
	if (ok) {
		node->count.accepts++;
		if (own)
			own->accepts++;
	} else {
		node->count.rejects++;
		if (own)
			own->rejects++;
	}
	mutex_unlock(&lab_lock);
	return ok ? len : -EINVAL;
}

/*
 * The sysfs_ops of a type's kobject take every attribute for one of these (drivers/vfio/mdev/mdev_sysfs.c). The kernel
 * keeps the structure to itself since 6.1, with the layout that it had in <linux/mdev.h> before.
 */
struct mdev_type_attribute {
	struct attribute attr;
	ssize_t (*show)(struct mdev_type *type, struct mdev_type_attribute *attr, char *page);
	ssize_t (*store)(struct mdev_type *type, struct mdev_type_attribute *attr, const char *bytes, size_t len);
};

static ssize_t type_show(struct mdev_type *type, struct mdev_type_attribute *attr, char *page)
{
	return show(to_lab(type), TYPE, NULL, page);
}

static ssize_t type_store(struct mdev_type *type, struct mdev_type_attribute *attr, const char *bytes, size_t len)
{
	return store(to_lab(type), TYPE, NULL, bytes, len);
}

static struct mdev_type_attribute type_attr = {
	.attr = { .name = "migration_version", .mode = 0644 },
	.show = type_show,
	.store = type_store,
};

static ssize_t migration_version_show(struct device *dev, struct device_attribute *attr, char *page)
{
	struct lab_mdev *lm = dev_get_drvdata(dev);

	return show(lm->lt, DEVICE, &lm->count, page);
}

static ssize_t migration_version_store(struct device *dev, struct device_attribute *attr, const char *bytes, size_t len)
{
	struct lab_mdev *lm = dev_get_drvdata(dev);

	return store(lm->lt, DEVICE, &lm->count, bytes, len);
}
static DEVICE_ATTR_RW(migration_version);

static struct attribute *mdev_attrs[] = {
	&dev_attr_migration_version.attr,
	NULL,
};

static umode_t mdev_attr_mode(struct kobject *kobj, struct attribute *attr, int n)
{
	return to_lab(to_mdev_device(kobj_to_dev(kobj))->type)->has_attr ? attr->mode : 0;
}

static const struct attribute_group mdev_group = {
	.attrs = mdev_attrs,
	.is_visible = mdev_attr_mode,
};

static const struct attribute_group *mdev_groups[] = {
	&mdev_group,
	NULL,
};

/* ------------------------------------------------------------------ capacity */

/* How many more instances of a type fit; called with the lock held. */
static unsigned int room(struct lab_type *lt)
{
	struct lab_parent *lab = lt->lab;
	unsigned int cost = lt->def->cost;
	unsigned int i;

	for (i = 0; lab->model == EXCLUSIVE && i < NR_TYPES; i++)
		if (lab->types[i].instances && &lab->types[i] != lt)
			return 0;
	return lab->used >= lab->capacity ? 0 : (lab->capacity - lab->used) / cost;
}

static unsigned int get_available(struct mdev_type *type)
{
	unsigned int n;

	mutex_lock(&lab_lock);
	n = room(to_lab(type));
	mutex_unlock(&lab_lock);
	return n;
}

static ssize_t show_description(struct mdev_type *type, char *page)
{
	struct lab_type *lt = to_lab(type);

	return sysfs_emit(page, "cost=%u, capacity=%u, max_instance=%u\n", lt->def->cost, lt->lab->capacity,
			  lt->lab->capacity / lt->def->cost);
}

static int take_room(struct lab_type *lt)
{
	struct lab_parent *lab = lt->lab;
	int ret = 0;

	mutex_lock(&lab_lock);
	if (lab->create_errno)
		ret = -(int)lab->create_errno;
	else if (lab->model != CORE_COUNTED && !room(lt))
		ret = lab->model == EXCLUSIVE ? -EINVAL : -ENOSPC;
	if (!ret) {
		lab->used += lt->def->cost;
		lt->instances++;
	}
	mutex_unlock(&lab_lock);
	return ret;
}

static void give_room(struct lab_type *lt)
{
	mutex_lock(&lab_lock);
	lt->lab->used -= lt->def->cost;
	lt->instances--;
	mutex_unlock(&lab_lock);
}

/* ------------------------------------------------------------------ instances */

static int vdev_init(struct vfio_device *vdev)
{
	struct lab_mdev *lm = container_of(vdev, struct lab_mdev, vdev);
	struct lab_type *lt = to_lab(to_mdev_device(vdev->dev)->type);
	int ret = take_room(lt);

	if (!ret)
		lm->lt = lt;
	return ret;
}

static void vdev_release(struct vfio_device *vdev)
{
	struct lab_mdev *lm = container_of(vdev, struct lab_mdev, vdev);

	give_room(lm->lt);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
	vfio_free_device(vdev);	/* later on the core does it */
#endif
}

static long vdev_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	size_t size = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (cmd == VFIO_DEVICE_RESET)
		return 0;
	if (cmd != VFIO_DEVICE_GET_INFO)
		return -ENOTTY;
	if (copy_from_user(&info, (void __user *)arg, size))
		return -EFAULT;
	if (info.argsz < size)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = 0;
	info.num_irqs = 0;
	return copy_to_user((void __user *)arg, &info, size) ? -EFAULT : 0;
}

static const struct vfio_device_ops vdev_ops = {
	.name = "vfio-mdev-lab",
	.init = vdev_init,
	.release = vdev_release,
	.ioctl = vdev_ioctl,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
#endif
};

static int mdev_probe(struct mdev_device *mdev)
{
	struct lab_parent *lab = to_lab(mdev->type)->lab;
	struct lab_mdev *lm;
	int ret;

	lm = vfio_alloc_device(lab_mdev, vdev, &mdev->dev, &vdev_ops);
	if (IS_ERR(lm))
		return PTR_ERR(lm);
	if (lab->bind_delay_ms)
		msleep(lab->bind_delay_ms);
	ret = vfio_register_emulated_iommu_dev(&lm->vdev);
	if (ret) {
		vfio_put_device(&lm->vdev);
		return ret;
	}
	lm->mdev = mdev;
	dev_set_drvdata(&mdev->dev, lm);
	mutex_lock(&lab_lock);
	list_add_tail(&lm->link, &lab->mdevs);
	mutex_unlock(&lab_lock);
	return 0;
}

static void mdev_remove(struct mdev_device *mdev)
{
	struct lab_mdev *lm = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&lm->vdev);
	mutex_lock(&lab_lock);
	list_del(&lm->link);
	mutex_unlock(&lab_lock);
	vfio_put_device(&lm->vdev);
}

static struct mdev_driver own_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.driver = {
		.name = "mdev_lab_mdev",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = mdev_groups,
	},
	.probe = mdev_probe,
	.remove = mdev_remove,
	.get_available = get_available,
	.show_description = show_description,
};

/* Without get_available, the core counts the instances of a parent and answers EUSERS. */
static struct mdev_driver counted_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.max_instances = COUNTED,
	.driver = {
		.name = "mdev_lab_counted",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = mdev_groups,
	},
	.probe = mdev_probe,
	.remove = mdev_remove,
};

/* ------------------------------------------------------------------ the files in debugfs */

/* What was written, less one newline at its end. */
static int get_text(char *text, size_t size, const char __user *from, size_t len)
{
	if (len >= size)
		return -E2BIG;
	if (copy_from_user(text, from, len))
		return -EFAULT;
	if (len && text[len - 1] == '\n')
		len--;
	text[len] = 0;
	return 0;
}

static ssize_t put_text(const char *text, char __user *to, size_t len, loff_t *pos)
{
	char line[160];

	return simple_read_from_buffer(to, len, pos, line, scnprintf(line, sizeof(line), "%s\n", text));
}

#define LAB_FILE(name)						\
static const struct file_operations name##_fops = {		\
	.owner = THIS_MODULE,					\
	.open = simple_open,					\
	.read = name##_read,					\
	.write = name##_write,					\
	.llseek = default_llseek,				\
}

static ssize_t rule_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct lab_parent *lab = file->private_data;

	return put_text(rule_names[lab->rule], to, len, pos);
}

static ssize_t rule_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	struct lab_parent *lab = file->private_data;
	char text[16];
	int ret = get_text(text, sizeof(text), from, len);

	if (!ret)
		ret = sysfs_match_string(rule_names, text);
	if (ret < 0)
		return ret;
	mutex_lock(&lab_lock);
	lab->rule = ret;
	mutex_unlock(&lab_lock);
	return len;
}
LAB_FILE(rule);

#define LAB_TEXT(field)										\
static ssize_t field##_read(struct file *file, char __user *to, size_t len, loff_t *pos)	\
{												\
	struct lab_parent *lab = file->private_data;						\
	char text[sizeof(lab->field)];								\
												\
	mutex_lock(&lab_lock);									\
	strscpy(text, lab->field, sizeof(text));						\
	mutex_unlock(&lab_lock);								\
	return put_text(text, to, len, pos);							\
}												\
												\
static ssize_t field##_write(struct file *file, const char __user *from, size_t len, loff_t *pos)	\
{												\
	struct lab_parent *lab = file->private_data;						\
	char text[sizeof(lab->field)];								\
	int ret = get_text(text, sizeof(text), from, len);					\
												\
	if (ret)										\
		return ret;									\
	mutex_lock(&lab_lock);									\
	strscpy(lab->field, text, sizeof(lab->field));						\
	mutex_unlock(&lab_lock);								\
	return len;										\
}												\
LAB_FILE(field)

LAB_TEXT(version);
LAB_TEXT(accepts);

static ssize_t fault_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct lab_node *node = file->private_data;
	char text[64];

	mutex_lock(&lab_lock);
	scnprintf(text, sizeof(text), "%s%s%s %u", node->fault->name, node->ops & READ_OP ? " read" : "",
		  node->ops & WRITE_OP ? " write" : "", node->left);
	mutex_unlock(&lab_lock);
	return put_text(text, to, len, pos);
}

/* NAME [read|write|any [TIMES]] */
static ssize_t fault_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	struct lab_node *node = file->private_data;
	char text[64], name[16] = "", op[8] = "any";
	unsigned int left = 0, ops = READ_OP | WRITE_OP;
	int i, ret = get_text(text, sizeof(text), from, len);

	if (ret)
		return ret;
	if (sscanf(text, "%15s %7s %u", name, op, &left) < 1)
		return -EINVAL;
	if (!strcmp(op, "read"))
		ops = READ_OP;
	else if (!strcmp(op, "write"))
		ops = WRITE_OP;
	else if (strcmp(op, "any"))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (strcmp(faults[i].name, name))
			continue;
		mutex_lock(&lab_lock);
		node->ops = ops;
		node->left = left;
		WRITE_ONCE(node->fault, &faults[i]);
		mutex_unlock(&lab_lock);
		wake_up_all(&released);
		return len;
	}
	return -EINVAL;
}
LAB_FILE(fault);

static void print_count(struct seq_file *seq, struct lab_parent *lab, const char *node, const char *level,
			const struct lab_count *count)
{
	seq_printf(seq, "%s %s %s reads=%u writes=%u accepts=%u rejects=%u\n", dev_name(lab->dev), node, level,
		   count->reads, count->writes, count->accepts, count->rejects);
}

/* PARENT TYPE type|device ...: the type's own node, all its instances' together; PARENT UUID instance ... */
static int counters_show(struct seq_file *seq, void *unused)
{
	struct lab_parent *lab;
	struct lab_mdev *lm;
	int i, level;

	mutex_lock(&lab_lock);
	list_for_each_entry(lab, &parents, link) {
		for (i = 0; i < NR_TYPES; i++)
			for (level = 0; level < NR_LEVELS; level++)
				print_count(seq, lab, kobject_name(&lab->types[i].type.kobj), level_names[level],
					    &lab->types[i].nodes[level].count);
		list_for_each_entry(lm, &lab->mdevs, link)
			print_count(seq, lab, dev_name(&lm->mdev->dev), "instance", &lm->count);
	}
	mutex_unlock(&lab_lock);
	return 0;
}

static int counters_open(struct inode *inode, struct file *file)
{
	return single_open(file, counters_show, NULL);
}

/* Whatever is written: count from here. */
static ssize_t counters_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	struct lab_parent *lab;
	struct lab_mdev *lm;
	int i, level;

	mutex_lock(&lab_lock);
	list_for_each_entry(lab, &parents, link) {
		for (i = 0; i < NR_TYPES; i++)
			for (level = 0; level < NR_LEVELS; level++)
				memset(&lab->types[i].nodes[level].count, 0, sizeof(struct lab_count));
		list_for_each_entry(lm, &lab->mdevs, link)
			memset(&lm->count, 0, sizeof(lm->count));
	}
	mutex_unlock(&lab_lock);
	return len;
}

static const struct file_operations counters_fops = {
	.owner = THIS_MODULE,
	.open = counters_open,
	.read = seq_read,
	.write = counters_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static void make_files(struct lab_parent *lab)
{
	int i, level;

	lab->dir = debugfs_create_dir(dev_name(lab->dev), root);
	debugfs_create_file("rule", 0644, lab->dir, lab, &rule_fops);
	debugfs_create_file("version", 0644, lab->dir, lab, &version_fops);
	debugfs_create_file("accepts", 0644, lab->dir, lab, &accepts_fops);
	debugfs_create_u32("capacity", 0644, lab->dir, &lab->capacity);
	debugfs_create_u32("create_errno", 0644, lab->dir, &lab->create_errno);
	debugfs_create_u32("bind_delay_ms", 0644, lab->dir, &lab->bind_delay_ms);
	for (i = 0; i < NR_TYPES; i++) {
		struct dentry *type = debugfs_create_dir(kobject_name(&lab->types[i].type.kobj), lab->dir);

		for (level = 0; level < NR_LEVELS; level++) {
			struct dentry *dir = debugfs_create_dir(level_names[level], type);
			struct lab_node *node = &lab->types[i].nodes[level];

			debugfs_create_file("fault", 0644, dir, node, &fault_fops);
			debugfs_create_u32("delay_ms", 0644, dir, &node->delay_ms);
		}
	}
}

/* ------------------------------------------------------------------ parents */

static void unregister_parent(void *data)
{
	struct lab_parent *lab = data;
	int i;

	for (i = 0; i < NR_TYPES; i++)
		if (lab->types[i].has_attr)
			sysfs_remove_file(&lab->types[i].type.kobj, &type_attr.attr);
	mdev_unregister_parent(&lab->parent);
	debugfs_remove_recursive(lab->dir);
	mutex_lock(&lab_lock);
	list_del(&lab->link);
	mutex_unlock(&lab_lock);
}

static struct lab_parent *new_parent(struct device *dev)
{
	struct lab_parent *lab = devm_kzalloc(dev, sizeof(*lab), GFP_KERNEL);
	int i, level;

	if (!lab)
		return NULL;
	lab->dev = dev;
	INIT_LIST_HEAD(&lab->mdevs);
	lab->model = sysfs_match_string(model_names, models[next_parent++ % nr_models]);
	lab->rule = sysfs_match_string(rule_names, rule);
	lab->capacity = 4;
	strscpy(lab->version, version, sizeof(lab->version));
	if (dev_is_pci(dev))
		scnprintf(lab->head, sizeof(lab->head), "%04x-%04x", to_pci_dev(dev)->vendor, to_pci_dev(dev)->device);
	else
		strscpy(lab->head, "platform", sizeof(lab->head));
	for (i = 0; i < NR_TYPES; i++) {
		struct lab_type *lt = &lab->types[i];

		lt->def = &defs[i];
		lt->lab = lab;
		lt->type.sysfs_name = defs[i].name;
		lt->type.pretty_name = defs[i].pretty;
		lt->has_attr = !(bare_types & BIT(i));
		for (level = 0; level < NR_LEVELS; level++)
			lt->nodes[level].fault = NO_FAULT;
		lab->typep[i] = &lt->type;
	}
	return lab;
}

static int register_parent(struct device *dev)
{
	struct lab_parent *lab = new_parent(dev);
	struct mdev_driver *driver;
	int i, ret;

	if (!lab)
		return -ENOMEM;
	driver = lab->model == CORE_COUNTED ? &counted_driver : &own_driver;
	ret = mdev_register_parent(&lab->parent, dev, driver, lab->typep, NR_TYPES);
	if (ret)
		return ret;
	for (i = 0; i < NR_TYPES; i++)
		if (lab->types[i].has_attr && sysfs_create_file(&lab->types[i].type.kobj, &type_attr.attr))
			lab->types[i].has_attr = false;
	mutex_lock(&lab_lock);
	list_add_tail(&lab->link, &parents);
	mutex_unlock(&lab_lock);
	make_files(lab);
	return devm_add_action_or_reset(dev, unregister_parent, lab);
}

static int platform_probe_parent(struct platform_device *pdev)
{
	return register_parent(&pdev->dev);
}

static struct platform_driver platform_driver = {
	.probe = platform_probe_parent,
	.driver.name = "mdev_lab",
};

static int pci_probe_parent(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret = pcim_enable_device(pdev);

	return ret ? ret : register_parent(&pdev->dev);
}

/* No MODULE_DEVICE_TABLE: udev shall not load the module before the fleet has said with which parameters. */
static const struct pci_device_id pci_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },	/* edu */
	{ PCI_DEVICE(0x1b36, 0x0005) },	/* pci-testdev */
	{ }
};

static struct pci_driver pci_driver = {
	.name = "mdev_lab",
	.id_table = pci_ids,
	.probe = pci_probe_parent,
};

/* ------------------------------------------------------------------ the module */

static struct platform_device *platform_devices[MAX_PLATFORM];

static void remove_platform_devices(unsigned int n)
{
	while (n--)
		platform_device_unregister(platform_devices[n]);
}

static int check_parameters(void)
{
	int i;

	for (i = 0; i < nr_models; i++)
		if (sysfs_match_string(model_names, models[i]) < 0)
			return -EINVAL;
	if (!nr_models || platform_parents > MAX_PLATFORM || sysfs_match_string(rule_names, rule) < 0)
		return -EINVAL;
	return 0;
}

static int make_parents(void)
{
	unsigned int i;
	int ret = platform_driver_register(&platform_driver);

	if (ret)
		return ret;
	for (i = 0; i < platform_parents; i++) {
		platform_devices[i] = platform_device_register_simple("mdev_lab", i, NULL, 0);
		if (IS_ERR(platform_devices[i])) {
			ret = PTR_ERR(platform_devices[i]);
			goto fail;
		}
	}
	ret = pci_register_driver(&pci_driver);
	if (!ret)
		return 0;
fail:
	remove_platform_devices(i);
	platform_driver_unregister(&platform_driver);
	return ret;
}

static int __init lab_init(void)
{
	int ret = check_parameters();

	if (ret) {
		pr_err("a parameter has a value that the driver does not know\n");
		return ret;
	}
	root = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("counters", 0644, root, NULL, &counters_fops);
	ret = mdev_register_driver(&own_driver);
	if (ret)
		goto no_files;
	ret = mdev_register_driver(&counted_driver);
	if (ret)
		goto no_own;
	ret = make_parents();
	if (!ret)
		return 0;
	mdev_unregister_driver(&counted_driver);
no_own:
	mdev_unregister_driver(&own_driver);
no_files:
	debugfs_remove_recursive(root);
	return ret;
}

static void __exit lab_exit(void)
{
	pci_unregister_driver(&pci_driver);
	remove_platform_devices(platform_parents);
	platform_driver_unregister(&platform_driver);
	mdev_unregister_driver(&counted_driver);
	mdev_unregister_driver(&own_driver);
	debugfs_remove_recursive(root);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_LICENSE("GPL");
MODULE_VERSION("1");
MODULE_DESCRIPTION("Parents of mediated devices with a migration_version attribute, for tests");

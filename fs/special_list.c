/* See fs/special_list.h. */
#include "fs/special_list.h"

#include "core/name.h"

#include <stdlib.h>
#include <string.h>

struct listed {
	char name[NAME_BYTES_MAX + 1];
	uint64_t ino;
	mode_t type;
};

struct special_dir {
	struct listed *entries;
	size_t count;
};

struct special_dir *special_list_create(void)
{
	return xcalloc(1, sizeof(struct special_dir));
}

void special_list_add(struct special_dir *d, const char *name, uint64_t ino, mode_t type)
{
	size_t n = strlen(name);

	assert(n <= NAME_BYTES_MAX);
	if ((d->count & (d->count - 1)) == 0)
		d->entries =
			xreallocarray(d->entries, d->count ? d->count * 2 : 1, sizeof(*d->entries));
	struct listed *e = &d->entries[d->count++];
	memcpy(e->name, name, n + 1);
	e->ino = ino;
	e->type = type;
}

int special_readdir(struct special_dir *d, uint64_t index, struct vfs_dirent *ret)
{
	if (index >= d->count)
		return 0;
	const struct listed *e = &d->entries[index];
	*ret = (struct vfs_dirent){.name = e->name, .ino = e->ino, .type = e->type};
	return 1;
}

void special_closedir(struct special *s, struct special_dir *d)
{
	(void)s;
	free(d->entries);
	free(d);
}

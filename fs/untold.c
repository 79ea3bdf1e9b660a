/* A hash table with chains: it is empty as a rule, and holds some thousand names after a large change elsewhere. */
#include "fs/untold.h"

#include <stdlib.h>
#include <string.h>

struct untold_name {
	struct untold_name *next;
	uint64_t parent;
	char *name;
	unsigned notices;
	bool is_looked; /**< since then, and by whom */
	pid_t looker;
	uint64_t ino; /**< what it was told */
};

static size_t slot_of(uint64_t parent, const char *name)
{
	uint64_t h = parent * UINT64_C(0x9e3779b97f4a7c15);

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return (size_t)(h >> 32) % UNTOLD_SLOTS;
}

static struct untold_name **find(struct untold *u, uint64_t parent, const char *name)
{
	struct untold_name **p = &u->slots[slot_of(parent, name)];

	while (*p && ((*p)->parent != parent || strcmp((*p)->name, name) != 0))
		p = &(*p)->next;
	return p;
}

void untold_add(struct untold *u, uint64_t parent, const char *name)
{
	struct untold_name **p = find(u, parent, name);

	if (!*p) {
		*p = xcalloc(1, sizeof(**p));
		(*p)->parent = parent;
		(*p)->name = xstrdup(name);
		u->count++;
	}
	(*p)->notices++;
}

static void take_out(struct untold *u, struct untold_name **p)
{
	struct untold_name *n = *p;

	*p = n->next;
	free(n->name);
	free(n);
	u->count--;
}

void untold_told(struct untold *u, uint64_t parent, const char *name)
{
	struct untold_name **p = find(u, parent, name);

	if (*p && --(*p)->notices == 0)
		take_out(u, p);
}

void untold_looked(struct untold *u, pid_t tid, uint64_t parent, const char *name, uint64_t ino)
{
	struct untold_name *n = u->count ? *find(u, parent, name) : NULL;

	if (!n || tid < 0)
		return;
	n->is_looked = true;
	n->looker = tid;
	n->ino = ino;
}

int untold_check(const struct untold *u, pid_t tid, uint64_t parent, const char *name, uint64_t ino)
{
	const struct untold_name *n = u->slots[slot_of(parent, name)];

	while (n && (n->parent != parent || strcmp(n->name, name) != 0))
		n = n->next;
	if (!n)
		return 0;
	if (!n->is_looked || n->looker != tid)
		return -ESTALE;
	return n->ino == ino ? 0 : -ENOENT;
}

void untold_fini(struct untold *u)
{
	for (size_t s = 0; s < UNTOLD_SLOTS; s++) {
		while (u->slots[s])
			take_out(u, &u->slots[s]);
	}
}

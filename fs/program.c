/*
 * Which program writes: its name goes into the change, for the history. Asking the system takes longer than
 * much of a save, so answers are kept for a moment; but not those of shells, whose children are about to become
 * other programs.
 */
#include "core/platform.h"
#include "fs/vfs_i.h"

#include <string.h>

#define KEEP_MS 100

static bool is_shell(const char *name)
{
	static const char *const shells[] = {"sh",  "bash", "dash", "zsh",   "fish", "ksh",
					     "csh", "tcsh", "env",  "nohup", "sudo", "xargs"};

	for (size_t i = 0; i < countof(shells); i++) {
		if (strcmp(name, shells[i]) == 0)
			return true;
	}
	return false;
}

static const char *name_of(struct vfs *v, pid_t pid)
{
	struct program *p = &v->programs[(unsigned)pid % countof(v->programs)];
	uint64_t now = monotonic_ms();

	if (p->pid == pid && now - p->asked_ms <= KEEP_MS)
		return p->name;
	*p = (struct program){.pid = pid, .asked_ms = now};
	if (pid <= 0 || platform_program_name(pid, p->name, sizeof(p->name)) < 0 ||
	    is_shell(p->name))
		p->pid = 0;
	return p->name;
}

void program_wrote(struct vfs *v, struct inode *i, pid_t pid)
{
	const char *name = name_of(v, pid);

	if (*name)
		memcpy(i->program, name, sizeof(i->program));
}

void program_publishes(struct vfs *v, struct txn *t, struct inode *i)
{
	if (!i->program[0])
		program_wrote(v, i, i->writer);
	db_set_program(t, i->program);
	i->program[0] = 0;
}

void program_acts(struct vfs *v, struct txn *t, pid_t pid)
{
	db_set_program(t, name_of(v, pid));
}

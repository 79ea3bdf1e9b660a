/*
 * Programs' names in changes. Most saves are made by a few programs, whose names cost a byte; others are
 * spelt out. A table that the database learns would be shorter still, but a change must mean the same
 * without the changes before it.
 */
#include "core/change.h"

/* Code = index + CHANGE_PROGRAM_BYTES_MAX + 1. Append only: what is written stays readable. */
static const char *const names[] = {
	"bash",
	"sh",
	"zsh",
	"fish",
	"dash",
	"ksh",
	"cp",
	"mv",
	"rm",
	"ln",
	"mkdir",
	"rmdir",
	"touch",
	"tee",
	"cat",
	"dd",
	"sed",
	"awk",
	"perl",
	"python3",
	"python",
	"ruby",
	"node",
	"java",
	"go",
	"vim",
	"nvim",
	"vi",
	"nano",
	"emacs",
	"kate",
	"gedit",
	"code",
	"jq",
	"git",
	"rsync",
	"tar",
	"unzip",
	"make",
	"cargo",
	"sort",
	"install",
	"curl",
	"wget",
	"scp",
	"sftp",
	"sshd",
	"smbd",
	"php",
	"nautilus",
	"dolphin",
	"thunar",
	"soffice.bin",
	"firefox",
	"chrome",
	"sqlite3",
	"patch",
	"gcc",
	"helix",
	"hx",
	"micro",
	"obsidian",
	"rename",
	"truncate",
	"blaze restore",
	"blaze undo",
	"blaze conflict",
};

static_assert(countof(names) + CHANGE_PROGRAM_BYTES_MAX < 256, "a code is one byte");

void change_program_encode(struct slice program, struct buf *out)
{
	for (size_t i = 0; i < countof(names); i++) {
		if (slice_eq(program, SLICE_STR(names[i]))) {
			buf_u8(out, (uint8_t)(i + CHANGE_PROGRAM_BYTES_MAX + 1));
			return;
		}
	}
	size_t n = program.len < CHANGE_PROGRAM_BYTES_MAX ? program.len : CHANGE_PROGRAM_BYTES_MAX;

	buf_u8(out, (uint8_t)n);
	buf_append(out, program.data, n);
}

struct slice change_program_decode(struct reader *r)
{
	size_t code = reader_u8(r);

	if (code <= CHANGE_PROGRAM_BYTES_MAX)
		return reader_take(r, code);
	code -= CHANGE_PROGRAM_BYTES_MAX + 1;
	return code < countof(names) ? SLICE_STR(names[code]) : SLICE("", 0);
}

/* The tables of names; see README's section on what stays on the device. */
#include "fs/localname.h"

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

/* Asked for every save: most patterns are out by their first or last letter. */
static bool matches(const char *pattern, const char *name, size_t len)
{
	char first = pattern[0];
	char last = pattern[strlen(pattern) - 1];

	if ((first != '*' && first != name[0]) ||
	    (last != '*' && last != '?' && last != name[len - 1]))
		return false;
	return fnmatch(pattern, name, 0) == 0;
}

bool localname_is_local(const char *name)
{
	static const char *const patterns[] = {
		"*~",
		".*.sw?",
		".*.sw??",
		"*.swp",
		"*.swo",
		"*.swx",
		"4913",
		".#*",
		"#*#",
		"*.tmp",
		".goutputstream-*",
		".DS_Store",
		"._*",
		".~lock.*#",
		"~$*",
		".git",
		".hg",
		".svn",
		"*-journal",
		"*-wal",
		"*-shm",
		".fuse_hidden*",
		".nfs*",
		".Trash-*",
		".Trashes",
		".Spotlight-V100",
		".fseventsd",
		".TemporaryItems",
		"*.part",
		"*.partial",
		"*.crdownload",
		".sb-*",
		".directory",
		"Thumbs.db",
		"desktop.ini",
		"*.kate-swp",
		".*.un~",
		"*___jb_tmp___",
		"*___jb_old___",
		".metadata_never_index",
	};

	size_t len = strlen(name);

	for (size_t i = 0; len && i < countof(patterns); i++) {
		if (matches(patterns[i], name, len))
			return true;
	}
	return false;
}

/* Six or more letters and digits that no person types: both cases mixed, or digits among letters. */
static bool looks_random(const char *s, size_t len)
{
	bool upper = false;
	bool lower = false;
	bool digit = false;

	if (len < 6 || len > 16)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (!isalnum(c) && c != '_')
			return false;
		upper = upper || (i > 0 && isupper(c));
		lower = lower || islower(c);
		digit = digit || isdigit(c);
	}
	return (upper && lower) || (digit && (upper || lower));
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool localname_is_temporary(const char *name)
{
	static const char *const prefixes[] = {"tmp", "temp", ".tmp", ".temp", "sed", "Cu", "XX"};
	static const char *const endings[] = {".new",  ".temp", ".bak",	 ".orig", ".old",
					      ".save", ".rej",	".swap", ".lock"};
	size_t len = strlen(name);
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; i < countof(endings); i++) {
		if (dot && strcmp(dot, endings[i]) == 0)
			return true;
	}
	if (dot && dot > name && looks_random(dot + 1, strlen(dot + 1)))
		return true;
	for (size_t i = 0; i < countof(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		if (starts_with(name, prefixes[i]) &&
		    (n == len || (!dot && len - n >= 6) || (name[n] == '.' && n + 1 < len) ||
		     looks_random(name + n, strcspn(name + n, "."))))
			return true;
	}
	return false;
}

bool localname_is_variant(const char *name, const char *record)
{
	size_t n = strlen(record);

	if (*name == '.' && *record != '.')
		name++;
	return strncmp(name, record, n) == 0 && name[n] != 0;
}

/* The tables of names; see README's section on what stays on the device. */
#include "fs/localname.h"

#include "core/bytes.h"

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>
#include <strings.h>

/* What stands between a name and what a program adds to it; so does the beginning of a number at the end. */
#define STEM_ENDS ".~-_#+"

#define PATTERN(s)                                  \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

/* Asked for every save: most patterns are out by their first or last letter. */
static bool matches(struct slice pattern, const char *name, size_t len)
{
	char first = (char)pattern.data[0];
	char last = (char)pattern.data[pattern.len - 1];

	if ((first != '*' && first != name[0]) ||
	    (last != '*' && last != '?' && last != name[len - 1]))
		return false;
	return fnmatch((const char *)pattern.data, name, 0) == 0;
}

bool localname_is_local(const char *name)
{
	static const struct slice patterns[] = {
		PATTERN("*~"),
		PATTERN(".*.sw?"),
		PATTERN(".*.sw??"),
		PATTERN("*.swp"),
		PATTERN("*.swo"),
		PATTERN("*.swx"),
		PATTERN("4913"),
		PATTERN(".#*"),
		PATTERN("#*#"),
		PATTERN("*.tmp"),
		PATTERN(".goutputstream-*"),
		PATTERN(".DS_Store"),
		PATTERN("._*"),
		PATTERN(".~lock.*#"),
		PATTERN("~$*"),
		PATTERN(".git"),
		PATTERN(".hg"),
		PATTERN(".svn"),
		PATTERN("*-journal"),
		PATTERN("*-wal"),
		PATTERN("*-shm"),
		PATTERN(".fuse_hidden*"),
		PATTERN(".nfs*"),
		PATTERN(".Trash-*"),
		PATTERN(".Trashes"),
		PATTERN(".Spotlight-V100"),
		PATTERN(".fseventsd"),
		PATTERN(".TemporaryItems"),
		PATTERN("*.part"),
		PATTERN("*.partial"),
		PATTERN("*.crdownload"),
		PATTERN(".sb-*"),
		PATTERN(".directory"),
		PATTERN("Thumbs.db"),
		PATTERN("desktop.ini"),
		PATTERN("*.kate-swp"),
		PATTERN(".*.un~"),
		PATTERN("*___jb_tmp___"),
		PATTERN(".~tmp~"),
		PATTERN(".rsync-partial"),
		PATTERN("*___jb_old___"),
		PATTERN(".metadata_never_index"),
	};

	size_t len = strlen(name);

	for (size_t i = 0; len && i < countof(patterns); i++) {
		if (matches(patterns[i], name, len))
			return true;
	}
	return false;
}

struct letters {
	bool upper; /* other than the first */
	bool lower;
	bool digit;
};

/* Whether these are six to sixteen letters and digits, and which. */
static bool are_letters(const char *s, size_t len, struct letters *ret)
{
	*ret = (struct letters){0};
	if (len < 6 || len > 16)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (!isalnum(c) && c != '_')
			return false;
		ret->upper = ret->upper || (i > 0 && isupper(c));
		ret->lower = ret->lower || islower(c);
		ret->digit = ret->digit || isdigit(c);
	}
	return true;
}

/* What no person types: both cases mixed, or with digits. */
static bool looks_random(const char *s, size_t len)
{
	struct letters l;

	return are_letters(s, len, &l) && ((l.upper && l.lower) || l.digit);
}

/* mkstemp's six letters behind a whole name, ".r.json.xqzjwk": one in a hundred has no digit and one case. */
static bool is_mkstemp(const char *name, const char *dot)
{
	struct letters l;

	return (*name == '.' || memchr(name, '.', (size_t)(dot - name))) && strlen(dot + 1) == 6 &&
	       are_letters(dot + 1, 6, &l);
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool localname_is_temporary(const char *name)
{
	static const char *const prefixes[] = {"tmp", "temp", ".tmp", ".temp",
					       "sed", "Cu",   "XX",   "zi"};
	static const char *const endings[] = {".new",  ".temp", ".bak",	 ".orig", ".old",
					      ".save", ".rej",	".swap", ".lock"};
	size_t len = strlen(name);
	const char *dot = strrchr(name, '.');
	const char *dash = strrchr(name, '-');

	for (size_t i = 0; i < countof(endings); i++) {
		if (dot && strcmp(dot, endings[i]) == 0)
			return true;
	}
	if (dot && dot > name && (looks_random(dot + 1, strlen(dot + 1)) || is_mkstemp(name, dot)))
		return true;
	if (*name == '.' && dash && looks_random(dash + 1, strlen(dash + 1)))
		return true;
	for (size_t i = 0; i < countof(prefixes); i++) {
		size_t n = strlen(prefixes[i]);
		struct letters l;

		if (starts_with(name, prefixes[i]) &&
		    (n == len || (!dot && len - n >= 6) || (name[n] == '.' && n + 1 < len) ||
		     are_letters(name + n, strcspn(name + n, "."), &l)))
			return true;
	}
	return false;
}

bool localname_is_longer(const char *name)
{
	size_t len = strlen(name);
	size_t n = len;
	bool digits = true;

	while (n > 0 && !strchr(STEM_ENDS, name[n - 1])) {
		digits = digits && isdigit((unsigned char)name[n - 1]);
		n--;
	}
	return n < len && (digits || len - n >= 6);
}

size_t localname_stem(const char *name, size_t len)
{
	size_t n = len;

	while (n > 0 && isdigit((unsigned char)name[n - 1]))
		n--;
	if (n > 0 && n < len && !strchr(STEM_ENDS, name[n - 1]))
		return n;
	n = len;
	while (n > 1 && !strchr(STEM_ENDS, name[n - 1]))
		n--;
	return n > 1 ? n - 1 : 0;
}

bool localname_is_variant(const char *name, const char *record)
{
	size_t n = strlen(record);

	if (*name == '.' && *record != '.')
		name++;
	return strncmp(name, record, n) == 0 && name[n] != 0;
}

bool localname_is_json(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	return n > 5 && strcasecmp(name + n - 5, ".json") == 0;
}
